"""Files of microscopes and of other programs, each through the library for it."""
