"""A training run from Train to its model, with corrections and a live preview."""
