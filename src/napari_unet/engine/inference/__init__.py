"""Prediction by overlapping tiles: of a field, a file, a folder."""
