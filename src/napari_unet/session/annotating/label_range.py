"""How large the ids of a Labels layer can be, and which of them there are.

napari maps labels of up to 16 bits to colours on the graphics card; those of 32 bits
go through a function that it compiles first, which takes a second or two. Layers have
16 bits until more are needed.

Ids may be anything below 2^31, whatever the number of cells: nothing here or elsewhere
in the docks has a table as long as the highest id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_unet.session.project.annotation_file import AnnotationFile

HIGHEST_SHORT = 64_000
"""Largest id for which a layer is made with 16 bits."""

# Room is made from this share of the largest id on, before painting reaches it.
_FULL = 0.99


def label_dtype(highest: int) -> np.dtype[np.integer]:
    """Return the type of pixels for ids up to `highest`."""
    return np.dtype(np.uint16 if highest <= HIGHEST_SHORT else np.int32)


def make_room(layer: Labels, highest: int) -> None:
    """Let a layer hold ids up to `highest`, by a copy of its pixels if needed."""
    if highest > int(_FULL * np.iinfo(layer.data.dtype).max):
        layer.data = np.asarray(layer.data).astype(label_dtype(highest))


def values_in(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the different values of labels of any shape, ascending."""
    flat = labels.reshape(-1)
    # Labels lie in runs of one value: one of each run is looked at.
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return np.unique(np.append(flat[:1], flat[starts]))


def values_in_file(file: AnnotationFile) -> set[int]:
    """Return the different values of an annotation."""
    found: set[int] = set()
    for t, z in file.places:
        found.update(values_in(file.plane(t, z)).tolist())
    return found
