"""What a network says of one image: the files that a worker writes and napari maps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from uuid import uuid4

from napari_unet.core.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Iterator

What = Literal["probability", "classes", "cells", "entropy"]
"""A kind of result."""


class ResultFiles:
    """Raw files of all kinds of result of one image, and maps of them.

    The worker writes into the files; the layers show the maps, so that no pixel goes
    through the connection or is copied.

    Parameters
    ----------
    scratch : Path
        Folder for the files.
    shape : tuple of int
        Of the image without its channels.
    classes : int
        Number of classes, with the background.

    Attributes
    ----------
    probability : Stored
        float32, c first, background first.
    classes, cells, entropy : Stored
        uint8, int32 and float32, without c.
    """

    def __init__(self, scratch: Path, shape: tuple[int, ...], classes: int) -> None:
        stem = uuid4().hex

        def stored(what: What, shape: tuple[int, ...], dtype: str) -> Stored:
            return Stored.create(scratch / f"{stem}-{what}.raw", shape, dtype)

        self.probability = stored("probability", (classes, *shape), "float32")
        self.classes = stored("classes", shape, "uint8")
        self.cells = stored("cells", shape, "int32")
        self.entropy = stored("entropy", shape, "float32")
        self._maps: dict[What, Any] = {
            what: getattr(self, what).open(writable=True) for what in self
        }

    def __iter__(self) -> Iterator[What]:
        """Yield the kinds of result."""
        yield from get_args(What)

    def array(self, what: What) -> Any:
        """Return the map of a file; probabilities have c first."""
        return self._maps[what]

    def close(self) -> None:
        """Let go of the maps and delete the files; who shows a map goes on doing so."""
        self._maps.clear()
        for what in self:
            _delete(getattr(self, what))


def _delete(file: Stored) -> None:
    try:
        Path(file.path).unlink(missing_ok=True)
    except PermissionError:
        # Windows, while a layer shows it; the scratch folder goes with the process
        return
