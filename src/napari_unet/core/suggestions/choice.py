"""Which tiles to annotate: a few that represent many, unlike those annotated.

A tile represents tiles that look similar. The choice is greedy: each time the tile with
the largest gain, which is how much more similar all tiles are to it than to any that is
annotated or chosen (facility location, as in the "suggestive annotation" of Yang et al.
2017). Empty tiles do not count. Nor does the uncertainty of a network: tiles of which
it is unsure are too often those that are hard to see for people as well, and a network
that learnt them found less (docs/recipe.md).
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
# Percentile at which contrast is clipped.
_CONTRAST = 95
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


def choose(tiles: Sequence[SeenTile], count: int) -> list[Chosen]:
    """Choose up to `count` tiles to annotate, the best first.

    There are fewer if no others have any gain.
    """
    known = [tile for tile in tiles if tile.annotated >= ANNOTATED]
    free = [tile for tile in tiles if tile.annotated < ANNOTATED]
    if not free:
        return []
    distances = _distances([*free, *known])
    usual = float(np.median(distances)) or 1.0
    alike = np.exp(-0.5 * (distances[: len(free)] / usual) ** 2)
    between, to_known = alike[:, : len(free)], alike[:, len(free) :]
    filled = _filled([tile.looks.contrast for tile in free])
    covered = to_known.max(axis=1, initial=0.0)
    chosen: list[Chosen] = []
    taken = filled <= 0
    while len(chosen) < count and not taken.all():
        gains = np.maximum(between - covered, 0) @ filled * filled
        best = int(np.argmax(np.where(taken, -1.0, gains)))
        near = distances[best, len(free) :]
        chosen.append(
            Chosen(
                free[best],
                float(np.mean(between[best] > np.maximum(covered, _ALIKE))),
                float(near.min() / usual) if len(near) else None,
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
    found = np.array(contrasts)
    much = float(np.percentile(found, _CONTRAST))
    if much <= 0:
        return np.zeros(len(found))
    return np.clip((found / much - _EMPTY) / (_FULL - _EMPTY), 0, 1)
