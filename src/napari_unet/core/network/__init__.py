"""The network as a table: sizes, work and memory that follow from it."""
