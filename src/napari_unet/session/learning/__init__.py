"""Corrections of predictions, learnt at once, and what is in view after them."""
