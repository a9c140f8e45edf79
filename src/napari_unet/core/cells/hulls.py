"""Convex hulls of cells, of all in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def hull_sizes(cells: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count the pixels in the convex hull of each cell of a plane (y, x).

    Ids are 1 to n without gaps; entry 0 is for the first. The hull is that of the
    middles of the edges of the cell's pixels, and has the pixels whose centres lie in
    it or on its border, as scikit-image defines it. All is computed in whole numbers.
    """
    count = int(cells.max(initial=0))
    top = np.full(count + 1, cells.shape[0])
    bottom = np.full(count + 1, -1)
    _heights(cells, top, bottom)
    begins = np.concatenate([[0], np.cumsum(bottom[1:] - top[1:] + 1)])
    left = np.full(int(begins[-1]), cells.shape[1])
    right = np.full(int(begins[-1]), -1)
    _ends(cells, top, begins, left, right)
    sizes = np.zeros(count, np.int64)
    _count(begins, left, right, sizes)
    return sizes


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _heights(
    cells: NDArray[np.integer], top: NDArray[np.int64], bottom: NDArray[np.int64]
) -> None:
    """Find the first and the last row of each cell."""
    for y in range(cells.shape[0]):
        for x in range(cells.shape[1]):
            cell = cells[y, x]
            if bottom[cell] < 0:
                top[cell] = y
            bottom[cell] = y


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _ends(
    cells: NDArray[np.integer],
    top: NDArray[np.int64],
    begins: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
) -> None:
    """Find the first and the last column of each row of each cell."""
    for y in range(cells.shape[0]):
        for x in range(cells.shape[1]):
            cell = cells[y, x]
            if cell > 0:
                row = begins[cell - 1] + y - top[cell]
                left[row] = min(left[row], x)
                right[row] = x


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _count(
    begins: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    sizes: NDArray[np.int64],
) -> None:
    for cell in range(sizes.size):
        begin, end = begins[cell], begins[cell + 1]
        # to the right of a cell is to the left of its mirror image
        first = _first_inside(left[begin:end], right[begin:end])
        last = -_first_inside(-right[begin:end], -left[begin:end])
        sizes[cell] = (last - first + 1).sum()


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _first_inside(
    left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the first column of each row of a cell that is in the left of its hull.

    Coordinates are in half pixels. The hull is a monotone chain of corners downwards,
    from which those are removed that would be concave with the new one.
    """
    ys, xs = np.empty(3 * left.size, np.int64), np.empty(3 * left.size, np.int64)
    size = 0
    for row in range(left.size):
        if left[row] > right[row]:
            continue  # the cell is in pieces
        for step in (-1, 0, 1):
            y, x = 2 * row + step, 2 * left[row] - (step == 0)
            if size and ys[size - 1] == y:
                if xs[size - 1] <= x:
                    continue
                size -= 1
            while size > 1 and (xs[size - 1] - xs[size - 2]) * (y - ys[size - 2]) >= (
                x - xs[size - 2]
            ) * (ys[size - 1] - ys[size - 2]):
                size -= 1
            ys[size], xs[size] = y, x
            size += 1
    first = np.empty(left.size, np.int64)
    corner = 0
    for row in range(left.size):
        while ys[corner + 1] < 2 * row:
            corner += 1
        high = ys[corner + 1] - ys[corner]
        over = xs[corner] * high + (xs[corner + 1] - xs[corner]) * (
            2 * row - ys[corner]
        )
        first[row] = -(-over // (2 * high))  # the next whole column
    return first
