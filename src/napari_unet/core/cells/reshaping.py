"""Merging, splitting, adding and redrawing cells of a plane by a stroke.

Everywhere `cells` are ids (y, x), 0 where there is none, and a `path` is an array of
points (n, 2), y and x in pixels: as drawn, in order. All return the changed plane;
other cells keep their pixels. A ValueError says, in a sentence for people, why a stroke
does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_unet.core.geometry.boxes import around, full_box, grown, union

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box

    Ids = NDArray[np.int32]
    Mask = NDArray[np.bool_]
    Path = NDArray[np.float64]

NO_CELL = "There is no cell here."
_ONE_CELL = "Only one cell is under the line: draw from one cell into another."
_NOT_ACROSS = "The line does not part a cell: draw it across one."
_NO_ROOM = "There is no room for a cell here: other cells keep their pixels."
_NONE_OUTLINED = "There is no cell in this outline to be drawn anew: add one instead."


def window(cells: Ids, path: Path, margin: int) -> Box:
    """Return a part of a plane that holds a path and the cells it touches, whole.

    `margin` is in pixels around them. Parts of a cell that are not connected with the
    rest may be outside.
    """
    points = np.clip(np.round(path).astype(int), 0, np.array(cells.shape) - 1)
    low, high = points.min(axis=0), points.max(axis=0) + 1
    box: Box = tuple(map(slice, low.tolist(), high.tolist()))
    ids = cells_under(cells, path)
    reach = margin
    while True:
        box = grown(box, reach, cells.shape)
        found = around(np.isin(cells[box], ids)) if ids else None
        if found is None:
            return box
        own = tuple(
            slice(b.start + f.start, b.start + f.stop)
            for b, f in zip(box, found, strict=True)
        )
        needed = union(grown(own, margin, cells.shape), box)
        if needed == box or box == full_box(cells.shape):
            return box
        reach *= 2


def cells_under(cells: Ids, path: Path) -> list[int]:
    """Return the ids that a path touches, in that order."""
    touched = cells[_line(path, cells.shape)]
    ids, first = np.unique(touched, return_index=True)
    return [int(i) for i in ids[np.argsort(first)] if i > 0]


def merged(cells: Ids, ids: Sequence[int]) -> Ids:
    """Merge cells under the first id; the gap between them is closed."""
    if len(ids) < 2:
        raise ValueError(_ONE_CELL if ids else NO_CELL)
    first, *others = ids
    result = cells.copy()
    for other in others:
        gap = _gap(result == first, cells == other) & (cells == 0)
        result[gap | (cells == other)] = first
    return result


def neighbour(cells: Ids, id_: int, reach: int = 3) -> int:
    """Return the cell that most pixels within `reach` of another one belong to."""
    own = cells == id_
    box = around(own)
    if box is None:
        raise ValueError(NO_CELL)
    box = grown(box, reach, cells.shape)
    part = cells[box]
    near = ndimage.distance_transform_edt(~own[box]) <= reach
    counts = np.bincount(part[near & (part > 0) & (part != id_)])
    if not counts.size:
        raise ValueError("This cell has no neighbour to be merged with.")
    return int(counts.argmax())


def split(cells: Ids, path: Path, fresh: int) -> Ids:
    """Split the cell that a line crosses; the largest part keeps the id.

    The others get `fresh` and the ids after it. A line that ends within the cell is
    extended to its edge.
    """
    ids = cells_under(cells, path)
    if not ids:
        raise ValueError(NO_CELL)
    for way in (path, _drawn_out(path, cells.shape)):
        drawn = np.zeros(cells.shape, bool)
        drawn[_line(way, cells.shape)] = True
        crossed = sorted(ids, key=lambda i: -np.count_nonzero(drawn & (cells == i)))
        for id_ in crossed:
            parts = _parts(cells == id_, drawn)
            if int(parts.max()) > 1:
                return _numbered(cells, id_, parts, fresh)
    raise ValueError(_NOT_ACROSS)


def added(cells: Ids, path: Path, fresh: int, radius: float) -> Ids:
    """Add a cell of the area that a stroke encloses; a click adds a disc."""
    new = _outlined(path, cells.shape, radius) & (cells == 0)
    if not new.any():
        raise ValueError(_NO_ROOM)
    result = cells.copy()
    result[new] = fresh
    return result


def redrawn(cells: Ids, path: Path) -> Ids:
    """Give the cell that most of a stroke's area lies on that area as its shape."""
    shape = _outlined(path, cells.shape, 0)
    counts = np.bincount(cells[shape & (cells > 0)])
    if not counts.size:
        raise ValueError(_NONE_OUTLINED)
    id_ = int(counts.argmax())
    result = np.where(cells == id_, 0, cells)
    result[shape & (result == 0)] = id_
    return result


def _line(path: Path, shape: tuple[int, ...]) -> tuple[NDArray[np.intp], ...]:
    """Return the pixels on a path, those within the plane, in its order.

    Consecutive ones touch at a side or a corner.
    """
    steps = np.abs(np.diff(path, axis=0)).max(axis=1, initial=0)
    at = np.concatenate([[0.0], np.cumsum(np.maximum(steps, 1e-9))])
    along = np.linspace(0, at[-1], 2 * int(np.ceil(at[-1])) + 1)
    pixels = np.stack([np.interp(along, at, axis) for axis in path.T], axis=1)
    pixels = np.floor(pixels + 0.5).astype(np.intp)
    y, x = pixels[((pixels >= 0) & (pixels < shape)).all(axis=1)].T
    return y, x


def _outlined(path: Path, shape: tuple[int, ...], radius: float) -> Mask:
    """Return the area that a stroke encloses, with the stroke, or the disc of a click.

    It is closed by a straight line; holes between its waves are filled.
    """
    result = np.zeros(shape, bool)
    if radius > 0 and np.ptp(path, axis=0).max() < 1:
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        y, x = path[0]
        return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= (radius + 0.5) ** 2)
    result[_line(np.concatenate([path, path[:1]]), shape)] = True
    return np.asarray(ndimage.binary_fill_holes(result))


def _drawn_out(path: Path, shape: tuple[int, ...]) -> Path:
    """Extend a path at both ends by straight lines that reach beyond the plane."""
    far = float(sum(shape))
    ends = []
    for end, inner in ((path[0], path), (path[-1], path[::-1])):
        away = end - inner[min(len(path) - 1, max(1, len(path) // 4))]
        length = np.linalg.norm(away)
        ends.append(end + away * (far / length if length else 0))
    return np.concatenate([ends[:1], path, ends[1:]])


def _parts(cell: Mask, drawn: Mask) -> NDArray[np.integer]:
    """Number the parts beside a line in a cell; the line's pixels go to the nearest."""
    box = around(cell)
    parts = np.zeros(cell.shape, np.int32)
    if box is None:
        return parts
    inner, _ = ndimage.label(cell[box] & ~drawn[box])
    if int(inner.max()) > 1:
        nearest = ndimage.distance_transform_edt(
            inner == 0, return_distances=False, return_indices=True
        )
        parts[box] = np.where(cell[box], inner[tuple(nearest)], 0)
    return parts


def _numbered(cells: Ids, id_: int, parts: NDArray[np.integer], fresh: int) -> Ids:
    """Assign ids to the parts of a cell: the largest keeps the cell's."""
    areas = np.bincount(parts.reshape(-1))[1:]
    ids = np.zeros(areas.size + 1, np.int32)
    largest = int(areas.argmax()) + 1
    others = [part for part in range(1, ids.size) if part != largest]
    ids[largest] = id_
    ids[others] = fresh + np.arange(len(others))
    return np.where(parts > 0, ids[parts], cells).astype(np.int32)


def _gap(one: Mask, other: Mask) -> Mask:
    """Return the gap between two cells where they are nearest."""
    far = [ndimage.distance_transform_edt(~cell) for cell in (one, other)]
    reach = float(far[0][other].min()) / 2 + 1
    # a closing by a disc, with room for it to go beyond the plane
    room = int(np.ceil(reach)) + 1
    away = ndimage.distance_transform_edt(~np.pad(one | other, room))
    kept = ndimage.distance_transform_edt(away <= reach) > reach
    between = (far[0] <= 2 * reach) & (far[1] <= 2 * reach)
    return np.asarray(kept[room:-room, room:-room] & between)
