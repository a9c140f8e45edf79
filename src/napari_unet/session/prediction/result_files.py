"""Arrays of a prediction: raw files that a worker fills and layers show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from napari_unet.core.images.array_reference import ArrayReference

if TYPE_CHECKING:
    from pathlib import Path

ResultKind = Literal["classes", "cells", "entropy", "probability"]
"""A kind of result that has an array of pixels."""


class ResultFiles(dict[ResultKind, ArrayReference]):
    """Raw files of all kinds of result of one image, as jobs name them, and their maps.

    The worker writes into the files; the layers show the maps in `arrays`, so that no
    pixel goes through the connection or is copied.

    OSError if the disk is full; then no file stays.

    They are in the folder `scratch`. `shape` is that of the image without its channels;
    `classes` counts the background, too: "probability" has one array for each.
    """

    def __init__(self, scratch: Path, shape: tuple[int, ...], classes: int) -> None:
        kinds: dict[ResultKind, tuple[tuple[int, ...], str]] = {
            "classes": (shape, "uint8"),
            "cells": (shape, "int32"),
            "entropy": (shape, "float32"),
            "probability": ((classes, *shape), "float32"),
        }
        self.arrays: dict[ResultKind, Any] = {}
        try:
            for kind, (extent, dtype) in kinds.items():
                self[kind] = ArrayReference.create_in(scratch, kind, extent, dtype)
                self.arrays[kind] = self[kind].open(writable=True)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Drop the maps and delete the files; a layer that shows a map keeps it."""
        self.arrays.clear()
        for file in self.values():
            # Windows keeps one that a layer shows until the scratch folder goes
            file.remove()
