"""The process that computes for napari: jobs come in, their events go out."""
