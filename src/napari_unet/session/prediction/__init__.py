"""Models, their results as layers, cells, files."""
