"""The worker processes as napari sees them."""
