"""The vocabulary and the geometry: numpy and scipy, no torch, no Qt, no napari."""
