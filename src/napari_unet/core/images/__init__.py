"""Arrays with named axes: grey values, pixel sizes, memory that processes share."""
