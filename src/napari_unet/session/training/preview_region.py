"""What of an image is in view, and so is to be predicted while a network trains."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from napari_unet.core.geometry.boxes import shape_of, union

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
    """What of an image is in view.

    Attributes
    ----------
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
        inside = union(self.region, other.region) == self.region
        area, others = prod(shape_of(self.region)), prod(shape_of(other.region))
        return inside and others >= _MUCH_LESS * area


def round_out(box: Box, shape: tuple[int, ...]) -> Box:
    """Return a box enlarged to a coarse grid; all of a small plane.

    Parameters
    ----------
    box : tuple of slice
        In pixels of the plane; it may reach out of it.
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
