"""Operations on an image of cell ids, each in one pass for any number of cells.

An image of ids has 0 for the background and a positive id for the pixels of each cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from napari_unet.core.geometry.boxes import Box, full_box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def sizes(cells: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count the pixels of each id up to the highest, the background's first."""
    flat = cells.reshape(-1)
    counts = np.zeros(int(flat.max(initial=0)) + 1, np.int64)
    _tally(flat, counts)
    return counts


def mostly_within(
    cells: NDArray[np.integer], known: NDArray[np.bool_]
) -> NDArray[np.integer]:
    """Drop cells mostly outside of the known part, and cut the others off at its edge.

    Ids are from 1 on without large gaps.
    """
    size = np.bincount(cells.ravel())
    seen = np.bincount(cells[known], minlength=len(size))
    return np.where((2 * seen >= size)[cells] & known, cells, cells.dtype.type(0))


def renumber(cells: NDArray[np.int32], keep: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Drop some ids and renumber the others 1, 2, … in the order of their first pixels.

    `keep` has an entry for each id up to the highest, False for those that become
    background. The first does not matter.
    """
    numbers = np.where(keep, -1, 0).astype(np.int32)
    numbers[0] = 0
    return np.asarray(_scan(cells.reshape(-1), numbers), np.int32).reshape(cells.shape)


def close_ridges(
    cells: NDArray[np.int32], width: float, spacing: Sequence[float]
) -> NDArray[np.int32]:
    """Give narrow gaps between two cells to the nearer one.

    `width` is the widest gap to close, in the unit of `spacing`, the pixel size along
    each axis.

    A pixel is in a gap if a straight line through it, along an axis or a diagonal,
    meets two different cells on its two sides. Distances to the two nearest cells would
    not do: they are as short beside the end of a border between cells, where cells must
    not grow into the open. Of several lines the shortest counts; a pixel in the middle
    of it goes to the lower id. A gap's last pixel at the image's corner, through which
    no such line goes, stays.
    """
    around = np.indices((3,) * cells.ndim).reshape(cells.ndim, -1).T - 1
    around = around[len(around) // 2 + 1 :]  # each line once, from its forward half
    lengths = np.linalg.norm(around * np.array(spacing), axis=1)
    rim = np.pad(cells, 1, constant_values=-1)
    strides = np.array(rim.strides) // rim.itemsize
    closed = rim.copy()
    _close(rim.reshape(-1), around @ strides, lengths, width, closed.reshape(-1))
    return np.ascontiguousarray(closed[(slice(1, -1),) * cells.ndim])


def at_edge(
    cells: NDArray[np.integer],
    box: Box | None = None,
    shape: Sequence[int] | None = None,
) -> NDArray[np.bool_]:
    """Find which ids, up to the highest, touch the edge of the image.

    Axes of one pixel have no edge: every cell would touch it. Where `cells` are only a
    part of an image, `box` is where they are in it, and `shape` that of the image.
    """
    box, shape = box or full_box(cells.shape), shape or cells.shape
    touching = np.zeros(int(cells.max(initial=0)) + 1, bool)
    for axis, (part, size) in enumerate(zip(box, shape, strict=True)):
        if size > 1 and part.start == 0:
            touching[np.take(cells, 0, axis)] = True
        if size > 1 and part.stop == size:
            touching[np.take(cells, -1, axis)] = True
    return touching


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _scan(cells: NDArray[np.int32], numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    """Replace ids by their new ones; an id that has none (-1) gets the next."""
    result = np.empty_like(cells)
    last = 0
    for pixel in range(cells.size):
        if numbers[cells[pixel]] < 0:
            last += 1
            numbers[cells[pixel]] = last
        result[pixel] = numbers[cells[pixel]]
    return result


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _tally(cells: NDArray[np.integer], counts: NDArray[np.int64]) -> None:
    for cell in cells:
        counts[cell] += 1


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _close(
    cells: NDArray[np.int32],
    lines: NDArray[np.intp],
    lengths: NDArray[np.float64],
    width: float,
    closed: NDArray[np.int32],
) -> None:
    """Write the cells that get the pixels of gaps into `closed`."""
    for pixel in range(cells.size):
        if cells[pixel] <= 0:
            continue
        for line in range(lines.size):
            step = lines[line]
            if cells[pixel + step] != 0:
                continue
            other, ahead = _walk(cells, pixel, step, int(width / lengths[line]) + 1)
            if other <= 0 or other == cells[pixel]:
                continue
            for count in range(1, ahead):
                at = pixel + count * step
                if closed[at] == 0:
                    closed[at] = _owner(cells, at, lines, lengths, width)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _owner(
    cells: NDArray[np.int32],
    pixel: int,
    lines: NDArray[np.intp],
    lengths: NDArray[np.float64],
    width: float,
) -> int:
    """Cell that gets a pixel of a gap: the nearer one on the shortest line."""
    owner, narrowest = 0, width
    for line in range(lines.size):
        most = int(narrowest / lengths[line])
        one, ahead = _walk(cells, pixel, lines[line], most)
        if one <= 0:
            continue
        other, back = _walk(cells, pixel, -lines[line], most + 1 - ahead)
        if other <= 0 or other == one:
            continue
        gap = (ahead + back - 1) * lengths[line]
        if gap < narrowest or owner == 0:
            narrowest = gap
            owner = min(one, other) if ahead == back else other
            if ahead < back:
                owner = one
    return owner


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _walk(
    cells: NDArray[np.int32], pixel: int, step: int, most: int
) -> tuple[int, int]:
    """Return the first cell on a line within some steps, and its distance."""
    for count in range(1, most + 1):
        if cells[pixel + count * step] != 0:
            return cells[pixel + count * step], count
    return 0, most
