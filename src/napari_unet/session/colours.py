"""Colours of an annotation: a class is a hue, neighbouring cells are shades of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotations import BACKGROUND, FIRST_OBJECT, UNKNOWN
from napari_unet.session.project import BACKGROUND_COLOUR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.session.project import ProjectClass

# Towards black (below 0) or white, in an order in which ids that follow differ much.
SHADES = (0.0, -0.4, 0.35, -0.2, 0.6, 0.18)


def colour_table(
    classes: Sequence[ProjectClass],
    class_of: Mapping[int, int],
    ids: int,
) -> dict[int | None, NDArray[np.float32]]:
    """Return the colour of each value of an annotation.

    Parameters
    ----------
    classes : sequence of ProjectClass
    class_of : mapping of int to int
        Class number of each object, 1 for those not in it.
    ids : int
        Highest id that gets a colour of its own; higher ones are shown as class 1.

    Returns
    -------
    dict of int to ndarray, shape (4,)
        Red, green, blue and opacity, 0 to 1; None stands for all other values.
    """
    shades = [[_shade(c.colour, s) for s in SHADES] for c in classes]
    table: dict[int | None, NDArray[np.float32]] = {
        None: shades[0][0],
        UNKNOWN: np.zeros(4, np.float32),
        BACKGROUND: rgba(BACKGROUND_COLOUR),
    }
    for id_ in range(FIRST_OBJECT, ids + 1):
        table[id_] = shades[class_of.get(id_, 1) - 1][id_ % len(SHADES)]
    return table


def rgba(colour: str) -> NDArray[np.float32]:
    """Return #rrggbb as red, green, blue and full opacity, 0 to 1."""
    values = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    return np.array([*values, 1], np.float32)


def _shade(colour: str, amount: float) -> NDArray[np.float32]:
    """Mix a colour with black (amount below 0) or with white."""
    shade = rgba(colour)
    target = 0.0 if amount < 0 else 1.0
    shade[:3] += (target - shade[:3]) * abs(amount)
    return shade
