"""Training data, settings, and the weight of each pixel in the loss."""
