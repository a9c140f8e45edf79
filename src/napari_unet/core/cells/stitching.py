"""One id for a cell that was found in several blocks of a plane or volume.

Each block is segmented with a margin around it and keeps the cells of its core. Where
the window of a block reaches into the cores of blocks before it, both have labelled the
same pixels: parts of cells that lie on each other there are one cell. Numbers are given
once all blocks are done, in the order in which a scan line by line meets the cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_unet.core.cells.labelmap import at_edge
from napari_unet.core.cells.linking import count_overlaps
from napari_unet.core.geometry.boxes import within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.core.geometry.blocks import Block

# Share of the smaller of two parts, in the pixels compared, from which they are one.
_ALIKE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The parts of cells in a block's core, in the order of their ids."""

    # pixel of each, counted line by line through the whole field
    first: NDArray[np.int64]
    sizes: NDArray[np.int64]  # in pixels
    at_edge: NDArray[np.bool_]  # whether it touches the field's edge
    # (pairs, 2): a part's id, and that of a part of the same cell in a block before
    same: NDArray[np.int64]


def split_off(
    cells: NDArray[np.int32],
    block: Block,
    shape: Sequence[int],
    last: int,
    before: NDArray[np.integer[Any]],
    reach: int,
) -> tuple[NDArray[np.uint32], Parts]:
    """Return the parts of cells in a block's core, with ids of their own, described.

    `cells` were found in the block's window, `shape` is that of the field. The ids,
    uint32, follow on `last`, the highest of the blocks before; `before` are the ids of
    the parts in those, 0 elsewhere, in `block.around(reach)`. So far around the core,
    in pixels, cells are compared: more than the widest gap between pixels of one cell.
    """
    core = np.ascontiguousarray(cells[block.inner])
    first = np.full(int(cells.max(initial=0)) + 1, -1, np.int64)
    counts = np.zeros(first.size, np.int64)
    _describe(core.reshape(-1), first, counts)
    here = np.flatnonzero(counts[1:]) + 1
    ids = np.zeros(first.size, np.uint32)
    ids[here] = np.arange(last + 1, last + 1 + here.size)
    at = np.unravel_index(first[here], core.shape)
    placed = [a + c.start for a, c in zip(at, block.core, strict=True)]
    around = block.around(reach)
    beside = ids[cells[within(around, block.window)]]
    beside[within(block.core, around)] = 0
    parts = Parts(
        np.ravel_multi_index(placed, tuple(shape)).astype(np.int64),
        counts[here],
        at_edge(core, block.core, shape)[here],
        _on_each_other(beside, before),
    )
    return ids[core], parts


def numbers(blocks: Sequence[Parts], *, clear_border: bool) -> NDArray[np.uint32]:
    """Return the number of the cell that each part, by its id, belongs to.

    Numbers are 1, 2, … in the order of the cells' first pixels; 0 for a dropped one,
    and for the background. `blocks` are all of a field in their order; with
    `clear_border` cells that touch the field's edge are dropped.
    """
    first = np.concatenate([np.zeros(0, np.int64), *(b.first for b in blocks)])
    same = np.concatenate([np.zeros((0, 2), np.int64), *(b.same for b in blocks)]) - 1
    links = coo_array(
        (np.ones(len(same), bool), (same[:, 0], same[:, 1])), (first.size,) * 2
    )
    count, cell = (
        connected_components(links, directed=False) if first.size else (0, first)
    )
    begin = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(begin, cell, first)
    keep = np.ones(count, bool)
    if clear_border and blocks:
        keep[cell[np.concatenate([b.at_edge for b in blocks])]] = False
    order = np.argsort(begin)
    order = order[keep[order]]
    number = np.zeros(count, np.uint32)
    number[order] = np.arange(1, order.size + 1)
    return np.concatenate([np.zeros(1, np.uint32), number[cell]])


def _on_each_other(
    ids: NDArray[np.integer[Any]], before: NDArray[np.integer[Any]]
) -> NDArray[np.int64]:
    """Pairs of parts of which one covers most of the other.

    Where two windows disagree by a few pixels, neighbours touch the same part; they
    must not become one cell by that.
    """
    overlaps = count_overlaps(before, ids)
    known, of_known = np.unique(before, return_counts=True)
    own, of_own = np.unique(ids, return_counts=True)
    smaller = np.minimum(
        of_known[np.searchsorted(known, overlaps.above)],
        of_own[np.searchsorted(own, overlaps.below)],
    )
    most = overlaps.shared >= _ALIKE * smaller
    pairs: NDArray[np.int64] = np.stack([overlaps.below, overlaps.above], 1)[most]
    return pairs


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _describe(
    cells: NDArray[np.int32], first: NDArray[np.int64], counts: NDArray[np.int64]
) -> None:
    """Write the first pixel of each id and its number of pixels."""
    for pixel in range(cells.size):
        cell = cells[pixel]
        if counts[cell] == 0:
            first[cell] = pixel
        counts[cell] += 1
