"""The reasons for which a tile is suggested, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.core.suggestions.choice import Chosen
    from napari_unet.core.suggestions.sampling import TilePlace
    from napari_unet.core.suggestions.uncertainty import Where

THUMBNAIL = 64
"""Pixels along each side of a thumbnail, at the most."""

_WHERE: dict[Where, str] = {
    "borders": "borders between cells are uncertain",
    "outlines": "outlines are uncertain",
    "insides": "the insides of cells are uncertain",
    "elsewhere": "cells may be missed here",
    "anywhere": "classes are uncertain",
}
# Least mean entropy, 0 to 1, of a tile that counts as uncertain.
_UNCERTAIN = 0.05
# Least distance to what is annotated, relative to the median of two tiles.
_UNLIKE = 1.0
# Least share of tiles that look like it.
_MANY = 0.1
# Factor by which diameters are above the largest annotated, or below the smallest.
_OTHER_SIZE = 1.25


@dataclass(frozen=True, slots=True, eq=False)
class Suggestion:
    """A tile to annotate."""

    place: TilePlace
    reasons: tuple[str, ...]  # the weightiest first, one at the least
    thumbnail: NDArray[np.uint8]  # (y, x)


def suggestions_of(
    chosen: Sequence[Chosen], diameters: Sequence[float] = ()
) -> tuple[Suggestion, ...]:
    """Return the chosen tiles with their reasons.

    `diameters` are those of the annotated cells, in pixels.
    """
    return tuple(
        Suggestion(
            one.tile.place, _reasons(one, number, diameters), one.tile.looks.thumbnail
        )
        for number, one in enumerate(chosen)
    )


def _reasons(
    chosen: Chosen, number: int, diameters: Sequence[float]
) -> tuple[str, ...]:
    uncertainty = chosen.tile.uncertainty
    found = []
    if uncertainty is not None:
        found.append(_of_size(uncertainty.diameter, diameters))
        if uncertainty.where and uncertainty.entropy >= _UNCERTAIN:
            found.append(_WHERE[uncertainty.where])
    if chosen.unlike is not None and chosen.unlike >= _UNLIKE:
        found.append("looks unlike what is annotated")
    if chosen.share >= _MANY:
        left = number > 0 or chosen.unlike is not None
        which = "the tiles that are left" if left else "all tiles"
        found.append(f"looks like {chosen.share:.0%} of {which}")
    reasons = tuple(filter(None, found))
    others = "those above" if chosen.unlike is None else "what is annotated or above"
    return reasons or (f"differs from {others}",)


def _of_size(diameter: float | None, annotated: Sequence[float]) -> str:
    """Compare the size of cells with the annotated ones; empty if they are alike."""
    if diameter is None or not len(annotated):
        return ""
    low, high = np.percentile(annotated, (2, 98))
    if low / _OTHER_SIZE <= diameter <= high * _OTHER_SIZE:
        return ""
    than = "larger" if diameter > high else "smaller"
    return (
        f"cells {than} than those annotated, about {diameter:.0f} pixels across "
        f"(annotated: {low:.0f} to {high:.0f})"
    )
