"""The annotated planes of an annotation, kept beside it so that opening need not scan.

A line is added before the first pixel of a plane is written and after its last one was
erased, so that a kill in between loses none.
"""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.images.allocation import full
from napari_unet.io.atomic import flush_file, write_text

if TYPE_CHECKING:
    from pathlib import Path

PlaneIndex = tuple[int, int]
"""A `Place` that is a plane: time point and slice, 0 where there is no such axis."""

HIGHEST_ID = int(np.iinfo(np.int32).max)

_HEADER = "napari-unet places 1"
_LINE = re.compile(r"([+-]) (\d{1,10}) (\d{1,10})|h (\d{1,10})")


class PlacesLog:
    """A text file of planes and of the largest id, appended to; rewritten at the start.

    `places` are the planes (t, z) that have annotation, `highest` the largest id ever
    written.
    """

    def __init__(self, path: Path, places: set[PlaneIndex], highest: int) -> None:
        self.places = set(places)
        self.highest = highest
        lines = [f"+ {t} {z}" for t, z in sorted(places)]
        text = "\n".join([_HEADER, *lines, f"h {highest}", ""])
        self._path = path
        write_text(path, text, private=True)

    def add(self, plane: PlaneIndex) -> None:
        """Log a plane; OSError if the disk is full."""
        if plane not in self.places:
            self._append(f"+ {plane[0]} {plane[1]}")
            self.places.add(plane)

    def discard(self, plane: PlaneIndex) -> None:
        """Log that nothing is left in a plane; OSError if the disk is full."""
        if plane in self.places:
            self._append(f"- {plane[0]} {plane[1]}")
            self.places.discard(plane)

    def raise_highest(self, value: int) -> None:
        """Log that ids up to this one have been used."""
        if value > self.highest:
            self._append(f"h {value}")
            self.highest = value

    def flush(self) -> None:
        """Flush it to the disk; may run in another thread."""
        flush_file(self._path)

    def _append(self, line: str) -> None:
        text = f"{line}\n".encode("ascii")
        try:
            with self._path.open("ab", buffering=0) as file:
                size = file.tell()
                if file.write(text) != len(text):
                    # the next line would be appended to this incomplete one
                    file.truncate(size)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise full(error, self._path) from error


def read_places(path: Path, sizes: PlaneIndex) -> tuple[set[PlaneIndex], int] | None:
    """Read the planes and the largest id of a log.

    None if there is none, or it cannot be trusted: one with more time points and slices
    than `sizes` belongs to something else.
    """
    try:
        lines = path.read_text(encoding="ascii").split("\n")
    except (OSError, ValueError):
        return None
    if lines[0] != _HEADER:
        return None
    places: set[PlaneIndex] = set()
    highest = 0
    # An incomplete last line was cut off by a power failure.
    for line in lines[1:-1]:
        found = _LINE.fullmatch(line)
        if found is None:
            return None
        sign, t, z, value = found.groups()
        if value:
            highest = max(highest, int(value))
        elif int(t) >= sizes[0] or int(z) >= sizes[1]:
            return None
        else:
            (places.add if sign == "+" else places.discard)((int(t), int(z)))
    return (places, highest) if highest <= HIGHEST_ID else None
