"""Layers of the viewer as images of the project, and their pixels for the worker."""
