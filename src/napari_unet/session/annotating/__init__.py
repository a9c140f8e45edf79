"""What people paint: layers, brush, classes, finished parts, imports, checks."""
