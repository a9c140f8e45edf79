"""Annotation: classes, conversion of masks, pairing with images, checks."""
