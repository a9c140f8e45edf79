"""The program is broken on purpose, in many ways, and what comes of it is judged."""
