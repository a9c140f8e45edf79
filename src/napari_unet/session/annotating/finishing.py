"""Finished parts of slices, in which unlabelled means background, and their frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import FinishedPart
from napari_unet.session.images import layers as roles

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Shapes
    from numpy.typing import NDArray

    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.record import ProjectImage

FRAME_COLOUR = "#2ca02c"

Rectangle = tuple[tuple[int, int], tuple[int, int]]


def whole_plane(image: ProjectImage) -> Rectangle:
    """Return a plane of an image as a box."""
    size = dict(zip(image.axes, image.shape, strict=True))
    return (0, size["y"]), (0, size["x"])


def with_finished(image: ProjectImage, t: int, z: int, box: Rectangle) -> ProjectImage:
    """Return the image with one more finished part; parts inside of it go."""
    part = FinishedPart(t=t, z=z, box=box)
    others = tuple(
        p for p in image.finished if (p.t, p.z) != (t, z) or not _inside(p.box, box)
    )
    return image.replace(finished=(*others, part))


def without_finished(image: ProjectImage, t: int, z: int) -> ProjectImage:
    """Return the image with nothing finished in a slice."""
    left = tuple(p for p in image.finished if (p.t, p.z) != (t, z))
    return image.replace(finished=left)


def is_finished(image: ProjectImage, t: int, z: int) -> bool:
    """Whether a whole slice is finished."""
    whole = whole_plane(image)
    return any((p.t, p.z) == (t, z) and _inside(whole, p.box) for p in image.finished)


def show_frames(viewer: ViewerModel, images: ImageList, image: ProjectImage) -> None:
    """Draw a thin frame around each finished part, in a layer beside the annotation.

    The layer is made when there is something to show, and stays: napari stands still
    for a while when one goes. The active layer stays active.
    """
    found = roles.find(viewer, "finished", image.id)
    frames = [_corners(part, image.annotation_axes) for part in image.finished]
    if found:
        _redraw(found[0], frames)
        return
    source = images.annotation_layer(image.id)
    if source is None or not frames:
        return
    axes = image.annotation_axes
    active = viewer.layers.selection.active
    layer = viewer.add_shapes(
        frames,
        shape_type="polygon",
        name=roles.name_for(image.name, "finished"),
        metadata=roles.note("finished", image.id),
        edge_color=FRAME_COLOUR,
        face_color="transparent",
        edge_width=max(1, min(image.annotation_shape[-2:]) // 300),
        **roles.attributes_like(source, axes, axes),
    )
    layer.editable = False
    viewer.layers.selection.active = active


def _redraw(layer: Shapes, frames: list[NDArray[np.float64]]) -> None:
    old = [np.asarray(vertices) for vertices in layer.data]
    same = len(old) == len(frames) and all(map(np.array_equal, old, frames))
    if same:
        return
    layer.data = frames
    if frames:
        layer.shape_type = "polygon"
        layer.edge_color = FRAME_COLOUR
        layer.face_color = "transparent"
    layer.editable = False


def _corners(part: FinishedPart, axes: str) -> NDArray[np.float64]:
    """Return the corners of a part in pixels; pixel centres are whole numbers."""
    (top, bottom), (left, right) = part.box
    low_y, high_y, low_x, high_x = top - 0.5, bottom - 0.5, left - 0.5, right - 0.5
    along = {
        "t": [part.t] * 4,
        "z": [part.z] * 4,
        "y": [low_y, low_y, high_y, high_y],
        "x": [low_x, high_x, high_x, low_x],
    }
    return np.array([along[axis] for axis in axes], np.float64).T


def _inside(inner: Rectangle, outer: Rectangle) -> bool:
    return all(a >= c and b <= d for (a, b), (c, d) in zip(inner, outer, strict=True))
