"""Few strokes in place of full labels, drawn as a person in a hurry would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt

from napari_unet.core.annotation.annotations import BACKGROUND, FIRST_OBJECT, UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Share of all pixels that is painted, half of it in objects.
SHARE = 0.01
# Strokes are this wide, and stay so far away from every border, in pixels.
WIDTH, MARGIN = 3, 2
# Longest stroke, in pixels, and by how much it turns with each of them.
_LONGEST, _TURN = 40, 0.35


def scribble(labels: NDArray[np.integer], seed: int) -> NDArray[np.int32]:
    """Draw strokes of background and of objects until 1 % of the pixels is painted.

    Parameters
    ----------
    labels : ndarray of int, shape (y, x)
        0 is background, each other value an object.
    seed : int

    Returns
    -------
    ndarray of int32, shape (y, x)
        0 not annotated, 1 background, 2 and up the objects' values and 1 more. No
        pixel of a stroke is nearer to another label than 2 pixels; half of the painted
        pixels are background. Objects too thin for that get no stroke, and where there
        is no room for 1 %, less is painted.
    """
    rng = np.random.default_rng(seed)
    annotation = np.full(labels.shape, UNKNOWN, np.int32)
    room = _distance_to_others(labels) > MARGIN + WIDTH // 2
    for inside in (labels > 0, labels == 0):
        wanted = SHARE * labels.size / 2
        places = np.argwhere(inside & room)
        painted, tries = 0, 0
        while painted < wanted and len(places) and tries < 100 * wanted:
            start = places[rng.integers(len(places))]
            painted += _stroke(annotation, labels, room, start, wanted - painted, rng)
            tries += 1
    return annotation


def _distance_to_others(labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Distance of each pixel to the nearest of another label."""
    edge = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        differs = np.diff(labels.astype(np.int64), axis=axis) != 0
        lower, upper = [slice(None)] * 2, [slice(None)] * 2
        lower[axis], upper[axis] = slice(None, -1), slice(1, None)
        edge[tuple(lower)] |= differs
        edge[tuple(upper)] |= differs
    if not edge.any():
        return np.full(labels.shape, np.inf)
    # an edge pixel itself is one away from the other label
    distance: NDArray[np.float64] = distance_transform_edt(~edge) + 1
    return distance


def _stroke(
    annotation: NDArray[np.int32],
    labels: NDArray[np.integer],
    room: NDArray[np.bool_],
    start: NDArray[np.integer],
    wanted: float,
    rng: np.random.Generator,
) -> int:
    """Draw one stroke that stays where there is room; return the pixels painted."""
    label = int(labels[tuple(start)])
    value = BACKGROUND if label == 0 else label - 1 + FIRST_OBJECT
    half, painted = WIDTH // 2, 0
    place, angle = start.astype(float), rng.uniform(0, 2 * np.pi)
    for _ in range(_LONGEST):
        y, x = np.round(place).astype(int)
        inside = 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]
        if painted >= wanted or not inside or not room[y, x] or labels[y, x] != label:
            break
        box = (
            slice(max(y - half, 0), y + half + 1),
            slice(max(x - half, 0), x + half + 1),
        )
        painted += int(np.count_nonzero(annotation[box] == UNKNOWN))
        annotation[box] = value
        angle += rng.normal(0, _TURN)
        place += (np.sin(angle), np.cos(angle))
    return painted
