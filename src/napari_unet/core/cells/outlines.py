"""Outlines of objects along the edges of their pixels, and pixels from outlines.

Pixel (row r, column c) covers c to c + 1 along x and r to r + 1 along y, as in ImageJ,
QuPath and COCO, so corners of pixels are whole numbers. An outline has the area of the
pixels, and filling it gives them back. Contours through pixel centres do not: they lose
half a pixel all around.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np

from napari_unet.core.cells.label_ids import distinct, numbered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    Ring = NDArray[np.float64]
    Corners = NDArray[np.int32]
    Polygon = list[Corners]

_HIGHEST = 2**24  # height of an ellipse in pixels, more than any image has
# Steps along x and y, clockwise as y points down; an object is to the right of them.
_STEP_X = np.array([1, 0, -1, 0])
_STEP_Y = np.array([0, 1, 0, -1])
# The pixels ahead of a corner, to the right and to the left: column and row of each
# relative to it.
_RIGHT_X, _RIGHT_Y = np.array([0, -1, -1, 0]), np.array([0, 0, -1, -1])
_LEFT_X, _LEFT_Y = np.array([0, 0, -1, -1]), np.array([-1, 0, 0, -1])


class Outline(NamedTuple):
    """Outline of all pixels of a plane that have one id."""

    label: int
    # A polygon for each piece; pixels that touch with a corner only are two pieces.
    # Each is a list of rings, arrays (corners, 2) of x and y: the outer one first,
    # clockwise as shown, then those around holes, the other way round. Rings do not
    # repeat their first corner, have corners at turns only, and touch themselves and
    # each other in corners at most.
    polygons: list[Polygon]


def trace(plane: NDArray[np.integer]) -> list[Outline]:
    """Outline the objects of a plane of ids (y, x), in the order of their ids."""
    from skimage.measure import label  # slow to import

    ids = distinct(plane)
    ids = ids[ids > 0]
    (numbers,) = numbered([plane])
    pieces = np.pad(label(numbers, connectivity=1).astype(np.int32), 1)
    corners, ends, seeds, touching = _follow(pieces)
    rings_of: dict[int, Polygon] = {}
    number_of: dict[int, int] = {}
    start = 0
    for end, (y, x), touches in zip(ends, seeds, touching, strict=True):
        ring, start = corners[start:end], end
        piece = int(pieces[y, x])
        number_of[piece] = int(numbers[y - 1, x - 1])
        rings_of.setdefault(piece, []).extend(_parted(ring) if touches else [ring])
    polygons: list[list[Polygon]] = [[] for _ in ids]
    for piece, rings in rings_of.items():
        rings.sort(key=_area, reverse=True)  # that of a hole is negative
        polygons[number_of[piece] - 1].append(rings)
    return [Outline(*one) for one in zip(ids.tolist(), polygons, strict=True)]


def fill(plane: NDArray[np.integer], rings: Sequence[NDArray[Any]], label: int) -> int:
    """Write an id into the pixels whose centres are inside of an odd number of rings.

    `rings` are arrays (corners, 2) of x and y, which may be fractions and may lie
    beyond the plane. Returns how many pixels of other objects were overwritten.
    """
    box = _box_within(plane.shape, rings)
    if box is None:
        return 0
    top, bottom, left, right = box
    inside = np.zeros((bottom - top, right - left), np.bool_)
    for ring in rings:
        _cross(np.ascontiguousarray(ring, np.float64), top, left, inside)
    inside = np.logical_xor.accumulate(inside, axis=1)
    part = plane[top:bottom, left:right]
    hidden = np.count_nonzero(inside & (part != 0) & (part != label))
    part[inside] = label
    return int(hidden)


def extent(rings: Iterable[NDArray[Any]]) -> tuple[float, float, float, float]:
    """Return the lowest x and y and the highest x and y of the corners of rings."""
    corners = np.concatenate([np.asarray(ring, np.float64) for ring in rings])
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def ellipse(left: float, top: float, width: float, height: float) -> Ring:
    """Return a ring around the pixels whose centres lie in an ellipse.

    It runs along the rows of pixels, so that filling it is exact. ValueError if it is
    higher than any image.
    """
    if not height <= _HIGHEST:
        raise ValueError(f"ellipses are up to {_HIGHEST} pixels high, found {height}.")
    rows = np.arange(np.floor(top), np.ceil(top + height))
    up = (rows + 0.5 - top - height / 2) / (height / 2)
    rows, up = rows[np.abs(up) < 1], up[np.abs(up) < 1]
    half = np.sqrt(1 - up**2) * width / 2
    y = np.repeat(rows, 2) + np.tile([0, 1], rows.size)
    x = np.repeat(half, 2)
    middle = left + width / 2
    right, back = np.stack([middle + x, y], 1), np.stack([middle - x, y], 1)
    return np.concatenate([right, back[::-1]])


def _box_within(
    shape: Sequence[int], rings: Sequence[NDArray[Any]]
) -> tuple[int, int, int, int] | None:
    """First and last row and column that rings may fill; None if there is none."""
    if not rings:
        return None
    left, top, right, bottom = extent(rings)
    rows = max(int(np.floor(top)), 0), min(int(np.ceil(bottom)), shape[0])
    columns = max(int(np.floor(left)), 0), min(int(np.ceil(right)), shape[1])
    if rows[0] >= rows[1] or columns[0] >= columns[1]:
        return None
    return *rows, *columns


def _area(ring: Corners) -> float:
    """Area of a ring, positive if it is clockwise as shown."""
    x, y = ring[:, 0].astype(np.float64), ring[:, 1].astype(np.float64)
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _parted(ring: Corners) -> Iterator[Corners]:
    """Split a ring that touches itself at corners into rings that do not."""
    path: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    for corner in map(tuple, ring.tolist()):
        if corner in place:
            start = place[corner]
            yield np.array(path[start:], np.int32)
            for gone in path[start:]:
                del place[gone]
            del path[start:]
        place[corner] = len(path)
        path.append(corner)
    yield np.array(path, np.int32)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _follow(
    pieces: NDArray[np.int32],
) -> tuple[Corners, list[int], list[tuple[int, int]], list[bool]]:
    """Trace the rings of all components, which are numbered and have a rim of 0.

    Returns the corners of all rings, where each ring ends in them, row and column of a
    pixel that it goes along, and whether it may touch itself. Each ring has an edge
    along the top of a pixel, where it begins.
    """
    corners = np.empty((1024, 2), np.int32)
    count = 0
    ends, seeds, touching = [], [], []
    seen = np.zeros(pieces.shape, np.bool_)
    for row in range(1, pieces.shape[0] - 1):
        for column in range(1, pieces.shape[1] - 1):
            piece = pieces[row, column]
            if piece == 0 or seen[row, column] or pieces[row - 1, column] == piece:
                continue
            x, y, way, turns = column, row, 0, 0
            while way != 0 or not seen[y, x]:
                if way == 0:
                    seen[y, x] = True
                x, y = x + _STEP_X[way], y + _STEP_Y[way]
                right = pieces[y + _RIGHT_Y[way], x + _RIGHT_X[way]] == piece
                left = pieces[y + _LEFT_Y[way], x + _LEFT_X[way]] == piece
                if right and not left:
                    continue
                # two pixels that touch with a corner: each is gone around by itself
                turns += left and not right
                way = (way + (3 if right else 1)) % 4
                if count == len(corners):
                    corners = np.concatenate((corners, np.empty_like(corners)))
                corners[count, 0], corners[count, 1] = x - 1, y - 1
                count += 1
            ends.append(count)
            seeds.append((row, column))
            touching.append(turns > 1)
    return corners[:count], ends, seeds, touching


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _cross(
    ring: NDArray[np.float64], top: int, left: int, inside: NDArray[np.bool_]
) -> None:
    """Mark in each line where a ring is crossed; what is between is inside.

    A centre that lies on an edge is to the right of it and below it.
    """
    height, width = inside.shape
    for number in range(len(ring)):
        x0, y0 = ring[number - 1]
        x1, y1 = ring[number]
        if y0 > y1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        first = max(int(np.ceil(y0 - 0.5)), top)
        last = min(int(np.ceil(y1 - 0.5)), top + height)
        for row in range(first, last):
            x = x0 + (row + 0.5 - y0) / (y1 - y0) * (x1 - x0)
            column = max(int(np.ceil(x - 0.5)) - left, 0)
            if column < width:
                inside[row - top, column] ^= True
