"""One id through the slices of a stack whose slices were segmented one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
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
    linked = np.zeros(cells.shape, np.int32)
    ids = np.zeros(1, np.int32)
    last = 0
    for z, plane in enumerate(cells):
        known = np.zeros(int(plane.max(initial=0)) + 1, np.int32)
        if z:
            above, below = _best_pairs(cells[z - 1], plane, min_iou)
            known[below] = ids[above]
        ids = _complete(known, plane, last)
        last = max(last, int(ids.max()))
        linked[z] = ids[plane]
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
    separate = np.zeros(cells.shape, np.int32)
    last = 0
    for z, plane in enumerate(cells):
        unknown = np.zeros(int(plane.max(initial=0)) + 1, np.int32)
        ids = _complete(unknown, plane, last)
        last = max(last, int(ids.max()))
        separate[z] = ids[plane]
    return separate


def _check(cells: Ids) -> None:
    if cells.ndim != 3 or not np.issubdtype(cells.dtype, np.integer):
        raise ValueError(
            "slices must be integer ids of shape (z, y, x), "
            f"found {cells.dtype} of shape {cells.shape}."
        )
    if cells.min(initial=0) < 0:
        raise ValueError(f"ids must be 0 or more, found {cells.min()}.")


def _complete(known: NDArray[np.int32], plane: Ids, last: int) -> NDArray[np.int32]:
    """Give ids after `last` to the cells of a slice that have none yet."""
    new = (np.bincount(plane.ravel()) > 0) & (known == 0)
    new[0] = False
    ids = known.copy()
    ids[new] = np.arange(last + 1, last + 1 + np.count_nonzero(new))
    return ids


def _best_pairs(above: Ids, below: Ids, min_iou: float) -> tuple[Ids, Ids]:
    """Ids of the cells of two slices that are each other's best overlap."""
    first, second, shared = _overlaps(above, below)
    union = np.bincount(above.ravel())[first] + np.bincount(below.ravel())[second]
    iou = shared / (union - shared)
    best = np.lexsort((second, first, -iou))  # equal overlaps: lower ids first
    best = best[iou[best] >= min_iou]
    first, second = first[best], second[best]
    # np.unique points at the first occurrence, here an id's best pair
    of_first = np.unique(first, return_index=True)[1]
    of_second = np.unique(second, return_index=True)[1]
    mutual = np.intersect1d(of_first, of_second)
    return first[mutual], second[mutual]


def _overlaps(above: Ids, below: Ids) -> tuple[Ids, Ids, Ids]:
    """Pairs of ids on top of each other and the pixels that they share."""
    both = np.flatnonzero((above.ravel() > 0) & (below.ravel() > 0))
    width = int(below.max(initial=0)) + 1
    pairs = above.ravel()[both].astype(np.int64) * width + below.ravel()[both]
    # Sorting runs of equal pairs instead of pixels keeps this linear in practice.
    starts = np.flatnonzero(np.diff(pairs, prepend=-1))
    lengths = np.diff(starts, append=pairs.size)
    keys, member = np.unique(pairs[starts], return_inverse=True)
    shared = np.bincount(member, lengths, keys.size).astype(np.int64)
    return keys // width, keys % width, shared
