"""The learning machine: network, training and inference in torch. No Qt, no napari."""
