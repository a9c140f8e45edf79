"""Packages of bioimage.io, formats 0.4 and 0.5; `package` reads and writes them."""
