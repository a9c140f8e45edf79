"""Shapes of napari drawn into planes of an annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import UNKNOWN
from napari_unet.core.annotation.conversion import polygon_ids
from napari_unet.core.geometry.boxes import axis_sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Labels, Shapes
    from numpy.typing import NDArray

    from napari_unet.session.annotating.imported_masks import Planes

# Vertices that an ellipse is drawn with.
_CORNERS = 64


def from_shapes(
    shapes: Shapes,
    annotation: Labels,
    axes: str,
    view: tuple[int, int],
    free: int,
) -> Planes:
    """Draw the polygons, rectangles and ellipses of a layer, each as a cell.

    Planes are 0 outside of the shapes: what is there is not known.

    ValueError if there are no such shapes, or they lie outside of the image.

    Parameters
    ----------
    shapes, annotation : layers
        They may differ in scale and translation.
    axes : str
        Of the annotation's data.
    view : (t, z)
        Plane of shapes that have only y and x.
    free : int
        The cells get ids from here on.
    """
    sizes = axis_sizes(axes, annotation.data.shape)
    found: dict[tuple[int, int], list[NDArray[Any]]] = {}
    for vertices, kind in zip(shapes.data, shapes.shape_type, strict=True):
        if kind in ("line", "path"):
            continue
        corners = _ellipse(vertices) if kind == "ellipse" else np.asarray(vertices)
        points = _in_pixels(corners, shapes, annotation)
        t, z = view if shapes.ndim == 2 else _place_of(points, axes)
        if 0 <= t < sizes["t"] and 0 <= z < sizes["z"]:
            found.setdefault((t, z), []).append(points[:, -2:])
    if not found:
        raise ValueError(
            f"{shapes.name} has no polygons, rectangles or ellipses in the image."
        )
    planes = {}
    for place, polygons in found.items():
        ids = polygon_ids(polygons, (sizes["y"], sizes["x"]))
        labels = np.where(ids > 0, ids + free - 1, UNKNOWN)
        planes[place] = labels.astype(np.int32)
        free += len(polygons)
    return planes


def _in_pixels(
    corners: NDArray[Any], shapes: Shapes, annotation: Labels
) -> NDArray[np.float64]:
    """Return vertices in pixels of the annotation; axes the shapes lack are 0."""
    world = np.array([shapes.data_to_world(point) for point in corners], np.float64)
    points = np.zeros((len(world), annotation.ndim))
    shared = min(world.shape[1], annotation.ndim)
    points[:, -shared:] = world[:, -shared:]
    return np.array([annotation.world_to_data(point) for point in points], np.float64)


def _place_of(points: NDArray[np.float64], axes: str) -> tuple[int, int]:
    """Return the plane (t, z) that vertices lie in."""
    middle = np.round(points.mean(axis=0)).astype(int).tolist()
    at = dict(zip(axes, middle, strict=True))
    return at.get("t", 0), at.get("z", 0)


def _ellipse(corners: Sequence[Any]) -> NDArray[np.float64]:
    """Return points on the ellipse in a parallelogram of four corners."""
    box = np.asarray(corners, np.float64)
    centre, right, up = box.mean(axis=0), (box[1] - box[0]) / 2, (box[3] - box[0]) / 2
    angle = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)[:, np.newaxis]
    points: NDArray[np.float64] = centre + np.cos(angle) * right + np.sin(angle) * up
    return points
