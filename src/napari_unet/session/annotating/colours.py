"""Colours of an annotation: a class is a hue, neighbouring cells are shades of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import BACKGROUND, FIRST_OBJECT, UNKNOWN
from napari_unet.session.project.record import BACKGROUND_COLOUR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.session.project.record import ProjectClass

# Towards black (below 0) or white, in an order in which ids that follow differ much.
SHADES = (0.0, -0.4, 0.35, -0.2, 0.6, 0.18)

LAST_IN_CYCLE = 2**16 - 2
"""Largest id in a cycle of colours that napari still shows with 16 bits."""


def colour_table(
    classes: Sequence[ProjectClass],
    class_of: Mapping[int, int],
    ids: Iterable[int],
) -> NDArray[np.float32]:
    """Return the colour of some values of an annotation.

    Parameters
    ----------
    classes : sequence of ProjectClass
    class_of : mapping of int to int
        Class number of each object, 1 for those not in it.
    ids : iterable of int

    Returns
    -------
    ndarray of float32, shape (number of ids, 4)
        Red, green, blue and opacity, 0 to 1.
    """
    shades = np.array([[_shade(c.colour, s) for s in SHADES] for c in classes])
    wanted = np.fromiter(ids, np.int64)
    numbers = np.fromiter((class_of.get(i, 1) for i in wanted.tolist()), np.intp)
    table: NDArray[np.float32] = shades[numbers - 1, wanted % len(SHADES)]
    table[wanted == UNKNOWN] = 0
    table[wanted == BACKGROUND] = rgba(BACKGROUND_COLOUR)
    return table


def colormap_of(
    classes: Sequence[ProjectClass],
    class_of: Mapping[int, int],
    ids: Iterable[int] | None,
) -> NDArray[np.float32] | dict[int | None, NDArray[np.float32]]:
    """Return the colours of an annotation in the form that napari is quickest with.

    Parameters
    ----------
    classes, class_of
        See `colour_table`.
    ids : iterable of int or None
        Those that get a colour of their own; None for all up to `LAST_IN_CYCLE`.

    Returns
    -------
    ndarray or dict
        A cycle of colours so long that it never comes round; or a table by id, which
        napari takes many times as long for, with the first colour for all others.
    """
    if ids is None:
        return colour_table(classes, class_of, range(LAST_IN_CYCLE + 1))
    listed = sorted({UNKNOWN, BACKGROUND, FIRST_OBJECT, *ids})
    colours = colour_table(classes, class_of, listed)
    table: dict[int | None, NDArray[np.float32]] = {None: colours[FIRST_OBJECT]}
    return {**table, **dict(zip(listed, colours, strict=True))}


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
