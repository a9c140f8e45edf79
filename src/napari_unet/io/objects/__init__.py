"""Objects in the files of other programs; `catalogue` says which formats there are.

Each format is a module with `write(path, objects)`, `read(path, like)` or both, which
loads the package that it needs when it is called.
"""
