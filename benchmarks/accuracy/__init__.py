"""How good the masks are that the command line gives, on real images."""
