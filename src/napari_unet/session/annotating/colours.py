"""Colours of an annotation: a class is a hue, neighbouring cells are shades of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotations import BACKGROUND, FIRST_OBJECT, UNKNOWN
from napari_unet.session.project.record import BACKGROUND_COLOUR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.session.project.record import ProjectClass

# Towards black (below 0) or white, in an order in which ids that follow differ much.
SHADES = (0.0, -0.4, 0.35, -0.2, 0.6, 0.18)

# Largest id in a cycle that napari still shows with 16 bits.
_CYCLE = 2**16 - 2


def colour_table(
    classes: Sequence[ProjectClass],
    class_of: Mapping[int, int],
    ids: int,
) -> NDArray[np.float32]:
    """Return the colour of each value of an annotation.

    Parameters
    ----------
    classes : sequence of ProjectClass
    class_of : mapping of int to int
        Class number of each object, 1 for those not in it.
    ids : int
        Highest id.

    Returns
    -------
    ndarray of float32, shape (ids + 1, 4)
        Red, green, blue and opacity, 0 to 1.
    """
    shades = np.array([[_shade(c.colour, s) for s in SHADES] for c in classes])
    numbers = np.ones(ids + 1, np.intp)
    for id_, number in class_of.items():
        if id_ <= ids:
            numbers[id_] = number
    table: NDArray[np.float32] = shades[numbers - 1, np.arange(ids + 1) % len(SHADES)]
    table[UNKNOWN] = 0
    table[BACKGROUND] = rgba(BACKGROUND_COLOUR)
    return table


def colormap_of(
    classes: Sequence[ProjectClass],
    class_of: Mapping[int, int],
    ids: int,
) -> NDArray[np.float32] | dict[int | None, NDArray[np.float32]]:
    """Return the colours of an annotation in the form that napari is quickest with.

    Parameters
    ----------
    classes, class_of
        See `colour_table`.
    ids : int
        Highest id that needs the colour of its class.

    Returns
    -------
    ndarray or dict
        A cycle of colours so long that it never comes round; a table by id where the
        ids are too many for that, which napari takes many times as long for.
    """
    if ids <= _CYCLE:
        return colour_table(classes, class_of, _CYCLE)
    table = colour_table(classes, class_of, ids)
    return {None: table[FIRST_OBJECT], **dict(enumerate(table))}


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
