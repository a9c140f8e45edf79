"""Measurements of the whole product, run by hand."""
