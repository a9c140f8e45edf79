"""A training run from Train to its verdict, with corrections and a live preview."""
