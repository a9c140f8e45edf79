"""Prediction by overlapping tiles: of an array, and of one larger than memory."""
