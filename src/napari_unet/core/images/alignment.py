"""Whether two images of one scene lie on one grid: their shift, by phase correlation.

Only phases count, so the images may be of different brightness, contrast and noise, and
one may be the other's negative (Kuglin and Hines 1975).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import irfft2, rfft2

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A peak by this many standard deviations above the rest is not due to chance.
_CLEAR = 12.0
# The peak of a shift is at least this many times as high as the value at no shift.
_HIGHER = 2.0
# Side of the smallest image that tells something, in pixels.
_SMALLEST = 32


def find_shift(
    image: NDArray[np.generic], other: NDArray[np.generic]
) -> tuple[int, int] | None:
    """Return how far the other of two planes (y, x) of one size is shifted, in pixels.

    It is the nearest whole number: (0, 0) below half a pixel. None if it cannot be
    told: the planes are small, empty, or have nothing in common.
    """
    if min(image.shape) < _SMALLEST:
        return None
    product = _spectrum(other) * _spectrum(image).conj()
    size = np.abs(product)
    if not size.any():
        return None
    product /= np.maximum(size, 1e-6 * size.max())
    found = np.abs(irfft2(product, image.shape))
    highest = found.max()
    if highest < _CLEAR * found.std():
        return None
    if highest < _HIGHER * found[0, 0]:
        return 0, 0
    peak = np.unravel_index(int(found.argmax()), found.shape)
    y, x = (
        int(p) - n if p > n / 2 else int(p)
        for p, n in zip(peak, found.shape, strict=True)
    )
    return y, x


def _spectrum(plane: NDArray[np.generic]) -> NDArray[np.complexfloating]:
    """Transform a plane without the jump between its opposite edges."""
    values = plane.astype(float)
    values -= values.mean()
    window = np.outer(*(np.hanning(n) for n in values.shape))
    spectrum: NDArray[np.complexfloating] = rfft2(values * window)
    return spectrum
