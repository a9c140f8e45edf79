"""The Predict dock: from a model to cells and files."""
