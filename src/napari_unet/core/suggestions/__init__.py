"""Where to annotate next: tiles that show, together, most of what is unknown."""
