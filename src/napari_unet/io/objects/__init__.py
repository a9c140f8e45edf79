"""Objects in files of other programs; `catalogue` lists the formats.

Each format is a module with `write(path, objects)`, `read(path, like)` or both, which
imports the package that it needs when it is called.
"""
