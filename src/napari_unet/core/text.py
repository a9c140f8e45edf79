"""Words of others in sentences of ours: names of files, reasons of errors."""

from __future__ import annotations


def printable(name: object) -> str:
    """Return a name as it can stand in a sentence, control characters escaped."""
    text = str(name)
    return text if text.isprintable() else repr(text)[1:-1]


def reason(error: Exception) -> str:
    """Return the first line of what an error says, or its kind, without full stop."""
    lines = str(error).splitlines() or [type(error).__name__]
    return printable(lines[0]).rstrip(".")
