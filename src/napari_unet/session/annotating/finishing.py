"""Finished parts of slices, in which unlabelled means background, and their frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_unet.core.annotation.annotations import FinishedPart
from napari_unet.session.annotating.brush import current_image
from napari_unet.session.images.frames import show_frames

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.store import ProjectStore

FRAME_COLOUR = "#2ca02c"
# In pixels of the screen.
_FRAME_WIDTH = 3

# Start and stop in y and x.
_Rectangle = tuple[tuple[int, int], tuple[int, int]]


@dataclass(eq=False)
class Finishing:
    """Marks slices of the current image, or parts of them, as finished."""

    _viewer: ViewerModel
    _store: ProjectStore
    _images: ImageList

    def finish_slice(self) -> None:
        """Mark the slice in view: what is not painted there is background."""
        image = current_image(self._images)
        self._add(image, _whole_plane(image), "mark slice as finished")

    def finish_view(self) -> None:
        """Mark the part of the slice that the canvas shows as finished."""
        image = current_image(self._images)
        y, x = self._images.box_in_view(image.id)
        box = ((y.start, y.stop), (x.start, x.stop))
        self._add(image, box, "mark view as finished")

    def toggle_slice(self) -> None:
        """Mark the slice in view as finished, or take the mark away."""
        image = current_image(self._images)
        t, z = self._images.slice_in_view(image.id)
        if self.is_finished(image.id, t, z):
            others = tuple(p for p in image.finished if (p.t, p.z) != (t, z))
            self._store.change_image(image.id, "slice is not finished", finished=others)
        else:
            self.finish_slice()

    def is_finished(self, image_id: str, t: int, z: int) -> bool:
        """Whether a whole slice is marked as finished."""
        image = self._store.project.image(image_id)
        whole = _whole_plane(image)
        parts = [part for part in image.finished if (part.t, part.z) == (t, z)]
        return any(_inside(whole, part.box) for part in parts)

    def show_frames(self, image: ProjectImage) -> None:
        """Draw a thin frame around each finished part.

        That of a whole slice is the annotation layer's own.
        """
        self.frame_slice(image)
        whole = _whole_plane(image)
        parts = [part for part in image.finished if not _inside(whole, part.box)]
        show_frames(
            self._viewer,
            image,
            self._images.annotation_layer(image.id),
            "finished",
            "Finished",
            [(part.t, part.z, part.box) for part in parts],
            FRAME_COLOUR,
        )

    def frame_slice(self, image: ProjectImage) -> None:
        """Draw a frame around the slice in view if all of it is finished, else none."""
        layer = self._images.annotation_layer(image.id)
        if layer is None:
            return
        frame = layer.bounding_box
        place = self._images.place_in_view(image.id)
        finished = self.is_finished(image.id, *place)
        if finished and not frame.visible:
            frame.points, frame.line_thickness = False, _FRAME_WIDTH
            frame.line_color = FRAME_COLOUR
        if frame.visible != finished:
            frame.visible = finished

    def _add(self, image: ProjectImage, box: _Rectangle, what: str) -> None:
        """Mark a part of the slice in view; parts inside of it go."""
        t, z = self._images.slice_in_view(image.id)
        others = tuple(
            p for p in image.finished if (p.t, p.z) != (t, z) or not _inside(p.box, box)
        )
        parts = (*others, FinishedPart(t=t, z=z, box=box))
        self._store.change_image(image.id, what, finished=parts)


def _whole_plane(image: ProjectImage) -> _Rectangle:
    return (0, image.sizes["y"]), (0, image.sizes["x"])


def _inside(inner: _Rectangle, outer: _Rectangle) -> bool:
    return all(a >= c and b <= d for (a, b), (c, d) in zip(inner, outer, strict=True))
