"""Colours of labels, the same for an id in every file, and colours as numbers."""

from __future__ import annotations

from colorsys import hsv_to_rgb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

# Multiples of these fill a cube evenly however many there are: the powers of 1/g with
# g^4 = g + 1 (M. Roberts, "The unreasonable effectiveness of quasirandom sequences").
_STEPS = np.array([0.8191725, 0.6710436, 0.5497005])


def label_colours(ids: Iterable[int]) -> NDArray[np.uint8]:
    """Colour each id, an array (ids, 3) of red, green and blue; 0 is black.

    No colour is dark or grey, and those of consecutive ids differ much.
    """
    colours = []
    for number in ids:
        hue, pale, dim = (number * _STEPS) % 1
        rgb = hsv_to_rgb(hue, 1 - 0.55 * pale, 1 - 0.4 * dim)
        colours.append(np.multiply(rgb, 255 if number > 0 else 0))
    return np.array(np.rint(colours), np.uint8).reshape(-1, 3)


def rgba(colours: Sequence[str]) -> NDArray[np.float32]:
    """Return each #rrggbb as red, green, blue and full opacity, 0 to 1, in a row."""
    values = [[*bytes.fromhex(colour[1:]), 255] for colour in colours]
    return np.divide(values, 255).astype(np.float32)
