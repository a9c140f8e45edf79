"""Training: samples, loss, loop, validation, corrections."""
