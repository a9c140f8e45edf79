"""Editing cells by click and key, in predictions and in annotation alike."""
