"""The docks of napari: views of a session."""
