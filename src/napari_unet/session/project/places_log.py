"""Which planes of an annotation have any, kept beside it so that opening need not scan.

A line is added before the first pixel of a plane is written and after its last one was
erased, so that a kill in between hides none.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from napari_unet.io.atomic import atomic

if TYPE_CHECKING:
    from pathlib import Path

Plane = tuple[int, int]
"""Time point and slice; 0 where the annotation has no such axis."""

_HEADER = "napari-unet places 1"


class PlacesLog:
    """A text file of planes and of the largest id, appended to; made anew at the start.

    Parameters
    ----------
    path : Path
    places : set of (t, z)
        Planes that have annotation.
    highest : int
        Largest id ever written.
    """

    def __init__(self, path: Path, places: set[Plane], highest: int) -> None:
        self.places = set(places)
        self.highest = highest
        lines = [f"+ {t} {z}" for t, z in sorted(places)]
        text = "\n".join([_HEADER, *lines, f"h {highest}", ""])
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="ascii")
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND)

    def add(self, plane: Plane) -> None:
        """Note a plane; OSError if the disk is full."""
        if plane not in self.places:
            self._append(f"+ {plane[0]} {plane[1]}")
            self.places.add(plane)

    def discard(self, plane: Plane) -> None:
        """Note that nothing is left in a plane."""
        if plane in self.places:
            self.places.discard(plane)
            self._append(f"- {plane[0]} {plane[1]}")

    def raise_highest(self, value: int) -> None:
        """Note that ids up to this one have been in use."""
        if value > self.highest:
            self._append(f"h {value}")
            self.highest = value

    def flush(self) -> None:
        """Carry it to the disk; may run in another thread."""
        os.fsync(self._handle)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)

    def _append(self, line: str) -> None:
        os.write(self._handle, f"{line}\n".encode("ascii"))


def read_places(path: Path) -> tuple[set[Plane], int] | None:
    """Read a log; None if there is none, or none that can be trusted.

    Returns
    -------
    tuple of (set of (t, z), int)
        Planes with annotation, and the largest id ever written.
    """
    try:
        lines = path.read_text(encoding="ascii").split("\n")
    except (OSError, ValueError):
        return None
    if lines[0] != _HEADER:
        return None
    places: set[Plane] = set()
    highest = 0
    # What follows the last line break was cut off by a power cut.
    for line in lines[1:-1]:
        with suppress(ValueError):
            sign, *numbers = line.split()
            if sign == "h":
                highest = max(highest, int(numbers[0]))
            else:
                t, z = map(int, numbers)
                (places.add if sign == "+" else places.discard)((t, z))
    return places, highest
