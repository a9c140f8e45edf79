"""Small grey pictures of images, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of the pixels: the darkest and brightest, hot pixels too, are cut off.
_PERCENTILES = (0.5, 99.5)
# Two grey values are further apart, or a picture is of one grey.
_LEAST = 1e-6


def as_picture(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return the mean of channels, (channels, y, x), in grey values of a screen."""
    grey = pixels.mean(axis=0, dtype=np.float32)
    low, high = np.percentile(grey, _PERCENTILES)
    scaled = (grey - low) / max(float(high - low), _LEAST)
    picture: NDArray[np.uint8] = (255 * np.clip(scaled, 0, 1)).astype(np.uint8)
    return picture


def step_for(shape: tuple[int, ...], most: int) -> int:
    """Return the step between pixels for at most so many along each axis."""
    return -(-max(shape) // most)
