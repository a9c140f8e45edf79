"""How a tile looks, in a few numbers that need no network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.images.smoothing import smooth
from napari_unet.core.images.thumbnail import as_picture, step_for
from napari_unet.core.suggestions.reasons import THUMBNAIL

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PERCENTILES = (1, 10, 25, 50, 75, 90, 99)
# Octaves of the pyramid; of each, what is finer than a blur by a pixel.
_OCTAVES = 5
# A change by less than this share of the image's deviation is none.
_LEAST = 1e-3
# Pixels: finer than any cell is mostly noise ...
_NOISE = 2.0
# ... of which, white, such a blur leaves 0.16 of what is finer than one of a pixel; a
# camera's is not quite white. A frame without cells is scaled by its noise.
_LEFT = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """What is known of a tile without a network."""

    # percentiles of the grey values and the logarithm of the contrast in each octave,
    # channel by channel
    features: NDArray[np.float64]
    contrast: float  # sd of what is coarser than noise, and more than noise leaves
    thumbnail: NDArray[np.uint8]  # (y, x), as bright as the network sees it


def looks_of(tile: NDArray[np.float32]) -> Looks:
    """Measure a tile, (channels, y, x), in the grey values that networks see."""
    features = [v for channel in tile for v in _features(channel)]
    contrast = float(np.mean([_contrast(channel) for channel in tile]))
    return Looks(np.array(features), contrast, _thumbnail(tile))


def _contrast(channel: NDArray[np.float32]) -> float:
    channel = np.ascontiguousarray(channel, np.float32)
    fine = float((channel - smooth(channel, (1.0, 1.0))).std())
    coarse = float(smooth(channel, (_NOISE, _NOISE)).std())
    return float(max(coarse**2 - (_LEFT * fine) ** 2, 0.0) ** 0.5)


def _features(channel: NDArray[np.float32]) -> list[float]:
    found = [float(v) for v in np.percentile(channel, _PERCENTILES)]
    level = np.ascontiguousarray(channel, np.float32)
    for _ in range(_OCTAVES):
        coarse = smooth(level, (1.0, 1.0))
        found.append(float(np.log((level - coarse).std() + _LEAST)))
        level = np.ascontiguousarray(coarse[::2, ::2])
    found.append(float(np.log(level.std() + _LEAST)))
    return found


def _thumbnail(tile: NDArray[np.float32]) -> NDArray[np.uint8]:
    step = step_for(tile.shape[1:], THUMBNAIL)
    return as_picture(tile[:, ::step, ::step])
