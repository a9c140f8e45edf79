"""Going to a plane of an image: the viewer's sliders, and the camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer


def go_to(
    viewer: ViewerModel,
    layer: Layer,
    axes: str,
    place: tuple[int, int],
    point: tuple[float, float] | None = None,
) -> None:
    """Show a plane (t, z) of a layer, with a point of it in the middle of the canvas.

    The point (y, x) is in pixels of the layer; the camera stays where it is unless
    given.
    """
    y, x = point or (0.0, 0.0)
    where = {"t": place[0], "z": place[1], "y": y, "x": x}
    world = np.asarray(layer.data_to_world([where[axis] for axis in axes]), float)
    first = viewer.dims.ndim - len(world)
    for number, axis in enumerate(axes):
        if axis in "tz":
            viewer.dims.set_point(first + number, world[number])
    if point is not None:
        shown = [d - first for d in viewer.dims.displayed]
        # napari before 0.9 has no scene
        getattr(viewer, "scene", viewer).camera.center = tuple(
            world[d] for d in shown if d >= 0
        )


def zoom_to(viewer: ViewerModel, layers: Sequence[Layer]) -> None:
    """Bring all of some layers into view."""
    if not layers:
        return
    # napari before 0.9 fits but all that is visible, and has no scene; later ones fail
    # with layers that have fewer axes than others
    flat = max(layer.ndim for layer in layers) < viewer.dims.ndim
    if hasattr(viewer, "scene") and not flat:
        viewer.fit_to_view(layers=layers)
    else:
        _fit(viewer, layers)


def _fit(viewer: ViewerModel, layers: Sequence[Layer]) -> None:
    camera = getattr(viewer, "scene", viewer).camera
    viewer.reset_view()
    first = viewer.dims.ndim - max(layer.ndim for layer in layers)
    shown = [axis - viewer.dims.ndim for axis in viewer.dims.displayed]
    if min(shown) + viewer.dims.ndim < first:
        return  # an axis that they lack is on the canvas
    corners = np.array([np.asarray(layer.extent.world)[:, shown] for layer in layers])
    low, high = corners[:, 0].min(axis=0), corners[:, 1].max(axis=0)
    every = np.ptp(np.asarray(viewer.layers.extent.world)[:, shown], axis=0)
    camera.zoom *= float(np.min(every / np.maximum(high - low, 1e-9)))
    camera.center = tuple((low + high) / 2)


def neighbour(
    places: Sequence[tuple[int, int]], here: tuple[int, int], step: int
) -> tuple[int, int] | None:
    """Return the next (1) or previous (-1) of some places; None at the end."""
    beyond = [p for p in sorted(places) if (p > here if step > 0 else p < here)]
    if not beyond:
        return None
    return beyond[0] if step > 0 else beyond[-1]
