"""What a network is unsure of in a tile, and how large the cells are that it sees."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_unet.core.cells.labelmap import at_edge, sizes
from napari_unet.core.geometry.nearest import two_nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Where = Literal["borders", "outlines", "insides", "elsewhere", "anywhere"]

# A pixel with less entropy is all but decided.
_DECIDED = 0.4
# Pixels of background between two cells, and on both sides of an outline, at the most.
_GAP, _RIM = 8.0, 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Doubt:
    """What a network says of a tile that was not annotated."""

    entropy: float  # mean over the tile, 0 to 1: all classes are as probable
    where: Where | None  # most of it; None where there is next to none
    diameter: float | None  # median of the cells that lie inside, in pixels, if any


def doubt_of(
    views: Sequence[NDArray[np.float32]], cells: NDArray[np.int32] | None
) -> Doubt:
    """Judge a tile by views of it, such as mirrored ones, that should agree.

    Parameters
    ----------
    views : sequence of ndarray of float, shape (classes, y, x)
        Probabilities, all turned back.
    cells : ndarray of int32, shape (y, x)
        Cells in the mean of the views, 0 is background; None where all is regions.
    """
    mean = np.mean(views, axis=0)
    # where the views disagree, their mean is undecided, too
    entropy = -(mean * np.log(np.maximum(mean, 1e-12))).sum(axis=0) / log(len(mean))
    if cells is None:
        return Doubt(float(entropy.mean()), "anywhere", None)
    return Doubt(float(entropy.mean()), _where(entropy, cells), _diameter(cells))


def _where(entropy: NDArray[np.floating], cells: NDArray[np.int32]) -> Where | None:
    """Say where most of the doubt is, as near as a border is nearer than an outline."""
    near = two_nearest(cells, 2 * _GAP, total=_GAP)
    between = near.second < np.inf
    inside = cells > 0
    outline = _beside_outline(cells) & ~between
    parts: dict[Where, NDArray[np.bool_]] = {
        "borders": between,
        "outlines": outline,
        "insides": inside & ~between & ~outline,
        "elsewhere": ~inside & ~between & ~outline,
    }
    open_ = np.where(entropy > _DECIDED, entropy, 0)
    shares = {name: float(open_[part].sum()) for name, part in parts.items()}
    if sum(shares.values()) < 1:
        return None
    # outlines are always a little uncertain: it says least
    shares["outlines"] /= 2
    return max(shares, key=lambda name: shares[name])


def _beside_outline(cells: NDArray[np.int32]) -> NDArray[np.bool_]:
    outside = two_nearest((cells == 0).astype(np.int32), _RIM).first <= _RIM
    inside = two_nearest((cells > 0).astype(np.int32), _RIM).first <= _RIM
    return outside & inside


def _diameter(cells: NDArray[np.int32]) -> float | None:
    """Return the median diameter of circles as large as the cells not cut off."""
    counts, cut = sizes(cells), at_edge(cells)
    whole = counts[1:][~cut[1:] & (counts[1:] > 0)]
    return float(2 * np.sqrt(np.median(whole) / pi)) if len(whole) else None
