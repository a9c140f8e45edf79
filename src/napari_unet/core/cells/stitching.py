"""One id for a cell that was found in several blocks of a plane or volume.

Each block is segmented with a margin around it and keeps the cells of its core, under
ids of its own. Where the window of a block reaches into the cores of blocks before it,
both have labelled the same pixels: parts of cells that overlap there are one cell.
Blocks may be done in any order; `core.cells.merging` assigns the ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from napari_unet.core.cells.labelmap import at_edge
from napari_unet.core.cells.linking import count_overlaps
from napari_unet.core.geometry.boxes import within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.core.geometry.blocks import Block

# Overlap, as a share of the smaller part in the pixels compared, from which two parts
# are one cell.
_ALIKE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The parts of cells in a block's core, in the order of their ids from 1 on."""

    # pixel of each, counted line by line through the whole field
    first: NDArray[np.int64]
    sizes: NDArray[np.int64]  # in pixels
    at_edge: NDArray[np.bool_]  # whether it touches the field's edge


def split_off(
    cells: NDArray[np.int32], block: Block, shape: Sequence[int], reach: int
) -> tuple[NDArray[np.uint32], Parts, NDArray[np.uint32]]:
    """Return the parts of cells in a block's core, and their pixels beside it.

    `cells` were found in the block's window, `shape` is that of the field. The first
    array has the ids of the core; the last, of the shape of `block.around(reach)`, the
    same ids beside the core and 0 in it. Cells are compared up to `reach` pixels around
    the core, which is more than the widest gap between pixels of one cell.
    """
    core = np.ascontiguousarray(cells[block.inner])
    first = np.full(int(cells.max(initial=0)) + 1, -1, np.int64)
    counts = np.zeros(first.size, np.int64)
    _describe(core.reshape(-1), first, counts)
    here = np.flatnonzero(counts[1:]) + 1
    ids = np.zeros(first.size, np.uint32)
    ids[here] = np.arange(1, 1 + here.size)
    at = np.unravel_index(first[here], core.shape)
    placed = [a + c.start for a, c in zip(at, block.core, strict=True)]
    around = block.around(reach)
    beside = ids[cells[within(around, block.window)]]
    beside[within(block.core, around)] = 0
    parts = Parts(
        np.ravel_multi_index(placed, tuple(shape)).astype(np.int64),
        counts[here],
        at_edge(core, block.core, shape)[here],
    )
    return ids[core], parts, beside


def on_each_other(
    ids: NDArray[np.integer[Any]], before: NDArray[np.integer[Any]]
) -> NDArray[np.int64]:
    """Return the pairs of parts, (pairs, 2), of which one covers most of the other.

    `ids` are those of a block beside its core, `before` those of the blocks before it
    in their cores, and 0 elsewhere. Where two windows disagree by a few pixels,
    neighbouring cells overlap the same part; that must not make them one cell.
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
