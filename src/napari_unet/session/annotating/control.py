"""Annotation of the project's images: what is painted, and what it means."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.session.annotating import shortcuts
from napari_unet.session.annotating.annotation_layers import AnnotationLayers
from napari_unet.session.annotating.brush import Brush, current_image
from napari_unet.session.annotating.classes import ClassList
from napari_unet.session.annotating.finishing import Finishing
from napari_unet.session.annotating.importing import Importer
from napari_unet.session.annotating.label_edits import LabelEdits
from napari_unet.session.annotating.object_index import ObjectIndex
from napari_unet.session.forward_signal import forward_signal
from napari_unet.session.images.navigation import go_to, neighbour
from napari_unet.session.project.recovery import find_projects

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.record import Project
    from napari_unet.session.project.recovery import FoundProject
    from napari_unet.session.project.store import ProjectStore


class Annotating:
    """The annotation of the project's images: its parts, and what concerns several."""

    edited = Signal(str, object)
    """Id of an image, and the `Edit` that was made in its annotation."""
    changed = Signal()
    """Layers, classes, or finished parts."""
    message = Signal(str, str)
    """A level (info, warning, error) and a sentence."""

    def __init__(
        self, viewer: ViewerModel, store: ProjectStore, images: ImageList
    ) -> None:
        self._viewer, self._store, self._images = viewer, store, images
        self.brush = Brush(store, images)
        self.layers = AnnotationLayers(viewer, store, images, self.brush)
        self.classes = ClassList(store)
        self.finishing = Finishing(viewer, store, images)
        self.label_edits = LabelEdits(viewer, store, images, self.brush, self.layers)
        self.importer = Importer(store, images, self.brush, self.layers)
        self.object_index = ObjectIndex(store, images, self.layers.edited)
        self._warnings: set[str] = set()
        forward_signal(self.layers.edited, self.edited)
        self.layers.shown.connect(self._on_shown)
        forward_signal(self.layers.changed, self.changed)
        forward_signal(self.layers.unfit, self.message, "warning")
        store.changed.connect(self._on_project)
        # last: all that is to hear of these layers is connected by now
        self.layers.show_known()

    def close(self) -> None:
        """Follow viewer and project no more; what is painted is saved."""
        self._store.changed.disconnect(self._on_project)
        # the layers stay in the viewer: their keys would go on calling what is closed
        for layer in self.layers.shown_layers():
            shortcuts.unbind(layer)
        self.object_index.close()
        self.layers.close()

    def tick(self) -> None:
        """Find edits that had no event, and what they painted; some times a second."""
        self.layers.tick()
        self.object_index.tick()

    def offers(self, image_id: str) -> list[FoundProject]:
        """Other projects in which this image is annotated, latest first."""
        found = find_projects(
            self._store.folder.parent,
            self._store.project.image(image_id).fingerprint,
            self._warn_once,
        )
        return [f for f in found if f.folder != self._store.folder and f.slices > 0]

    def remove_all(self) -> None:
        """Remove the annotation of the current image; `undo` brings it back."""
        image = current_image(self._images)
        self._store.remove_annotation(image.id, "remove annotation")

    def undo(self) -> str | None:
        """Undo the last step that is no stroke, and return what it was."""
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

    def _warn_once(self, sentence: str) -> None:
        if sentence not in self._warnings:
            self._warnings.add(sentence)
            self.message.emit("warning", sentence)

    def _on_shown(self, layer: Labels) -> None:
        shortcuts.bind(layer, self, partial(self.message.emit, "warning"))
        image_id = self._images.id_of(layer)
        if image_id is not None:
            self.finishing.show_frames(self._store.project.image(image_id))

    def _on_project(self, project: Project) -> None:
        for image in project.images:
            self.finishing.show_frames(image)
        self.changed.emit()
