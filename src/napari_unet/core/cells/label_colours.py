"""Colours of labels: the same id has the same colour in every file."""

from __future__ import annotations

from colorsys import hsv_to_rgb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

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
