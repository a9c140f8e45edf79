"""Grey values to the range the network is used to, once per image.

Each channel of a frame is shifted and scaled by its own statistics, measured between
two percentiles so that hot pixels and saturated spots do not matter. The result is the
same for 8-, 12- and 16-bit copies of an image, up to their rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.image import Image

_PERCENTILES = (0.1, 99.9)
# Beyond this many pixels per frame, evenly spread blocks stand for the whole.
_ENOUGH = 2**22
_BLOCK = 256


@dataclass(frozen=True, slots=True)
class GreyScale:
    """How to map the grey values of one frame.

    Attributes
    ----------
    low, high : tuple of float
        Range that values are clipped to, per channel.
    mean, sd : tuple of float
        Of the clipped values, per channel.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]

    def apply(self, block: NDArray[Any]) -> NDArray[np.float32]:
        """Bring a block, shape (channels, ...), to mean 0 and sd 1 of its frame."""
        shape = (-1, *(1,) * (block.ndim - 1))
        low, high, mean, sd = (
            np.asarray(v, np.float32).reshape(shape)
            for v in (self.low, self.high, self.mean, self.sd)
        )
        grey = np.clip(block.astype(np.float32), low, high)
        grey -= mean
        grey /= sd
        return grey


def measure(image: Image, t: int = 0) -> GreyScale:
    """Measure the grey values of a frame: all slices of one time point.

    Parameters
    ----------
    image : Image
    t : int
        Time point.

    Returns
    -------
    GreyScale

    Raises
    ------
    ValueError
        If a value is NaN or infinite.
    """
    values = _sample(image, t)
    check_finite(image, values)
    low, high = np.percentile(values, _PERCENTILES, axis=1)
    # so few pixels differ from the rest that they would be taken for hot ones
    flat = low == high
    low = np.where(flat, values.min(axis=1), low)
    high = np.where(flat, values.max(axis=1), high)
    clipped = np.clip(values, low[:, None], high[:, None])
    mean, sd = clipped.mean(axis=1), clipped.std(axis=1)
    # a constant channel carries nothing: map it to 0
    sd[sd < 1e-6 * np.maximum(np.abs(mean), 1e-30)] = 1.0
    return GreyScale(*(tuple(float(v) for v in stat) for stat in (low, high, mean, sd)))


def check_finite(image: Image, values: NDArray[Any]) -> None:
    """Refuse values read from an image that no network can take.

    Raises
    ------
    ValueError
        If a value is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise ValueError(
            f"{image.name}: the image has NaN or infinite values; "
            "replace them by numbers first."
        )


def _sample(image: Image, t: int) -> NDArray[np.float64]:
    """Return grey values of a frame, shape (channels, n)."""
    planes = [f for f in image.fields(2) if f.t == t]
    height, width = planes[0].shape
    if height * width * len(planes) <= _ENOUGH:
        blocks = [plane.read() for plane in planes]
    else:
        count = _ENOUGH // _BLOCK**2
        share = np.linspace(0, 1, count)
        # a golden-ratio walk spreads the blocks evenly over slices, rows and columns
        y = ((share * 0.618034 * count) % 1 * max(height - _BLOCK, 0)).astype(int)
        x = (share * max(width - _BLOCK, 0)).astype(int)
        z = ((share * 0.754878 * count) % 1 * len(planes)).astype(int)
        blocks = [
            planes[k].read(
                (slice(i, min(i + _BLOCK, height)), slice(j, min(j + _BLOCK, width)))
            )
            for k, i, j in zip(z, y, x, strict=True)
        ]
    return np.concatenate(
        [b.reshape(image.channels, -1) for b in blocks], axis=1, dtype=np.float64
    )
