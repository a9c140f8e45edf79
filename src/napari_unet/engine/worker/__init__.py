"""The process that computes for napari: it receives jobs and sends their events."""
