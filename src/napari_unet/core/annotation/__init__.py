"""What people painted: classes, conversion of masks, pairing with images, checks."""
