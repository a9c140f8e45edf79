"""Which ids occur in label images, at a cost set by their size, not by the highest id.

Other programs choose ids freely, so they may be large. Numba is not needed: napari
starts without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# A lookup table up to this id is small, whatever the size of the image.
_TABLE = 2**16


def distinct(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """Find the ids that occur, ascending.

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
    """Return the position of each pixel's id in a list of ascending ids.

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
    """Renumber the ids of images that belong together, in their order, without gaps.

    Other programs choose ids anywhere below 2^32. Tables indexed by id are then no
    larger than the number of cells. The same id is the same cell in all images. `first`
    is the lowest new id; values below it mean something else and stay.
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
    """Return labels that can index a table: numpy takes booleans for a mask."""
    return labels.view(np.uint8) if labels.dtype == bool else labels
