"""The process that computes for napari: it takes jobs and tells of their events."""
