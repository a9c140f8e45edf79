"""What a network says of one image: the files that a worker writes and napari maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from napari_unet.core.images.array_reference import ArrayReference

if TYPE_CHECKING:
    from collections.abc import Iterator

What = Literal["probability", "classes", "cells", "entropy"]
"""A kind of result."""


class ResultFiles:
    """Raw files of all kinds of result of one image, and maps of them.

    The worker writes into the files; the layers show the maps, so that no pixel goes
    through the connection or is copied. By name: float32 "probability", background
    first; uint8 "classes", int32 "cells" and float32 "entropy", without c.

    Parameters
    ----------
    scratch : Path
        Folder for the files.
    shape : tuple of int
        Of the image without its channels.
    classes : int
        Number of classes, with the background.

    Raises
    ------
    OSError
        The disk is full; then no file stays.
    """

    def __init__(self, scratch: Path, shape: tuple[int, ...], classes: int) -> None:
        stem = uuid4().hex
        kinds: dict[What, tuple[tuple[int, ...], str]] = {
            "probability": ((classes, *shape), "float32"),
            "classes": (shape, "uint8"),
            "cells": (shape, "int32"),
            "entropy": (shape, "float32"),
        }
        self._files: dict[What, ArrayReference] = {}
        self._maps: dict[What, Any] = {}
        try:
            for what, kind in kinds.items():
                path = scratch / f"{stem}-{what}.raw"
                self._files[what] = ArrayReference.create(path, *kind)
                self._maps[what] = self._files[what].open(writable=True)
        except OSError:
            self.close()
            raise

    def __iter__(self) -> Iterator[What]:
        """Yield the kinds of result."""
        yield from self._files

    def __getitem__(self, what: What) -> ArrayReference:
        """Return a file, as a job names it."""
        return self._files[what]

    def array(self, what: What) -> Any:
        """Return the map of a file; probabilities have c first."""
        return self._maps[what]

    def close(self) -> None:
        """Let go of the maps and delete the files; who shows a map goes on doing so."""
        self._maps.clear()
        for file in self._files.values():
            _delete(file)


def _delete(file: ArrayReference) -> None:
    try:
        Path(file.path).unlink(missing_ok=True)
    except PermissionError:
        # Windows, while a layer shows it; the scratch folder goes with the process
        return
