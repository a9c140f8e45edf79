"""Tiles, blocks and boxes of a field; distances in it."""
