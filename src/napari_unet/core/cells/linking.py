"""One id through the slices of a stack whose slices were segmented one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_unet.core.cells.labelmap import sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ids = NDArray[np.integer]


def link_slices(cells: Ids, min_iou: float) -> NDArray[np.int32]:
    """Give a cell the same id in all consecutive slices that show it.

    Parameters
    ----------
    cells : ndarray of int, shape (z, y, x)
        Ids within each slice, 0 is background; equal ids in two slices mean nothing.
    min_iou : float
        Intersection over union from which two outlines show the same cell, 0 to 1.

    Returns
    -------
    ndarray of int32, shape (z, y, x)
        Ids 1, 2, … in the order of the first slice, there in the order of its ids.

    Raises
    ------
    ValueError
        If `cells` is not a stack of slices with ids from 0 up, or `min_iou` is
        outside 0 to 1.

    Notes
    -----
    Two cells of consecutive slices are linked if each is the other's best overlap, so
    a cell that splits goes on in its larger part and the other part begins anew; of
    equal overlaps the lower id counts. Cells that share no pixel are never linked. A
    slice in which a cell is missing ends it: no gap is bridged.
    """
    _check(cells)
    if not 0 <= min_iou <= 1:
        raise ValueError(f"the overlap must be 0 to 1, found {min_iou}.")
    chain = Chain(min_iou)
    linked = np.zeros(cells.shape, np.int32)
    for z, plane in enumerate(cells):
        overlaps = count_overlaps(cells[z - 1], plane) if z else None
        linked[z] = chain.add(sizes(plane), overlaps)[plane]
    return linked


def separate_slices(cells: Ids) -> NDArray[np.int32]:
    """Give every cell of every slice an id of its own.

    Parameters
    ----------
    cells : ndarray of int, shape (z, y, x)
        Ids within each slice, 0 is background.

    Returns
    -------
    ndarray of int32, shape (z, y, x)
        Ids 1, 2, … in the order of the slices, there in the order of their ids.

    Raises
    ------
    ValueError
        If `cells` is not a stack of slices with ids from 0 up.
    """
    _check(cells)
    chain = Chain()
    separate = np.zeros(cells.shape, np.int32)
    for z, plane in enumerate(cells):
        separate[z] = chain.add(sizes(plane))[plane]
    return separate


class Overlaps(NamedTuple):
    """Cells of two slices that lie on each other.

    Attributes
    ----------
    above, below : ndarray of int64, shape (pairs,)
        Ids within each slice.
    shared : ndarray of int64, shape (pairs,)
        Pixels that a pair has in common.
    """

    above: NDArray[np.int64]
    below: NDArray[np.int64]
    shared: NDArray[np.int64]


class Chain:
    """Links slice after slice, from the sizes of their cells and how they overlap.

    Parameters
    ----------
    min_iou : float
        As for `link_slices`.

    Attributes
    ----------
    last : int
        Highest id given so far.
    """

    def __init__(self, min_iou: float = 0.0) -> None:
        self.last = 0
        self._min_iou = min_iou
        self._sizes = np.zeros(1, np.int64)
        self._ids = np.zeros(1, np.int32)

    def add(
        self, sizes: NDArray[np.int64], overlaps: Overlaps | None = None
    ) -> NDArray[np.int32]:
        """Give ids to the cells of the next slice.

        Parameters
        ----------
        sizes : ndarray of int64, shape (highest id within the slice + 1,)
            Pixels of each cell; those of the background do not matter.
        overlaps : Overlaps, optional
            With the slice before; not linked to it unless given.

        Returns
        -------
        ndarray of int32, shape of `sizes`
            Id in the stack of each id within the slice, 0 where it has no pixels.
        """
        ids = np.zeros(sizes.size, np.int32)
        if overlaps is not None:
            above, below = _best_pairs(overlaps, self._sizes, sizes, self._min_iou)
            ids[below] = self._ids[above]
        new = (sizes > 0) & (ids == 0)
        new[0] = False
        count = int(np.count_nonzero(new))
        ids[new] = np.arange(self.last + 1, self.last + 1 + count)
        self.last += count
        self._sizes, self._ids = sizes, ids
        return ids


def count_overlaps(above: NDArray[np.integer], below: NDArray[np.integer]) -> Overlaps:
    """Find the pairs of cells that lie on each other.

    Parameters
    ----------
    above, below : ndarray of int, any shape, the same
        Ids of two slices, or of two parts of them; 0 is background.

    Returns
    -------
    Overlaps
    """
    both = np.flatnonzero((above.ravel() > 0) & (below.ravel() > 0))
    width = int(below.max(initial=0)) + 1
    pairs = above.ravel()[both].astype(np.int64) * width + below.ravel()[both]
    # Sorting runs of equal pairs instead of pixels keeps this linear in practice.
    starts = np.flatnonzero(np.diff(pairs, prepend=-1))
    return _sum(pairs[starts], np.diff(starts, append=pairs.size), width)


def add_overlaps(parts: Sequence[Overlaps]) -> Overlaps:
    """Put together what was counted in the parts of two slices."""
    above, below, shared = (
        np.concatenate([np.zeros(0, np.int64), *columns])
        for columns in zip(*parts, strict=True)
    )
    width = int(below.max(initial=0)) + 1
    return _sum(above * width + below, shared, width)


def _sum(pairs: NDArray[np.int64], shared: NDArray[np.int64], width: int) -> Overlaps:
    """Add the pixels of equal pairs."""
    keys, member = np.unique(pairs, return_inverse=True)
    total = np.bincount(member, shared, keys.size).astype(np.int64)
    return Overlaps(keys // width, keys % width, total)


def _check(cells: Ids) -> None:
    if cells.ndim != 3 or not np.issubdtype(cells.dtype, np.integer):
        raise ValueError(
            "slices must be integer ids of shape (z, y, x), "
            f"found {cells.dtype} of shape {cells.shape}."
        )
    if cells.min(initial=0) < 0:
        raise ValueError(f"ids must be 0 or more, found {cells.min()}.")


def _best_pairs(
    overlaps: Overlaps,
    of_above: NDArray[np.int64],
    of_below: NDArray[np.int64],
    min_iou: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids of the cells of two slices that are each other's best overlap."""
    first, second, shared = overlaps
    iou = shared / (of_above[first] + of_below[second] - shared)
    best = np.lexsort((second, first, -iou))  # equal overlaps: lower ids first
    best = best[iou[best] >= min_iou]
    first, second = first[best], second[best]
    # np.unique points at the first occurrence, here an id's best pair
    of_first = np.unique(first, return_index=True)[1]
    of_second = np.unique(second, return_index=True)[1]
    mutual = np.intersect1d(of_first, of_second)
    return first[mutual], second[mutual]
