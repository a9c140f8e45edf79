"""What a network learns from, by which settings, and what each pixel counts."""
