"""Most memory that a process has had."""

from __future__ import annotations

from pathlib import Path


def peak_mb(process: str = "self") -> float:
    """Return the most memory that a process has had so far, in MB (Linux)."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / (
        1024
    )
