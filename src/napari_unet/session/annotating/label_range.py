"""How large the ids of a Labels layer can be: 16 bits until more are needed.

napari maps labels of up to 16 bits to colours on the graphics card; those of 32 bits
go through a function that it compiles first, which takes a second or two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Labels

HIGHEST_SHORT = 64_000
"""Largest id for which a layer is made with 16 bits."""

# Room is made from this share of the largest id on: people paint on meanwhile.
_FULL = 0.99


def label_dtype(highest: int) -> np.dtype[np.integer]:
    """Return the type of pixels for ids up to `highest`."""
    return np.dtype(np.uint16 if highest <= HIGHEST_SHORT else np.int32)


def make_room(layer: Labels, highest: int) -> None:
    """Let a layer hold ids up to `highest`, by a copy of its pixels if needed."""
    if highest > int(_FULL * np.iinfo(layer.data.dtype).max):
        layer.data = np.asarray(layer.data).astype(label_dtype(highest))
