"""The Annotate dock: images, classes, brush, finished slices, data check."""
