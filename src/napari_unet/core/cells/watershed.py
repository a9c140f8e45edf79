"""Watershed that cuts only at clear necks: seeds and basins in one pass.

Pixels are flooded from the highest to the lowest. Where two basins meet, the lower one
is kept apart only if its peak stands high enough above the saddle; else it is a bump of
the other. So no seeds have to be found beforehand, and the cost is that of sorting the
pixels by 16-bit height, linear in their number. That is several times faster than
`skimage.segmentation.watershed`, which needs seeds (`python -m benchmarks.speed
kernels` measures it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Levels are the upper bits of a float32, from 2**-4 to 2**12: they tell apart heights
# that differ by 1/4096, in any image and any part of it alike.
_TOP = 65535
_BITS = 11
_LOWEST = (127 - 4) << (23 - _BITS)
_HEIGHTS = ((np.arange(_TOP + 1, dtype=np.int32) + _LOWEST - 1) << _BITS).view(
    np.float32
)


def watershed(
    height: NDArray[np.float32], depth: float, share: float
) -> NDArray[np.int32]:
    """Split the pixels of positive height into basins, without lines between them.

    `height` is an elevation, high in the middle of cells; 0 or less is no cell, and 0
    in the result, whose numbers have gaps. The peak of a basin is above the saddle by
    at least `depth`, in units of `height`, and by the `share`, 0 to 1, of the peak: its
    *dynamics* in Grimaud (1992), "A new measure of contrast: the dynamics", there for
    minima.

    Pixels are neighbours across faces, so a diagonal line of background separates. Of
    several basins around a pixel the steepest way up gets it. Heights are rounded down
    by up to 1/4096 of themselves, those below 1/16 or above 4095 are one level;
    plateaus belong to one basin. So the basins of a part of the image that is
    surrounded by zeros do not depend on what else is in the image.
    """
    if height.max(initial=0) <= 0:
        return np.zeros(height.shape, np.int32)
    # A rim of zeros lets the flood look at all neighbours without asking for the edge.
    rimmed = tuple(n + 2 for n in height.shape)
    strides = np.cumprod((1, *rimmed[:0:-1]))[::-1]
    lines = (np.indices(height.shape[:-1]) + 1).reshape(height.ndim - 1, -1)
    begins = strides[:-1] @ lines + 1
    flat = np.ascontiguousarray(height, np.float32).reshape(begins.size, -1)
    levels = np.zeros(int(np.prod(rimmed)), np.uint16)
    _quantise(flat.view(np.int32), begins, levels)
    basins = np.zeros(levels.size, np.int32)
    parent = _flood(
        _from_high_to_low(levels),
        levels,
        np.concatenate((-strides, strides[::-1])),
        depth,
        share,
        basins,
    )
    merged = np.empty(flat.shape, np.int32)
    _merge(basins, begins, parent, merged)
    return merged.reshape(height.shape)


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _quantise(
    height: NDArray[np.int32],
    begins: NDArray[np.intp],
    levels: NDArray[np.uint16],
) -> None:
    """Write the lines of an image as levels from 1, each from its begin on.

    Heights come as their bits: those of positive float32 are in the order of the
    numbers, those of others are no more than 0.
    """
    size = height.shape[1]
    for number in range(begins.size):
        line = height[number]
        target = levels[begins[number] : begins[number] + size]
        for x in range(size):
            level = (line[x] >> _BITS) - _LOWEST + 1
            target[x] = min(max(level, 1), _TOP) if line[x] > 0 else 0


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _from_high_to_low(levels: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Pixels above 0, of one level in the order of the image."""
    begin = np.zeros(_TOP + 2, np.int64)
    for pixel in range(levels.size):
        begin[_TOP - levels[pixel] + 1] += 1
    for rank in range(1, begin.size):
        begin[rank] += begin[rank - 1]
    pixels = np.empty(begin[_TOP], np.int64)
    for pixel in range(levels.size):
        level = levels[pixel]
        if level > 0:
            pixels[begin[_TOP - level]] = pixel
            begin[_TOP - level] += 1
    return pixels


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _root(parent: NDArray[np.int32], basin: int) -> int:
    """Return the basin that this was merged into; the path is shortened for later."""
    while parent[basin] != basin:
        parent[basin] = parent[parent[basin]]
        basin = parent[basin]
    return basin


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _meet(
    parent: NDArray[np.int32],
    peak: NDArray[np.int32],
    basins: tuple[int, int],
    level: int,
    least: tuple[float, float],
) -> int:
    """Merge two basins meeting at this level if they must; return the first's root."""
    low, high = basins
    if peak[low] > peak[high]:
        low, high = high, low
    top = _HEIGHTS[peak[low]]
    # maxima on one plateau are never two cells
    if peak[low] > level and top - _HEIGHTS[level] >= max(least[0], least[1] * top):
        return basins[0]
    parent[low] = high
    return high


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _flood(
    pixels: NDArray[np.intp],
    levels: NDArray[np.uint16],
    neighbours: NDArray[np.intp],
    depth: float,
    share: float,
    basins: NDArray[np.int32],
) -> NDArray[np.int32]:
    """Number the basins of `pixels`, which come from high to low, into `basins`.

    Returned is for each basin a basin that it was merged into, or itself.
    """
    parent = np.zeros(pixels.size + 1, np.int32)
    peak = np.zeros(pixels.size + 1, np.int32)
    count = 0
    for pixel in pixels:
        level = np.int32(levels[pixel])
        first, steepest, above = 0, 0, np.int32(-1)
        for step in neighbours:
            if basins[pixel + step] == 0:
                continue
            basin = _root(parent, basins[pixel + step])
            beside = np.int32(levels[pixel + step])
            if beside > above:
                above = beside
                steepest = basin
            if first == 0:
                first = basin
            elif basin != first:
                first = _meet(parent, peak, (first, basin), level, (depth, share))
        if first == 0:
            count += 1
            parent[count], peak[count] = count, level
            steepest = count
        basins[pixel] = steepest
    return parent[: count + 1]


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _merge(
    basins: NDArray[np.int32],
    begins: NDArray[np.intp],
    parent: NDArray[np.int32],
    merged: NDArray[np.int32],
) -> None:
    """Write the numbers of the merged basins without the rim."""
    for basin in range(parent.size):
        parent[basin] = _root(parent, basin)
    size = merged.shape[1]
    for number in range(begins.size):
        line = basins[begins[number] : begins[number] + size]
        target = merged[number]
        for x in range(size):
            target[x] = parent[line[x]]
