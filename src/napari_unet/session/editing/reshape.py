"""What a tool does to a slice, the same for predictions and annotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_unet.core.cells import reshaping
from napari_unet.core.cells.label_ids import distinct, positions
from napari_unet.core.geometry.boxes import grown, union

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box

ToolName = Literal["accept", "reject", "delete", "merge", "split", "add", "redraw"]

# Pixels around the change that are read: the largest distance of a neighbour.
_MARGIN = 4


@dataclass(frozen=True, slots=True, eq=False)
class Reshaped:
    """A part of a slice before and after an edit, ids (y, x)."""

    box: Box
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    # cells that were changed or accepted
    ids: tuple[int, ...]

    @property
    def changed(self) -> NDArray[np.bool_]:
        """Where ids differ."""
        changed: NDArray[np.bool_] = self.before != self.after
        return changed

    @property
    def gone(self) -> dict[int, int]:
        """Removed cells, and the cell that most of each belongs to now; 0: none."""
        lost = np.setdiff1d(self.before[self.changed], self.after)
        return {
            int(i): most_common(self.after[self.before == i]) for i in lost if i > 0
        }


def most_common(values: NDArray[np.int32]) -> int:
    """Return the most frequent value, the lowest of several."""
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])


def reshape(
    tool: ToolName,
    cells: NDArray[np.int32],
    path: NDArray[np.float64],
    fresh: int,
    radius: float,
) -> Reshaped:
    """Apply a tool to the cells along a path.

    ValueError, with a sentence for people, if there is nothing to be done.

    Parameters
    ----------
    cells : ndarray of int32, shape (y, x)
        0 where there is no cell.
    path : ndarray of float, shape (n, 2)
        y and x in pixels; one point is a click.
    fresh : int
        This id and all above are unused.
    radius : float
        Of the disc that a click adds, in pixels.
    """
    box = reshaping.window(cells, path, _MARGIN)
    if tool == "add":
        box = grown(box, int(radius) + 1, cells.shape)
    elif tool == "merge":
        box = _with_neighbour(cells, box, path)
    # ids may be anything below 2^31: here they are renumbered without gaps
    ids = np.union1d(distinct(cells[box]), 0).astype(np.int32)
    before = positions(ids, cells[box]).astype(np.int32)
    way = path - [part.start for part in box]
    after, held = _changed(tool, before, way, ids.size, radius)
    new = fresh + np.arange(int(after.max(initial=0)) + 1, dtype=np.int32)
    ids = np.append(ids, new)
    return Reshaped(box, ids[before], ids[after], tuple(ids[held].tolist()))


def _changed(
    tool: ToolName,
    before: NDArray[np.int32],
    way: NDArray[np.float64],
    fresh: int,
    radius: float,
) -> tuple[NDArray[np.int32], list[int]]:
    """Return the changed cells, and the ids of those changed or accepted."""
    if tool == "split":
        after = reshaping.split(before, way, fresh)
    elif tool == "add":
        after = reshaping.added(before, way, fresh, radius)
    elif tool == "redraw":
        after = reshaping.redrawn(before, way)
    else:
        ids = reshaping.cells_under(before, way)
        if not ids:
            raise ValueError(reshaping.NO_CELL)
        if tool == "accept":
            return before, ids
        if tool != "merge":
            return np.where(np.isin(before, ids), 0, before).astype(np.int32), []
        if len(ids) == len(way) == 1:
            ids.append(reshaping.neighbour(before, ids[0], _MARGIN))
        return reshaping.merged(before, ids), ids[:1]
    changed = before != after
    touched = np.union1d(before[changed], after[changed])
    return after, [i for i in np.intersect1d(touched, after).tolist() if i > 0]


def _with_neighbour(
    cells: NDArray[np.int32], box: Box, path: NDArray[np.float64]
) -> Box:
    """Grow a box until it holds the neighbours of the cell that is clicked on."""
    ids = reshaping.cells_under(cells, path)
    if len(ids) != 1:
        return box
    others = np.unique(cells[box])
    corner = [part.start for part in box]
    boxes = [
        reshaping.window(cells, (np.argwhere(cells[box] == i)[:1] + corner) * 1.0, 0)
        for i in others
        if i > 0
    ]
    return union(box, *boxes)
