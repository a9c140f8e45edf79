"""Which tiles to annotate: few that stand for many that are unlike what is known.

A tile stands for those that look alike. Chosen is, again and again, the tile by which
most is gained: as far as all tiles are more like it than like any that is annotated or
chosen before (facility location, as in the "suggestive annotation" of Yang et al.
2017), times how uncertain a network is of it, if there is one. Empty tiles count
nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.core.suggestions.doubt import Doubt
    from napari_unet.core.suggestions.sampling import TilePlace
    from napari_unet.core.suggestions.tile_looks import Looks

ANNOTATED = 0.01
"""Share of a tile's pixels that is annotated, from which on nobody is sent there."""

# Features further out than this, in the middle half's widths, count as this far.
_FAR = 3.0
# Shares of the contrast of a tile that has much: with less than the first a tile is
# empty, with more than the second it is not, whatever it shows.
_EMPTY, _FULL = 0.1, 0.3
# Percentiles of tiles that have much contrast, and much doubt; more counts no more.
_CONTRAST, _DOUBT = 95, 90
# Tiles look alike from here on: nearer than two drawn at random usually are.
_ALIKE = 0.75


@dataclass(frozen=True, slots=True, eq=False)
class SeenTile:
    """A tile, and what is known of it."""

    place: TilePlace
    looks: Looks
    annotated: float = 0.0  # share of its pixels
    doubt: Doubt | None = None  # None: no network has seen it


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A tile to annotate, and what speaks for it."""

    tile: SeenTile
    # of all tiles, that are more like it than like any annotated or chosen before
    share: float
    # distance to the nearest that is annotated, in those of tiles drawn at random;
    # None where nothing is annotated
    unlike: float | None
    doubtful: float | None  # share of the tiles that the network is surer of


def choose(tiles: Sequence[SeenTile], count: int) -> list[Chosen]:
    """Choose so many tiles to annotate, the best first.

    There are fewer where no more have anything to teach. Where a network has seen some
    of the tiles, only these are chosen, and only these count.
    """
    seen = [tile for tile in tiles if tile.doubt is not None]
    known = [tile for tile in tiles if tile.annotated >= ANNOTATED]
    free = [tile for tile in seen or tiles if tile.annotated < ANNOTATED]
    if not free:
        return []
    distances = _distances([*free, *known])
    usual = float(np.median(distances)) or 1.0
    alike = np.exp(-0.5 * (distances[: len(free)] / usual) ** 2)
    between, to_known = alike[:, : len(free)], alike[:, len(free) :]
    filled = _filled([tile.looks.contrast for tile in free])
    doubt, worth = None, filled
    if seen:
        entropy = [tile.doubt.entropy for tile in free if tile.doubt is not None]
        doubt = _share(entropy, _DOUBT)
        worth = filled * doubt
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
                None if doubt is None else float(np.mean(doubt < doubt[best])),
            )
        )
        taken[best] = True
        covered = np.maximum(covered, between[best])
    return chosen


def _distances(tiles: Sequence[SeenTile]) -> NDArray[np.float64]:
    """Return how unlike each two tiles look."""
    features = np.stack([tile.looks.features for tile in tiles])
    low, middle, high = np.percentile(features, (25, 50, 75), axis=0)
    # what hardly differs is no reason to tell tiles apart
    least = 0.01 * np.abs(features).max(axis=0) + 1e-9
    scaled = (features - middle) / np.maximum(high - low, least)
    scaled = np.clip(scaled, -_FAR, _FAR)
    squares = np.sum((scaled[:, None] - scaled[None]) ** 2, axis=2)
    distances: NDArray[np.float64] = np.sqrt(squares / scaled.shape[1])
    return distances


def _filled(contrasts: Sequence[float]) -> NDArray[np.float64]:
    """Return whether there is something in tiles: 0 no, 1 yes, or in between."""
    found = _share(contrasts, _CONTRAST)
    return np.clip((found - _EMPTY) / (_FULL - _EMPTY), 0, 1)


def _share(values: Sequence[float], percentile: float) -> NDArray[np.float64]:
    """Scale values to 0 to 1, which all have from a percentile of them on."""
    found = np.array(values)
    much = float(np.percentile(found, percentile))
    return np.clip(found / much, 0, 1) if much > 0 else np.zeros(len(found))
