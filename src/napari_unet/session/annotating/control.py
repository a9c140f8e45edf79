"""Annotation of the project's images: what is painted, and what it means."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.session.annotating import shortcuts
from napari_unet.session.annotating.annotation_layers import AnnotationLayers
from napari_unet.session.annotating.brush import Brush, current_image
from napari_unet.session.annotating.classes import ClassList
from napari_unet.session.annotating.earlier_work import EarlierWork
from napari_unet.session.annotating.finishing import Finishing
from napari_unet.session.annotating.importing import Importer
from napari_unet.session.annotating.label_edits import LabelEdits
from napari_unet.session.annotating.object_index import ObjectIndex
from napari_unet.session.annotating.shortcuts import readable
from napari_unet.session.forward_signal import forward_signal
from napari_unet.session.images.navigation import go_to, neighbour

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_unet.io.project_record import Project
    from napari_unet.session.future import Post
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.store import ProjectStore

IN_3D = (
    "Slices can be painted, volumes cannot: go back to the 2-D view "
    f"({readable('Control-Y')}, or the square at the lower left) to paint."
)


class Annotating:
    """The annotation of the project's images: its parts, and what concerns several.

    `post` runs a function soon in the main thread, called from any thread; without it
    nothing is done in other threads.
    """

    edited = Signal(str, object)
    """Id of an image, and the `Edit` that was made in its annotation."""
    changed = Signal()
    """Layers, classes, or finished parts."""
    message = Signal(str, str)
    """A level (info, warning, error) and a sentence."""

    def __init__(
        self,
        viewer: ViewerModel,
        store: ProjectStore,
        images: ImageList,
        post: Post | None = None,
    ) -> None:
        self._viewer, self._store, self._images = viewer, store, images
        self.brush = Brush(store, images)
        self.layers = AnnotationLayers(viewer, store, images, self.brush)
        self.classes = ClassList(store)
        self.finishing = Finishing(viewer, store, images)
        self.label_edits = LabelEdits(viewer, store, images, self.brush, self.layers)
        self.importer = Importer(store, images, self.brush, self.layers)
        self.object_index = ObjectIndex(store, images, self.layers.edited)
        self.earlier_work = EarlierWork(store, post)
        forward_signal(self.earlier_work.passed_over, self.message, "warning")
        forward_signal(self.layers.edited, self.edited)
        self.layers.shown.connect(self._on_shown)
        forward_signal(self.layers.changed, self.changed)
        forward_signal(self.layers.unfit, self.message, "warning")
        store.changed.connect(self._on_project)
        images.place_changed.connect(self._on_place)
        viewer.dims.events.ndisplay.connect(self._on_ndisplay)
        # last: everything that reacts to layers is connected by now
        self.layers.show_known()

    def close(self) -> None:
        """Disconnect from viewer and project; annotation is saved."""
        self._store.changed.disconnect(self._on_project)
        self._images.place_changed.disconnect(self._on_place)
        self._viewer.dims.events.ndisplay.disconnect(self._on_ndisplay)
        # layers stay in the viewer: their keys would call closed objects
        for layer in self.layers.shown_layers():
            shortcuts.unbind(layer)
        self.earlier_work.close()
        self.object_index.close()
        self.layers.close()

    @property
    def in_3d(self) -> bool:
        """Whether napari shows volumes, in which no stroke is possible."""
        return bool(self._viewer.dims.ndisplay == 3)

    def tick(self) -> None:
        """Find edits that had no event, and what they painted; some times a second."""
        self.layers.tick()
        self.object_index.tick()

    def remove_all(self) -> None:
        """Remove the annotation of the current image; `undo` brings it back."""
        image = current_image(self._images)
        self._store.remove_annotation(image.id, "remove annotation")

    def undo(self) -> str | None:
        """Undo the last step that is not a stroke, and return its description."""
        undone = self._store.undo()
        if undone is not None:
            self.message.emit("info", f"Undone: {undone}.")
        return undone

    def go_to(
        self, image_id: str, t: int, z: int, point: tuple[float, float] | None = None
    ) -> None:
        """Show a slice of an image, and a point (y, x) of it in the middle."""
        image = self._store.project.image(image_id)
        layer = self.layers.show(image_id)
        self._images.set_current(image_id)
        go_to(self._viewer, layer, image.annotation_axes, (t, z), point)

    def next_annotated(self, step: int) -> None:
        """Show the next (1) or previous (-1) annotated slice of the current image."""
        id_ = current_image(self._images).id
        here = self._images.place_in_view(id_)
        place = neighbour(self._images.places(id_), here, step)
        if place is not None:
            self.go_to(id_, *place)

    def _on_shown(self, layer: Labels) -> None:
        shortcuts.bind(layer, self, partial(self.message.emit, "warning"))
        image_id = self._images.id_of(layer)
        if image_id is not None:
            self.finishing.show_frames(self._store.project.image(image_id))

    def _on_place(self) -> None:
        for image in self._store.project.images:
            self.finishing.frame_slice(image)

    def _on_ndisplay(self, _: object = None) -> None:
        layer = self.brush.layer
        if self.in_3d and layer is not None and self._images.is_active(layer):
            self.message.emit("warning", IN_3D)
        self.changed.emit()

    def _on_project(self, project: Project) -> None:
        for image in project.images:
            self.finishing.show_frames(image)
        self.changed.emit()
