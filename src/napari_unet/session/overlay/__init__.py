"""The border weights of the slice in view."""
