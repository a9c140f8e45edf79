"""One id through the slices of a stack whose slices were segmented one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_unet.core.cells.labelmap import at_edge, sizes
from napari_unet.core.cells.neighbour_colours import GAP

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.settings import Segmentation

    Ids = NDArray[np.integer]


def link_slices(
    cells: Ids, min_iou: float | None, *, clear_border: bool = False
) -> NDArray[np.int32]:
    """Give a cell the same id in all consecutive slices that show it.

    Parameters
    ----------
    cells : ndarray of int, shape (z, y, x)
        Ids within each slice, 0 is background; equal ids in two slices mean nothing.
    min_iou : float or None
        Intersection over union from which two outlines show the same cell, 0 to 1.
        None links nothing: every cell of every slice gets an id of its own.
    clear_border : bool
        Whether cells are dropped that touch a side of the plane in any slice.

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
    linker = SliceLinker(min_iou, clear_border=clear_border)
    linked = np.zeros(cells.shape, np.int32)
    for _ in linker.link(cells, linked.__getitem__, linked.__setitem__):
        pass
    return linked


class Overlaps(NamedTuple):
    """How the cells of two slices overlap."""

    # int64, (pairs,): ids within each slice
    above: NDArray[np.int64]
    below: NDArray[np.int64]
    shared: NDArray[np.int64]  # (pairs,): pixels that a pair shares


class SliceLinker:
    """Links slice after slice, by the sizes of their cells and their overlaps.

    Parameters are those of `link_slices`; `last` is the highest id assigned so far.
    """

    def __init__(
        self, min_iou: float | None = None, *, clear_border: bool = False
    ) -> None:
        if min_iou is not None and not 0 <= min_iou <= 1:
            raise ValueError(f"the overlap must be 0 to 1, found {min_iou}.")
        self.last = 0
        self.min_iou = min_iou
        self.clear_border = clear_border
        self._sizes = np.zeros(1, np.int64)
        self._ids = np.zeros(1, np.int32)
        self._touching = [np.zeros(1, np.int32)]

    @classmethod
    def of(cls, settings: Segmentation) -> SliceLinker:
        """Return a linker with these settings."""
        min_iou = settings.link_iou if settings.link_z == "overlap" else None
        return cls(min_iou, clear_border=settings.clear_border)

    def link(
        self,
        slices: Iterable[Ids],
        read: Callable[[int], NDArray[np.int32]],
        write: Callable[[int, NDArray[np.int32]], None],
    ) -> Generator[None, None, int]:
        """Link a whole stack with no more than two slices of it in memory.

        Parameters
        ----------
        slices : iterable of ndarray of int, shape (y, x)
            Ids within each slice; each is requested after the one before is written.
        read, write : callable
            Read or write a slice of the result, by its number.

        Yields
        ------
        None
            After each slice that is written.

        Returns
        -------
        int
            Number of cells.
        """
        above: Ids | None = None
        depth = 0
        for plane in slices:
            overlaps = None
            if self.min_iou is not None and above is not None:
                overlaps = count_overlaps(above, plane)
            edge = at_edge(plane) if self.clear_border else None
            write(depth, self.add(sizes(plane), overlaps, edge)[plane])
            above = plane
            depth += 1
            yield
        numbers = self.without_border()
        if numbers is None:
            return self.last
        for z in range(depth):
            write(z, numbers[read(z)])
            yield
        return int(numbers.max())

    def add(
        self,
        sizes: NDArray[np.int64],
        overlaps: Overlaps | None = None,
        edge: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.int32]:
        """Assign ids to the cells of the next slice.

        Parameters
        ----------
        sizes : ndarray of int64, shape (highest id within the slice + 1,)
            Pixels of each cell; those of the background do not matter.
        overlaps : Overlaps, optional
            With the slice before; not linked to it unless given.
        edge : ndarray of bool, shape of `sizes`, optional
            Whether each touches a side of the plane.

        Returns
        -------
        ndarray of int32, shape of `sizes`
            Id in the stack of each id within the slice, 0 where it has no pixels.
        """
        ids = np.zeros(sizes.size, np.int32)
        if overlaps is not None and self.min_iou is not None:
            above, below = _best_pairs(overlaps, self._sizes, sizes, self.min_iou)
            ids[below] = self._ids[above]
        new = (sizes > 0) & (ids == 0)
        new[0] = False
        count = int(np.count_nonzero(new))
        ids[new] = np.arange(self.last + 1, self.last + 1 + count)
        self.last += count
        self._sizes, self._ids = sizes, ids
        if edge is not None:
            self._touching.append(ids[edge])
        return ids

    def without_border(self) -> NDArray[np.int32] | None:
        """Return the numbers of the cells when those at the edge are dropped.

        Returns
        -------
        ndarray of int32, shape (last + 1,), or None
            0 for a dropped one; None if all stay as they are.
        """
        keep = np.ones(self.last + 1, bool)
        keep[np.concatenate(self._touching)] = False
        if keep[1:].all():
            return None
        return np.where(keep, np.cumsum(keep), 0).astype(np.int32)


def count_overlaps(above: NDArray[np.integer], below: NDArray[np.integer]) -> Overlaps:
    """Find the pairs of cells that overlap.

    `above` and `below` are ids of two slices, or of the same part of both; 0 is
    background.
    """
    both = np.flatnonzero((above.ravel() > 0) & (below.ravel() > 0))
    width = int(below.max(initial=0)) + 1
    pairs = above.ravel()[both].astype(np.int64) * width + below.ravel()[both]
    # Sorting runs of equal pairs instead of pixels keeps this linear in practice.
    starts = np.flatnonzero(np.diff(pairs, prepend=-1))
    return _sum(pairs[starts], np.diff(starts, append=pairs.size), width)


def add_overlaps(parts: Sequence[Overlaps]) -> Overlaps:
    """Add up overlaps that were counted in parts of two slices."""
    above, below, shared = (
        np.concatenate([np.zeros(0, np.int64), *columns])
        for columns in zip(*parts, strict=True)
    )
    width = int(below.max(initial=0)) + 1
    return _sum(above * width + below, shared, width)


def ids_before(
    before: NDArray[np.integer], cells: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Return for each id of `cells` the id that it overlaps most before; 0 if none.

    Only some lines are sampled: cells thinner than `GAP` pixels may be missed.
    """
    lines = np.s_[..., ::GAP, :]
    overlaps = count_overlaps(before[lines], cells[lines])
    was = np.zeros(int(cells.max(initial=0)) + 1, np.int64)
    # of several values for one place the last one stays
    order = np.argsort(overlaps.shared, kind="stable")
    was[overlaps.below[order]] = overlaps.above[order]
    return was


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
