"""Models of other programs, read as ours and written from them."""
