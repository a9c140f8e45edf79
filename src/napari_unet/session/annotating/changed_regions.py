"""The region of an annotation that an event of its layer is about (t, z, y, x)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.geometry.boxes import axis_sizes, grown, union
from napari_unet.session.images.layers import place_in_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box

# Larger than any number of slices: a plane as one number.
_PER_T = 2**32


@dataclass(frozen=True, slots=True, eq=False)
class ChangedRegions:
    """Regions of a Labels layer that are on the canvas of a viewer."""

    layer: Labels
    axes: str  # a letter out of t, z, y, x for each axis of the layer
    shape: tuple[int, ...]
    # without it the canvas is unknown, and regions cover all planes
    viewer: ViewerModel | None

    def place(self) -> tuple[int, int] | None:
        """Return the plane (t, z) that the sliders are at; None if unknown."""
        if self.viewer is None or self.layer.ndim != len(self.axes):
            return None
        return place_in_view(self.viewer, self.layer, self.axes)

    def in_view(self) -> Box:
        """Return all that is on the canvas."""
        shown = self._last_axes(2 if self.viewer is None else self.viewer.dims.ndisplay)
        sizes = axis_sizes(self.axes, self.shape)
        return self._box({axis: slice(0, sizes[axis]) for axis in shown}, {})

    def drawn(self, offset: Sequence[int], size: Sequence[int]) -> Box:
        """Return the region of a part of the canvas, with the reach of a 3-D brush.

        `offset` and `size` of the part are along the axes on the canvas.
        """
        shown = self._last_axes(len(offset))
        extents = {
            axis: slice(int(start), int(start) + n)
            for axis, start, n in zip(shown, offset, size, strict=True)
        }
        # A brush of more dimensions than the canvas paints beside what it shows; along
        # a coarse axis it reaches less far.
        reach = int(self.layer.brush_size) // 2 + 1
        painted = self._last_axes(int(self.layer.n_edit_dimensions))
        return self._box(extents, {a: reach for a in painted if a not in shown})

    def _last_axes(self, count: int) -> str:
        """Return the last `count` axes in the viewer's order: those on the canvas."""
        if self.viewer is None:
            return self.axes[-count:]
        # A layer's axes are the viewer's last ones.
        dims = self.viewer.dims
        order = [axis - dims.ndim + len(self.axes) for axis in dims.order]
        return "".join(self.axes[axis] for axis in order if axis >= 0)[-count:]

    def _box(self, extents: dict[str, slice], reach: dict[str, int]) -> Box:
        """Return a box of known extents that goes so far from the plane in view."""
        place = self.place()
        at = {} if place is None else dict(zip("tz", place, strict=True))
        sizes = axis_sizes(self.axes, self.shape)
        box = []
        for axis in "tzyx":
            if axis in extents or axis not in at:
                box.append(extents.get(axis, slice(0, sizes[axis])))
            else:
                here = (slice(at[axis], at[axis] + 1),)
                box += grown(here, reach.get(axis, 0), (sizes[axis],))
        return tuple(box)


def boxes_of_stroke(dabs: Sequence[Any], axes: str) -> list[Box]:
    """Return where an item of a Labels layer's history lies, one box for each plane.

    Parameters
    ----------
    dabs : sequence of object
        The item as the layer's event `paint` has it. A stroke is hundreds of dabs:
        each with slices as `slice_key`, or a tuple whose first item has an array of
        indices for each axis.
    axes : str
        A letter out of t, z, y, x for each axis.
    """
    joined: dict[str, Box] = {}
    for box in (box for dab in dabs for box in _boxes_of_dab(dab, axes)):
        planes = repr(box[:2])  # a slice is no key before Python 3.12
        joined[planes] = union(joined.get(planes, box), box)
    return list(joined.values())


def span(indices: NDArray[np.integer]) -> slice:
    """Return the smallest slice that holds all indices."""
    return slice(int(indices.min()), int(indices.max()) + 1)


def _boxes_of_dab(dab: Any, axes: str) -> list[Box]:
    key = getattr(dab, "slice_key", None)
    if key is not None:
        parts = dict(zip(axes, key, strict=True))
        return [tuple(parts.get(axis, slice(0, 1)) for axis in "tzyx")]
    arrays = np.broadcast_arrays(*(np.asarray(index) for index in dab[0]))
    pixels = {a: array.ravel() for a, array in zip(axes, arrays, strict=True)}
    none = np.zeros_like(pixels["y"])
    plane_of = pixels.get("t", none) * _PER_T + pixels.get("z", none)
    boxes = []
    for plane in np.unique(plane_of).tolist():
        own = plane_of == plane
        t, z = divmod(plane, _PER_T)
        yx = (span(pixels[axis][own]) for axis in "yx")
        boxes.append((slice(t, t + 1), slice(z, z + 1), *yx))
    return boxes
