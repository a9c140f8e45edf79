"""The uncertainty of a network in a tile, and the size of the cells it finds."""

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

# Pixels with less entropy count as certain.
_DECIDED = 0.4
# Pixels of background between two cells, and on both sides of an outline, at the most.
_GAP, _RIM = 8.0, 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Uncertainty:
    """Uncertainty of a network in a tile."""

    entropy: float  # mean over the tile, 0 to 1 (all classes equally probable)
    where: Where | None  # most of it is; None where there is hardly any
    diameter: float | None  # median of the whole cells, in pixels, if any


def uncertainty_of(
    views: Sequence[NDArray[np.float32]], cells: NDArray[np.int32] | None
) -> Uncertainty:
    """Return the uncertainty in a tile from predictions that should agree.

    Parameters
    ----------
    views : sequence of ndarray of float, shape (classes, y, x)
        Probabilities of transformed views, such as mirrored ones, transformed back.
    cells : ndarray of int32, shape (y, x)
        Cells in the mean of the views, 0 is background; None without classes of cells.
    """
    mean = np.mean(views, axis=0)
    # where the views disagree, their mean has a high entropy
    entropy = -(mean * np.log(np.maximum(mean, 1e-12))).sum(axis=0) / log(len(mean))
    if cells is None:
        return Uncertainty(float(entropy.mean()), "anywhere", None)
    return Uncertainty(float(entropy.mean()), _where(entropy, cells), _diameter(cells))


def _where(entropy: NDArray[np.floating], cells: NDArray[np.int32]) -> Where | None:
    """Return where most of the uncertainty is; borders between cells go first."""
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
    uncertain = np.where(entropy > _DECIDED, entropy, 0)
    shares = {name: float(uncertain[part].sum()) for name, part in parts.items()}
    if sum(shares.values()) < 1:
        return None
    # outlines are always a little uncertain
    shares["outlines"] /= 2
    return max(shares, key=lambda name: shares[name])


def _beside_outline(cells: NDArray[np.int32]) -> NDArray[np.bool_]:
    outside = two_nearest((cells == 0).astype(np.int32), _RIM).first <= _RIM
    inside = two_nearest((cells > 0).astype(np.int32), _RIM).first <= _RIM
    return outside & inside


def _diameter(cells: NDArray[np.int32]) -> float | None:
    """Return the median diameter of circles with the areas of the whole cells."""
    counts, cut = sizes(cells), at_edge(cells)
    whole = counts[1:][~cut[1:] & (counts[1:] > 0)]
    return float(2 * np.sqrt(np.median(whole) / pi)) if len(whole) else None
