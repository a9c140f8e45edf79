"""Which tiles to annotate: a few that represent many, unlike those annotated.

A tile represents tiles that look similar. The choice is greedy: each time the tile with
the largest gain, which is how much more similar all tiles are to it than to any that is
annotated or chosen (facility location, as in the "suggestive annotation" of Yang et al.
2017), times the uncertainty of a network, if there is one. Empty tiles do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.core.suggestions.sampling import TilePlace
    from napari_unet.core.suggestions.tile_looks import Looks
    from napari_unet.core.suggestions.uncertainty import Uncertainty

ANNOTATED = 0.01
"""Share of annotated pixels from which on a tile is not suggested."""

# Features are clipped at this distance from the median, in interquartile ranges.
_FAR = 3.0
# Contrast below which a tile counts as empty and above which it counts fully, as
# shares of the percentile below.
_EMPTY, _FULL = 0.1, 0.3
# Percentiles at which contrast and uncertainty are clipped.
_CONTRAST, _UNCERTAINTY = 95, 90
# Similarity from which on tiles look alike: above that of most random pairs.
_ALIKE = 0.75


@dataclass(frozen=True, slots=True, eq=False)
class SeenTile:
    """A tile that was looked at."""

    place: TilePlace
    looks: Looks
    annotated: float = 0.0  # share of its pixels
    uncertainty: Uncertainty | None = None  # None without a network


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A tile to annotate, with the figures that speak for it."""

    tile: SeenTile
    # of all tiles that are more similar to it than to any annotated or chosen before
    share: float
    # distance to the nearest annotated tile, relative to the median distance of two
    # tiles; None where nothing is annotated
    unlike: float | None
    more_certain: float | None  # share of the tiles with less uncertainty


def choose(tiles: Sequence[SeenTile], count: int) -> list[Chosen]:
    """Choose up to `count` tiles to annotate, the best first.

    There are fewer if no others have any gain. If a network has seen some of the tiles,
    only these count and can be chosen.
    """
    seen = [tile for tile in tiles if tile.uncertainty is not None]
    known = [tile for tile in tiles if tile.annotated >= ANNOTATED]
    free = [tile for tile in seen or tiles if tile.annotated < ANNOTATED]
    if not free:
        return []
    distances = _distances([*free, *known])
    usual = float(np.median(distances)) or 1.0
    alike = np.exp(-0.5 * (distances[: len(free)] / usual) ** 2)
    between, to_known = alike[:, : len(free)], alike[:, len(free) :]
    filled = _filled([tile.looks.contrast for tile in free])
    uncertainty, worth = None, filled
    if seen:
        entropy = [
            tile.uncertainty.entropy for tile in free if tile.uncertainty is not None
        ]
        uncertainty = _share(entropy, _UNCERTAINTY)
        worth = filled * uncertainty
    covered = to_known.max(axis=1, initial=0.0)
    chosen: list[Chosen] = []
    taken = worth <= 0
    while len(chosen) < count and not taken.all():
        gains = np.maximum(between - covered, 0) @ filled * worth
        best = int(np.argmax(np.where(taken, -1.0, gains)))
        near = distances[best, len(free) :]
        chosen.append(
            Chosen(
                free[best],
                float(np.mean(between[best] > np.maximum(covered, _ALIKE))),
                float(near.min() / usual) if len(near) else None,
                None
                if uncertainty is None
                else float(np.mean(uncertainty < uncertainty[best])),
            )
        )
        taken[best] = True
        covered = np.maximum(covered, between[best])
    return chosen


def _distances(tiles: Sequence[SeenTile]) -> NDArray[np.float64]:
    """Return the distance in appearance of each two tiles."""
    features = np.stack([tile.looks.features for tile in tiles])
    low, middle, high = np.percentile(features, (25, 50, 75), axis=0)
    # features that hardly vary would be scaled up to noise
    least = 0.01 * np.abs(features).max(axis=0) + 1e-9
    scaled = (features - middle) / np.maximum(high - low, least)
    scaled = np.clip(scaled, -_FAR, _FAR)
    squares = np.sum((scaled[:, None] - scaled[None]) ** 2, axis=2)
    distances: NDArray[np.float64] = np.sqrt(squares / scaled.shape[1])
    return distances


def _filled(contrasts: Sequence[float]) -> NDArray[np.float64]:
    """Return how far tiles are not empty, 0 to 1."""
    found = _share(contrasts, _CONTRAST)
    return np.clip((found - _EMPTY) / (_FULL - _EMPTY), 0, 1)


def _share(values: Sequence[float], percentile: float) -> NDArray[np.float64]:
    """Scale values to 0 to 1, clipped at a percentile of them."""
    found = np.array(values)
    much = float(np.percentile(found, percentile))
    return np.clip(found / much, 0, 1) if much > 0 else np.zeros(len(found))
