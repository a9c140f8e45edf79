"""Readers for files of microscopes and other programs, each through its library."""
