"""Models of the U-Net plugin for Fiji; `pair` reads and writes them."""
