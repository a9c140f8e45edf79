"""What people would use instead, on the same images, for the same minutes."""
