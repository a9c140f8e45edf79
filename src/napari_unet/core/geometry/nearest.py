"""The two nearest cells of each pixel, and how far away they are.

Exact Euclidean distances, one axis at a time: a cell among the two nearest to a pixel
is among the two nearest within its own line, because a line's two best candidates are
two different cells and at least as near. So each pass along an axis needs to keep only
two cells for each pixel, and the cost does not depend on the number of cells.
"""

from __future__ import annotations

from math import ceil, prod
from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np

from napari_unet.core.geometry.boxes import Box, around, grown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Pixels handled together: few enough for the fastest cache.
_CHUNK = 256
# Two cells, nearest first, and their squared distances.
_Pair = tuple[np.int32, np.int32, np.float32, np.float32]


class Nearest(NamedTuple):
    """The nearest cell of each pixel and the distances of the two nearest."""

    # 0 where there is none; of two at the same distance, either
    label: NDArray[np.int32]
    first: NDArray[np.float32]  # to the nearest cell, inf where there is none
    second: NDArray[np.float32]  # to the second nearest


def two_nearest(
    instances: NDArray[np.integer],
    reach: float,
    spacing: Sequence[float] | None = None,
    *,
    total: float | None = None,
    wanted: NDArray[np.bool_] | None = None,
) -> Nearest:
    """Find the two nearest cells of each pixel, by the distances of pixel centres.

    `instances` ([z,] y, x) have one id above 0 for each cell. A pixel of a cell has
    this cell at distance 0. Distances are in the unit of `spacing`, the pixel size
    along each axis, 1 unless given. Cells whose nearest pixel is farther than `reach`
    do not count as nearest; a second cell counts while both distances add up to at most
    `total`, which is at most, and unless given, twice `reach`. Pixels that are not
    `wanted` get no cells. A ValueError says that an id is negative or above 2^31 - 1.
    """
    steps = spacing if spacing is not None else (1.0,) * instances.ndim
    total = 2 * reach if total is None else min(total, 2 * reach)
    far = max(reach, total)
    crop = _near_cells(instances, [ceil(far / step) for step in steps])
    if crop is None:
        return _nowhere(instances.shape)
    cells = np.ascontiguousarray(instances[crop], np.int32)
    shape = cells.shape
    mask = np.ones(shape, bool) if wanted is None else wanted[crop]
    labels, squares = _sweep(cells.reshape(-1, shape[-1]), steps[-1], far)
    for axis in range(len(shape) - 2, -1, -1):
        # Only the last pass knows the whole distance, and can leave pixels out.
        limits = (far, 2 * far, far) if axis > 0 else (reach, total, far)
        asked = np.ones(shape, bool) if axis > 0 else mask
        lines = (-1, shape[axis], prod(shape[axis + 1 :]))
        near = (labels.reshape(2, *lines), squares.reshape(2, *lines))
        _pass(*near, asked.reshape(lines), steps[axis], limits)
    first, second = np.sqrt(squares, out=squares).reshape(2, *shape)
    # What is out of reach is dropped, so that a crop gives the same as the whole.
    lost = ~mask | (first > reach)
    nearest = labels[0].reshape(shape)
    np.copyto(nearest, 0, where=lost)
    np.copyto(second, np.inf, where=lost | (first + second > total))
    np.copyto(first, np.inf, where=lost)
    found = Nearest(nearest, first, second)
    if shape == instances.shape:
        return found
    whole = _nowhere(instances.shape)
    for image, part in zip(whole, found, strict=True):
        image[crop] = part
    return whole


def _nowhere(shape: tuple[int, ...]) -> Nearest:
    distances = (np.full(shape, np.inf, np.float32) for _ in range(2))
    return Nearest(np.zeros(shape, np.int32), *distances)


class _Best(NamedTuple):
    """Candidates of a few pixels in a row: two cells and their squared distances."""

    nearest: NDArray[np.int32]
    runner_up: NDArray[np.int32]
    first: NDArray[np.float32]
    second: NDArray[np.float32]


def _near_cells(instances: NDArray[np.integer], margins: Sequence[int]) -> Box | None:
    """Return the box around all cells, grown by the margins; None without cells."""
    if instances.size == 0:
        return None
    low, high = int(instances.min()), int(instances.max())
    if low < 0 or high > np.iinfo(np.int32).max:
        raise ValueError(f"cell ids are 0 to 2^31 - 1, found {low} to {high}.")
    box = around(instances != 0) if high > 0 else None
    return None if box is None else grown(box, margins, instances.shape)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _sweep(
    cells: NDArray[np.int32], step: float, far: float
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Two nearest cells within each row, by one walk forth and one back."""
    rows, n = cells.shape
    labels = np.zeros((2, rows, n), np.int32)
    squares = np.full((2, rows, n), np.inf, np.float32)
    for row in range(rows):
        for start, way in ((0, 1), (n - 1, -1)):
            # The two cells met last, and where.
            last, before = np.int32(0), np.int32(0)
            at_last, at_before = 0, 0
            for i in range(start, n - 1 - start + way, way):
                cell = cells[row, i]
                if cell != 0:
                    if cell != last:
                        before, at_before = last, at_last
                        last = cell
                    at_last = i
                for found, at in ((last, at_last), (before, at_before)):
                    offset = abs(i - at) * step
                    square = np.float32(offset * offset)
                    if found != 0 and offset <= far and square < squares[1, row, i]:
                        labels[0, row, i], labels[1, row, i], a, b = _insert(
                            (
                                labels[0, row, i],
                                labels[1, row, i],
                                squares[0, row, i],
                                squares[1, row, i],
                            ),
                            found,
                            square,
                        )
                        squares[0, row, i], squares[1, row, i] = a, b
    return labels, squares


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _pass(
    labels: NDArray[np.int32],
    squares: NDArray[np.float32],
    wanted: NDArray[np.bool_],
    step: float,
    limits: tuple[float, float, float],
) -> None:
    """Let each pixel choose among its line along the second last axis, in place."""
    _, outer, n, inner = labels.shape
    filled = np.empty((2, n), np.bool_)
    for low in range(0, inner, _CHUNK):
        high = min(low + _CHUNK, inner)
        # Rows of a copy lie close together, those of the image may share cache lines.
        cells = np.empty((2, n, high - low), np.int32)
        distances = np.empty((2, n, high - low), np.float32)
        best = _Best(
            np.empty(high - low, np.int32),
            np.empty(high - low, np.int32),
            np.empty(high - low, np.float32),
            np.empty(high - low, np.float32),
        )
        for o in range(outer):
            _copy(labels, squares, (o, low, high), (cells, distances), filled)
            if not filled.any():
                continue
            for i in range(n):
                asked = wanted[o, i, low:high]
                if asked.any():
                    _search(best, cells, distances, filled, asked, i, step, limits)
                    labels[0, o, i, low:high] = best.nearest
                    labels[1, o, i, low:high] = best.runner_up
                    squares[0, o, i, low:high] = best.first
                    squares[1, o, i, low:high] = best.second


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _copy(
    labels: NDArray[np.int32],
    squares: NDArray[np.float32],
    block: tuple[int, int, int],
    copies: tuple[NDArray[np.int32], NDArray[np.float32]],
    filled: NDArray[np.bool_],
) -> None:
    """Copy a block, and find which of its rows have first and second candidates."""
    o, low, high = block
    cells, distances = copies
    for rank in range(2):
        for j in range(filled.shape[1]):
            cells[rank, j] = labels[rank, o, j, low:high]
            distances[rank, j] = squares[rank, o, j, low:high]
            filled[rank, j] = cells[rank, j].any()


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _search(
    best: _Best,
    cells: NDArray[np.int32],
    distances: NDArray[np.float32],
    filled: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
    i: int,
    step: float,
    limits: tuple[float, float, float],
) -> None:
    """Search the rows of a block outwards from row i until all its pixels are final."""
    n = filled.shape[1]
    best.nearest[:], best.runner_up[:] = 0, 0
    best.first[:], best.second[:] = np.inf, np.inf
    still_open = 0
    for k in range(min(n, int(limits[2] / step) + 1)):
        still_open = _next_open(best, wanted, still_open, k * step, limits)
        if still_open == len(wanted):
            break
        square = np.float32((k * step) ** 2)
        for side in range(min(k, 1) + 1):
            j = i - k if side == 0 else i + k
            if 0 <= j < n and filled[0, j]:
                ranks = 2 if filled[1, j] else 1
                _merge(best, cells, distances, j, ranks, square)


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def _next_open(
    best: _Best,
    wanted: NDArray[np.bool_],
    start: int,
    offset: float,
    limits: tuple[float, float, float],
) -> int:
    """Return the first pixel that candidates at an offset could still change."""
    reach, total, _ = limits
    for x in range(start, len(wanted)):
        if wanted[x] and offset * offset < best.second[x]:
            first = np.sqrt(best.first[x])
            limit = reach if first > reach else max(first, total - first)
            # Rounding must not decide what is found: no pixel is closed too early.
            if offset <= limit + 1e-5 * total:
                return x
    return len(wanted)


@numba.njit(inline="always")  # type: ignore[untyped-decorator]
def _merge(
    best: _Best,
    cells: NDArray[np.int32],
    distances: NDArray[np.float32],
    j: int,
    ranks: int,
    square: np.float32,
) -> None:
    """Offer the candidates of row j."""
    nearest, runner_up, first, second = best
    # Choices instead of branches let the compiler handle several pixels at once, and
    # calls would cost more than the work: hence the inlining.
    for rank in range(ranks):
        for x in range(cells.shape[2]):
            candidate, cell = distances[rank, j, x] + square, cells[rank, j, x]
            d1, d2, here, there = first[x], second[x], nearest[x], runner_up[x]
            other, closer = cell != here, candidate < d1
            loser = here if closer else (cell if candidate < d2 else there)
            runner_up[x] = loser if other else there
            second[x] = min(d2, max(candidate, d1)) if other else d2
            nearest[x] = cell if closer else here
            first[x] = min(candidate, d1)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _insert(near: _Pair, cell: np.int32, square: np.float32) -> _Pair:
    """Add a cell nearer than the second of a pair; both stay different cells."""
    first, second, first_square, second_square = near
    if cell == first:
        return first, second, min(first_square, square), second_square
    if square < first_square:
        return cell, first, square, first_square
    return first, cell, first_square, square
