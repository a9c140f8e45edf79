"""Cells of dense tissue: fragments are merged unless a membrane separates them.

A membrane with a hole in it joins two cells at any threshold that the hole is above.
The multicut looks at whole borders instead: the image is over-segmented into fragments,
and of all ways to merge them it takes the one that agrees best with the mean
probability along the border of each two (Andres et al.: Globally Optimal Closed-surface
Segmentation for Connectomics, ECCV 2012). The solver is that of the package
bioimage-cpp: greedy additive edge contraction, improved by Kernighan and Lin's moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.cells.watershed import watershed
from napari_unet.core.geometry.distance import distance_inside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# In pixels: dynamics of the maxima from which fragments grow, and half the width of
# gaps between cells in which they meet.
_BUMP, _GAP = 0.5, 8.0
# Probabilities are clipped by this: no border is certain.
_SURE = 1e-3


def multicut(
    height: NDArray[np.float32],
    background: NDArray[np.float32],
    membrane: float,
    spacing: Sequence[float],
) -> NDArray[np.int32]:
    """Segment the pixels of positive height into cells.

    Parameters
    ----------
    height : ndarray of float32, shape ([z,] y, x)
        Depth inside the cells in pixels of the finest axis; 0 where none is.
    background : ndarray of float32, shape of `height`
        Its probability.
    membrane : float
        Mean probability of background, 0 to 1, along the border of two fragments from
        which they are more likely two cells than one.
    spacing : sequence of float
        Pixel size along each axis relative to the finest.

    Returns
    -------
    ndarray of int32
        Ids from 1 on, with gaps; 0 where the height is.
    """
    inside = height > 0
    # the fragments grow into the gaps until they meet, so that borders are complete
    ground = _GAP - distance_inside(~inside, spacing)
    ground[inside] = _GAP + height[inside]
    pieces = watershed(ground, _BUMP, 0.0)
    pairs, mean = _borders(pieces, background)
    if not len(pairs):
        return np.where(inside, pieces, 0)
    cells = _merge(int(pieces.max()) + 1, pairs, _log_odds(membrane) - _log_odds(mean))
    return np.where(inside, cells[pieces] + 1, 0).astype(np.int32)


def _borders(
    pieces: NDArray[np.int32], values: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs of fragments that touch, and the mean value along their border.

    Of two touching pixels the higher value counts: a membrane may be one pixel wide.
    """
    keys, along = [], []
    count = int(pieces.max(initial=0)) + 1
    for axis in range(pieces.ndim):
        one, other = _neighbours(pieces, axis)
        touch = (one != other) & (one > 0) & (other > 0)
        first, second = one[touch].astype(np.int64), other[touch].astype(np.int64)
        keys.append(np.minimum(first, second) * count + np.maximum(first, second))
        low, high = _neighbours(values, axis)
        along.append(np.maximum(low[touch], high[touch]))
    pairs, which = np.unique(np.concatenate(keys), return_inverse=True)
    sums = np.bincount(which, np.concatenate(along), minlength=len(pairs))
    mean = sums / np.bincount(which, minlength=len(pairs))
    return np.stack(np.divmod(pairs, count), axis=1), mean


def _neighbours(image: NDArray[Any], axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the pixels along an axis and those after them."""
    lines = np.moveaxis(image, axis, 0)
    return lines[:-1], lines[1:]


def _log_odds(probability: float | NDArray[np.float64]) -> NDArray[np.float64]:
    sure = np.clip(probability, _SURE, 1 - _SURE)
    return np.asarray(np.log(sure / (1 - sure)))


def _merge(
    count: int, pairs: NDArray[np.int64], gains: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the cell of each fragment; `gains` are those of merging two."""
    from bioimage_cpp import graph

    pieces = graph.UndirectedGraph.from_edges(count, pairs.astype(np.uint64))
    objective = graph.multicut.MulticutObjective(pieces, gains)
    return np.asarray(graph.multicut.KernighanLinMulticut().optimize(objective)).astype(
        np.int64
    )
