"""Which ids occur in label images, in time and memory of the images, not of the ids.

Ids are names: other tools choose them anywhere. Numba is not needed: napari starts
without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# A table of so many ids is small, whatever the size of the image.
_TABLE = 2**16


def distinct(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """Find the ids that occur, ascending, in time and memory of the image.

    `labels` are 0 and up, or bool, of any shape; 0 is there if it occurs.
    """
    flat = _numbers(labels).reshape(-1)
    top = int(flat.max(initial=0))
    if top > max(flat.size, _TABLE):
        return np.unique(flat).astype(np.uint64)
    found = np.zeros(top + 1, bool)
    found[flat] = True
    return np.flatnonzero(found)


def positions(
    ids: NDArray[np.integer], labels: NDArray[np.integer]
) -> NDArray[np.intp]:
    """Look up where the id of each pixel stands among ascending ids.

    `ids`, as from `distinct`, are all that occur, possibly more.
    """
    labels = _numbers(labels)
    top = int(ids[-1]) if ids.size else 0
    if top > max(labels.size, _TABLE):
        return np.searchsorted(ids.astype(np.uint64), labels.astype(np.uint64))
    table = np.zeros(top + 1, np.intp)
    table[ids] = np.arange(ids.size)
    return np.asarray(table[labels])


def numbered(
    images: Sequence[NDArray[np.integer]], first: int = 1
) -> list[NDArray[np.int32]]:
    """Number the ids of images that belong together anew, in their order, without gaps.

    Ids are names: other tools choose them anywhere below 2^32. What is a table by id
    later on has to be as small as the number of cells. The same id is the same cell in
    all images. `first` is the lowest new id; values below it mean something else and
    stay.
    """
    below = np.arange(first, dtype=np.uint64)
    each = [distinct(image).astype(np.uint64) for image in images]
    ids = np.unique(np.concatenate([below, *each]))
    return [positions(ids, image).astype(np.int32) for image in images]


def pixel_counts(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count the pixels of each id above 0 that occurs, in the order of the ids."""
    ids = distinct(labels)
    counts = np.bincount(positions(ids, labels).reshape(-1), minlength=ids.size)
    return counts[ids > 0]


def _numbers(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return what can index a table: to numpy booleans are a mask."""
    return labels.view(np.uint8) if labels.dtype == bool else labels
