"""Thin frames around parts of planes, in their own layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.session.images import layers as roles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Labels, Shapes
    from numpy.typing import NDArray

    from napari_unet.io.project_record import ProjectImage

Part = tuple[int, int, tuple[tuple[int, int], tuple[int, int]]]
"""Time point, slice, and start and stop in y and x."""


def show_frames(
    viewer: ViewerModel,
    image: ProjectImage,
    annotation: Labels | None,
    role: str,
    title: str,
    parts: Sequence[Part],
    colour: str,
) -> None:
    """Draw a frame around each part of an image, in place of earlier ones.

    The layer, whose role has a title for people, is made when there is something to
    show, and stays: removing one blocks napari for a while. The active layer stays
    active.
    """
    axes = image.annotation_axes
    found = roles.find(viewer, role, image.id)
    frames = [_corners(part, axes) for part in parts]
    if found:
        _redraw(found[0], frames, colour)
        return
    if annotation is None or not frames:
        return
    active = viewer.layers.selection.active
    layer = viewer.add_shapes(
        frames,
        shape_type="polygon",
        name=roles.name_for(image.name, title),
        metadata=roles.note(role, image.id),
        edge_color=colour,
        face_color="transparent",
        edge_width=max(1, min(image.annotation_shape[-2:]) // 300),
        **roles.attributes_like(annotation, axes, axes),
    )
    layer.editable = False
    viewer.layers.selection.active = active


def _redraw(layer: Shapes, frames: list[NDArray[np.float64]], colour: str) -> None:
    old = [np.asarray(vertices) for vertices in layer.data]
    if len(old) == len(frames) and all(map(np.array_equal, old, frames)):
        return
    layer.data = frames
    if frames:
        layer.shape_type = "polygon"
        layer.edge_color = colour
        layer.face_color = "transparent"
    layer.editable = False


def _corners(part: Part, axes: str) -> NDArray[np.float64]:
    """Return the corners of a part in pixels; pixel centres are whole numbers."""
    t, z, ((top, bottom), (left, right)) = part
    low_y, high_y, low_x, high_x = top - 0.5, bottom - 0.5, left - 0.5, right - 0.5
    along = {
        "t": [t] * 4,
        "z": [z] * 4,
        "y": [low_y, low_y, high_y, high_y],
        "x": [low_x, high_x, high_x, low_x],
    }
    return np.array([along[axis] for axis in axes], np.float64).T
