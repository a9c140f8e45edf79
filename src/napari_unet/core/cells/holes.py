"""Holes in masks and cells, found on runs of background instead of pixels.

A run is a stretch of background along the last axis. An image has far fewer runs than
pixels, so connecting them costs little more than reading the image once. That is
several times faster than `scipy.ndimage.binary_fill_holes` (`python -m benchmarks.speed
kernels` measures it), which also cannot tell touching cells apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Runs(NamedTuple):
    """Runs of background, line by line: arrays of int32."""

    # number of the first run of each line; the last entry is the number of runs
    first: NDArray[np.int32]
    start: NDArray[np.int32]  # pixels of the line
    stop: NDArray[np.int32]
    # number of the first of the runs that it is connected with, also across corners
    region: NDArray[np.int32]


def fill_holes(cells: NDArray[np.int32]) -> NDArray[np.int32]:
    """Give each hole to the cell around it.

    A hole is background, connected across corners, that borders on one cell only and
    not on the image's edge. One with another cell in it is not a hole. Axes of one
    pixel have no edge.
    """
    volume = _volume(cells).copy()
    runs = _background(volume)
    owners = np.zeros(runs.region.size, np.int32)
    _close_edges(volume.shape, runs, owners)
    _ask_owners(volume, runs, owners)
    _fill(volume.reshape(-1, volume.shape[2]), runs, owners)
    return volume.reshape(cells.shape)


def fill_pinholes(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Fill small holes, also such at the image's edge.

    `size` are the pixels from which background, connected across corners, stays.
    """
    volume = _volume(mask).copy()
    runs = _background(volume)
    pixels = np.bincount(runs.region, runs.stop - runs.start)
    small = (pixels < size).astype(np.int32)
    _fill(volume.reshape(-1, volume.shape[2]), runs, small)
    return volume.reshape(mask.shape)


def _volume(image: NDArray[Any]) -> NDArray[Any]:
    """View a line, plane or volume with three axes, those of one pixel first."""
    flat = image.squeeze()
    return np.ascontiguousarray(flat).reshape((1,) * (3 - flat.ndim) + flat.shape)


def _background(volume: NDArray[Any]) -> Runs:
    lines = volume.reshape(-1, volume.shape[2])
    most = lines.shape[0] * ((lines.shape[1] + 1) // 2)
    first = np.zeros(lines.shape[0] + 1, np.int32)
    # Pages of this that are never written take no memory.
    start, stop = np.empty(most, np.int32), np.empty(most, np.int32)
    count = _find(lines, first, start, stop)
    region = np.arange(count, dtype=np.int32)
    runs = Runs(first, start[:count], stop[:count], region)
    _connect(volume.shape[:2], runs)
    return runs


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _find(
    lines: NDArray[Any],
    first: NDArray[np.int32],
    start: NDArray[np.int32],
    stop: NDArray[np.int32],
) -> int:
    """Write the runs of all lines and return how many there are."""
    count = 0
    for number in range(lines.shape[0]):
        first[number] = count
        line = lines[number]
        at = 0
        while at < line.size:
            while at < line.size and line[at] != 0:
                at += 1
            if at == line.size:
                break
            start[count] = at
            while at < line.size and line[at] == 0:
                at += 1
            stop[count] = at
            count += 1
    first[lines.shape[0]] = count
    return count


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _root(region: NDArray[np.int32], run: int) -> int:
    """Return the first run of a region; the path there is shortened for later."""
    while region[run] != run:
        region[run] = region[region[run]]
        run = region[run]
    return run


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _connect(shape: tuple[int, int], runs: Runs) -> None:
    """Give connected runs one number, looking at the lines before each line."""
    depth, height = shape
    for z in range(depth):
        for y in range(height):
            line = z * height + y
            if y > 0:
                _touch(line, line - 1, runs)
            for other in range(max(y - 1, 0), min(y + 2, height) if z > 0 else 0):
                _touch(line, (z - 1) * height + other, runs)
    for run in range(runs.region.size):
        runs.region[run] = runs.region[runs.region[run]]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _touch(line: int, before: int, runs: Runs) -> None:
    """Join the runs of two lines that touch, also at corners."""
    nearest, end = runs.first[before], runs.first[before + 1]
    for run in range(runs.first[line], runs.first[line + 1]):
        while nearest < end and runs.stop[nearest] < runs.start[run]:
            nearest += 1
        other = nearest
        while other < end and runs.start[other] <= runs.stop[run]:
            one, two = _root(runs.region, run), _root(runs.region, other)
            runs.region[max(one, two)] = min(one, two)
            other += 1


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _close_edges(shape: tuple[int, int, int], runs: Runs, owners: Any) -> None:
    """Write -1 as owner of regions that touch the image's edge."""
    depth, height, width = shape
    for line in range(depth * height):
        z, y = line // height, line % height
        at_edge = depth > 1 and (z in (0, depth - 1))
        at_edge = at_edge or (height > 1 and (y in (0, height - 1)))
        for run in range(runs.first[line], runs.first[line + 1]):
            if at_edge or runs.start[run] == 0 or runs.stop[run] == width:
                owners[runs.region[run]] = -1


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _ask_owners(volume: NDArray[np.int32], runs: Runs, owners: Any) -> None:
    """Write the cell that borders on each region as its owner, -1 if several do."""
    depth, height, _ = volume.shape
    for line in range(depth * height):
        z, y = line // height, line % height
        for run in range(runs.first[line], runs.first[line + 1]):
            region = runs.region[run]
            if owners[region] < 0:
                continue
            for above in range(max(z - 1, 0), min(z + 2, depth)):
                for beside in range(max(y - 1, 0), min(y + 2, height)):
                    for x in range(runs.start[run] - 1, runs.stop[run] + 1):
                        cell = volume[above, beside, x]
                        if cell != 0 and cell != owners[region]:
                            owners[region] = cell if owners[region] == 0 else -1


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _fill(lines: NDArray[Any], runs: Runs, owners: Any) -> None:
    """Write the owners of the regions, where they have one, into the image."""
    for line in range(lines.shape[0]):
        for run in range(runs.first[line], runs.first[line + 1]):
            owner = owners[runs.region[run]]
            if owner > 0:
                lines[line, runs.start[run] : runs.stop[run]] = owner
