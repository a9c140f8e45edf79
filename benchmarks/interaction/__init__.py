"""How napari feels while the plugin works: measured in a real window."""
