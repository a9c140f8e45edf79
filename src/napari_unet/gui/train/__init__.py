"""The Train dock's page."""
