"""Warping error: topological mistakes that remain after bending the borders.

The truth is deformed towards the proposal without changing its topology, by flipping
simple points (Jain et al. 2010, "Boundary learning by optimization with topological
constraints"). What still differs splits or merges objects. Objects are 4-connected,
background 8-connected.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from scipy import ndimage

from napari_unet.core.metrics.pairs import probability_pairs
from napari_unet.core.metrics.thresholds import (
    ThresholdedError,
    candidates,
    lowest_error,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.metrics.pairs import Images

# the paper's "10 different levels"
THRESHOLDS = tuple(i / 10 for i in range(10))
# the eight neighbours of a pixel, round the clock from the upper left
ROW_STEPS = np.array([-1, -1, -1, 0, 1, 1, 1, 0])
COLUMN_STEPS = np.array([-1, 0, 1, 1, 1, 0, -1, -1])


def warping_error(probability: Images, truth: Images) -> ThresholdedError:
    """Share of pixels that split or merge objects, at the best threshold for the stack.

    From the probability of object (not membrane) and a truth that is object above 0.
    ISBI 2012: pixels are counted, not clusters of them, and no mask restricts the
    deformation. Added or deleted objects and holes cost nothing.
    """
    pairs = probability_pairs(probability, truth)
    pixels = sum(true.size for _, true in pairs)

    def error(threshold: float) -> float:
        wrong = 0
        for predicted, true in pairs:
            proposal = predicted > threshold
            certainty = np.abs(predicted.astype(np.float64) - threshold)
            wrong += sum(splits_and_merges(warp(true, proposal, certainty), proposal))
        return wrong / pixels

    return lowest_error(candidates(pairs, THRESHOLDS), error)


def warp(
    truth: NDArray[np.bool_],
    proposal: NDArray[np.bool_],
    certainty: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Deform a plane of the truth towards a proposal, its topology kept.

    Where `certainty` is large, pixels are flipped first; ties in the order of rows.
    Outside the image counts as background.
    """
    rows, columns = np.nonzero(truth != proposal)
    order = np.argsort(-certainty[rows, columns], kind="stable")
    # the rim lets the kernel look around every pixel without asking where it is
    image = np.pad(truth, 1)
    _relax(image, rows[order] + 1, columns[order] + 1, _simple_points())
    return image[1:-1, 1:-1]


def splits_and_merges(
    warped: NDArray[np.bool_], proposal: NDArray[np.bool_]
) -> tuple[int, int]:
    """Count the pixels at which a proposal splits or merges objects of a warped truth.

    Split pixels are object in `warped` only, merge pixels in `proposal` only. The
    others add or delete an object or a hole.
    """
    rows, columns = np.nonzero(warped != proposal)
    image = np.pad(warped, 1)
    labels, _ = ndimage.label(image)
    splits, merges = _classify(image, labels, rows + 1, columns + 1)
    return int(splits), int(merges)


@cache
def _simple_points() -> NDArray[np.bool_]:
    """Find for each of the 256 neighbourhoods whether the centre is a simple point.

    Bit i of the index is the neighbour at step i. Simple: exactly one 4-connected
    component of object next to the centre, exactly one 8-connected component of
    background around it.
    """
    simple = np.zeros(256, np.bool_)
    for code in range(256):
        patch = np.zeros((3, 3), np.bool_)
        patch[1 + ROW_STEPS, 1 + COLUMN_STEPS] = (code >> np.arange(8)) & 1
        around = ~patch
        around[1, 1] = False
        components, _ = ndimage.label(patch)
        # components met at a corner only do not touch the centre
        touching = np.unique(components[[0, 1, 1, 2], [1, 0, 2, 1]])
        background = ndimage.label(around, np.ones((3, 3)))[1]
        simple[code] = np.count_nonzero(touching) == 1 and background == 1
    return simple


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba has no types
def _relax(
    image: NDArray[np.bool_],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    simple: NDArray[np.bool_],
) -> None:
    """Flip the listed pixels of a padded image where simple, until none is."""
    left = rows.size
    changed = True
    while changed:
        changed = False
        kept = 0
        for i in range(left):
            code = 0
            for k in range(8):
                if image[rows[i] + ROW_STEPS[k], columns[i] + COLUMN_STEPS[k]]:
                    code |= 1 << k
            if simple[code]:
                image[rows[i], columns[i]] = not image[rows[i], columns[i]]
                changed = True
            else:
                # a flipped pixel agrees for good: only the others are looked at again
                rows[kept], columns[kept] = rows[i], columns[i]
                kept += 1
        left = kept


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba has no types
def _classify(
    image: NDArray[np.bool_],
    labels: NDArray[np.int32],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
) -> tuple[int, int]:
    """Count split and merge pixels among those listed."""
    splits = merges = 0
    # marked with the pixel's number, so that it need not be cleared between floods
    seen = np.zeros(image.shape, np.int64)
    queue = np.empty((image.size, 2), np.int64)
    for i in range(rows.size):
        row, column = rows[i], columns[i]
        ids = 0
        for k in range(8):
            label = labels[row + ROW_STEPS[k], column + COLUMN_STEPS[k]]
            known = False
            for j in range(k):
                before = labels[row + ROW_STEPS[j], column + COLUMN_STEPS[j]]
                known = known or before == label
            ids += not known
        if not image[row, column]:
            # background (0) and two objects, or more: filling it joins them
            merges += ids >= 3
        elif ids >= 3 or (ids == 2 and _cuts(image, row, column, seen, queue, i + 1)):
            splits += 1
    return splits, merges


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]  # numba has no types
def _cuts(
    image: NDArray[np.bool_],
    row: int,
    column: int,
    seen: NDArray[np.int64],
    queue: NDArray[np.int64],
    number: int,
) -> bool:
    """Whether the neighbours fall apart once the pixel is background."""
    wanted = 0
    start = -1
    for k in range(8):
        if image[row + ROW_STEPS[k], column + COLUMN_STEPS[k]]:
            wanted += 1
            start = k
    # flood from one neighbour, around the pixel, until it has met all others
    queue[0] = row + ROW_STEPS[start], column + COLUMN_STEPS[start]
    seen[row, column] = seen[queue[0, 0], queue[0, 1]] = number
    met, first, last = 1, 0, 1
    while first < last and met < wanted:
        y, x = queue[first]
        first += 1
        for k in range(1, 8, 2):
            v, u = y + ROW_STEPS[k], x + COLUMN_STEPS[k]
            if image[v, u] and seen[v, u] != number:
                seen[v, u] = number
                queue[last] = v, u
                last += 1
                met += max(abs(v - row), abs(u - column)) == 1
    return met < wanted
