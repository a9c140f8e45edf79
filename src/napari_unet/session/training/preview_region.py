"""What of an image is in view, and so is to be predicted while a network trains."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.jobs import Place

# A plane with fewer pixels is predicted whole.
_SMALL = 512 * 512
# The region is made up of squares of this side, so that small moves change nothing.
_GRID = 64
# Zoomed in this far, a preview of all that was in view before is given up.
_MUCH_LESS = 0.25


@dataclass(frozen=True, slots=True)
class View:
    """What of an image is in view, and so is to be predicted.

    Attributes
    ----------
    image_id : str
    place : tuple of (t, z)
    region : tuple of slice
        Of the plane, or of a volume one slice thick.
    focus : tuple of float
        Its centre.
    """

    image_id: str
    place: Place
    region: Box
    focus: tuple[float, ...]

    def covers(self, other: View) -> bool:
        """Whether a preview of this view serves for the other one, too."""
        if (self.image_id, self.place) != (other.image_id, other.place):
            return False
        inside = all(
            a.start <= b.start and b.stop <= a.stop
            for a, b in zip(self.region, other.region, strict=True)
        )
        return inside and _area(other.region) >= _MUCH_LESS * _area(self.region)


def round_out(box: Box, shape: tuple[int, ...]) -> Box:
    """Return a box enlarged to a coarse grid; all of a small plane.

    Parameters
    ----------
    box : tuple of slice
        In pixels of the plane.
    shape : tuple of int
        Of the plane.

    Returns
    -------
    tuple of slice
        Inside the plane, never empty.
    """
    if prod(shape) <= _SMALL:
        return tuple(slice(0, n) for n in shape)
    rounded = []
    for part, n in zip(box, shape, strict=True):
        start = min(max(part.start, 0), n - 1) // _GRID * _GRID
        stop = -(-max(part.stop, start + 1) // _GRID) * _GRID
        rounded.append(slice(start, min(stop, n)))
    return tuple(rounded)


def _area(box: Box) -> int:
    return prod(s.stop - s.start for s in box)
