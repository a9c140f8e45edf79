"""Where in an annotation an event of its layer happened: planes, and a box in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.session.images.layers import place_in_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Labels
    from numpy.typing import NDArray

# Larger than any number of slices: a plane as one number.
_PER_T = 2**32


@dataclass(frozen=True, slots=True)
class ChangedRegion:
    """The same box in some planes.

    Attributes
    ----------
    t, z : range
    box : tuple of slice
        In y and x.
    """

    t: range
    z: range
    box: tuple[slice, slice]


@dataclass(frozen=True, slots=True, eq=False)
class ChangedRegions:
    """Reads from a viewer what is on its canvas of a Labels layer.

    Attributes
    ----------
    layer : Labels
    axes : str
        A letter out of t, z, y, x for each axis of the layer.
    shape : tuple of int
    viewer : ViewerModel or None
        Without it, what is on the canvas is unknown and all planes are meant.
    """

    layer: Labels
    axes: str
    shape: tuple[int, ...]
    viewer: ViewerModel | None

    def place(self) -> tuple[int, int] | None:
        """Return the plane (t, z) that the sliders are at; None if unknown."""
        if self.viewer is None or self.layer.ndim != len(self.axes):
            return None
        return place_in_view(self.viewer, self.layer, self.axes)

    def in_view(self) -> ChangedRegion:
        """Return all that is on the canvas."""
        shown = self._last_axes(2 if self.viewer is None else self.viewer.dims.ndisplay)
        return self._planes({axis: self._whole(axis) for axis in shown}, {})

    def drawn(self, offset: Sequence[int], size: Sequence[int]) -> ChangedRegion:
        """Return what a part of the canvas shows, and what a brush of 3-D hits there.

        Parameters
        ----------
        offset, size : sequence of int
            Of the part, along the axes on the canvas.
        """
        shown = self._last_axes(len(offset))
        where = {
            axis: slice(int(start), int(start) + n)
            for axis, start, n in zip(shown, offset, size, strict=True)
        }
        # A brush of more dimensions than the canvas paints beside what it shows; along
        # a coarse axis it reaches less far.
        reach = int(self.layer.brush_size) // 2 + 1
        painted = self._last_axes(int(self.layer.n_edit_dimensions))
        return self._planes(where, {a: reach for a in painted if a not in shown})

    def _last_axes(self, count: int) -> str:
        """Return the axes that the viewer shows if it shows so many, in its order."""
        if self.viewer is None:
            return self.axes[-count:]
        # A layer's axes are the viewer's last ones.
        dims = self.viewer.dims
        order = [axis - dims.ndim + len(self.axes) for axis in dims.order]
        return "".join(self.axes[axis] for axis in order if axis >= 0)[-count:]

    def _whole(self, axis: str) -> slice:
        """All of an axis; one element where there is no such axis."""
        size = self.shape[self.axes.index(axis)] if axis in self.axes else 1
        return slice(0, size)

    def _planes(self, where: dict[str, slice], reach: dict[str, int]) -> ChangedRegion:
        place = self.place()
        known = {} if place is None else dict(zip("tz", place, strict=True))
        parts = {}
        for axis in "tzyx":
            whole = self._whole(axis)
            if axis in where or axis not in known:
                parts[axis] = where.get(axis, whole)
            else:
                at, by = known[axis], reach.get(axis, 0)
                parts[axis] = slice(max(at - by, 0), min(at + by + 1, whole.stop))
        t, z = (range(parts[a].start, parts[a].stop) for a in "tz")
        return ChangedRegion(t, z, (parts["y"], parts["x"]))


def planes_of_item(item: Sequence[Any], axes: str) -> list[ChangedRegion]:
    """Return where an item of a Labels layer's history lies, one box for each plane.

    Parameters
    ----------
    item : sequence of object
        As the layer's event `paint` has it. A stroke is hundreds of dabs: each with
        slices as `slice_key`, or a tuple whose first item has an array of indices for
        each axis.
    axes : str
        A letter out of t, z, y, x for each axis.
    """
    joined: dict[tuple[range, range], ChangedRegion] = {}
    for planes in (planes for dab in item for planes in _planes_of_dab(dab, axes)):
        key = (planes.t, planes.z)
        known = joined.get(key, planes)
        y, x = (
            slice(min(a.start, b.start), max(a.stop, b.stop))
            for a, b in zip(known.box, planes.box, strict=True)
        )
        joined[key] = ChangedRegion(planes.t, planes.z, (y, x))
    return list(joined.values())


def span(indices: NDArray[np.integer]) -> slice:
    """Return the smallest slice that holds all indices."""
    return slice(int(indices.min()), int(indices.max()) + 1)


def _planes_of_dab(dab: Any, axes: str) -> list[ChangedRegion]:
    key = getattr(dab, "slice_key", None)
    if key is not None:
        where = dict(zip(axes, key, strict=True))
        t, z = (where.get(axis, slice(0, 1)) for axis in "tz")
        box = (where["y"], where["x"])
        return [ChangedRegion(range(t.start, t.stop), range(z.start, z.stop), box)]
    arrays = np.broadcast_arrays(*(np.asarray(index) for index in dab[0]))
    pixels = {a: array.ravel() for a, array in zip(axes, arrays, strict=True)}
    none = np.zeros_like(pixels["y"])
    plane_of = pixels.get("t", none) * _PER_T + pixels.get("z", none)
    found = []
    for plane in np.unique(plane_of).tolist():
        own = plane_of == plane
        t, z = divmod(plane, _PER_T)
        box = (span(pixels["y"][own]), span(pixels["x"][own]))
        found.append(ChangedRegion(range(t, t + 1), range(z, z + 1), box))
    return found
