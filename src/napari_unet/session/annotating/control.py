"""Annotation of the project's images: what is painted, and what it means."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_unet.session.annotating import classes, finishing, shortcuts
from napari_unet.session.annotating.annotation_layers import AnnotationLayers
from napari_unet.session.annotating.brush import Brush
from napari_unet.session.annotating.cell_edits import CellEdits
from napari_unet.session.annotating.counting import Tallies
from napari_unet.session.annotating.intake import Intake
from napari_unet.session.forward_signal import forward_signal
from napari_unet.session.images.navigation import go_to, neighbour
from napari_unet.session.project.recovery import find_projects, is_locked

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import numpy as np
    from napari.components import ViewerModel
    from napari.layers import Labels, Shapes
    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import Annotation, ClassKind, Kind
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.record import Project, ProjectImage
    from napari_unet.session.project.recovery import FoundProject
    from napari_unet.session.project.store import ProjectStore


class Annotating:
    """What can be done with the annotation of the project's images.

    Parameters
    ----------
    viewer : ViewerModel
    store : ProjectStore
    images : ImageList
    """

    edited = Signal(str, object)
    """Id of an image, and the `Edit` that was made in its annotation."""
    changed = Signal()
    """Layers, classes, or finished parts."""
    class_changed = Signal(int)
    """Number of the class that new cells get."""
    message = Signal(str, str)
    """A level (info, warning, error) and a sentence."""

    def __init__(
        self, viewer: ViewerModel, store: ProjectStore, images: ImageList
    ) -> None:
        self._viewer = viewer
        self._store = store
        self._images = images
        self.brush = Brush(store, images)
        self._layers = AnnotationLayers(viewer, store, images, self.brush)
        self.tallies = Tallies(store, images, self._layers.edited)
        self._cells = CellEdits(viewer, store, images, self.brush, self.new_annotation)
        self._intake = Intake(store, images, self.brush)
        self.reader_of_masks = self._intake.reader
        self._class = self.active_class
        self._bound: list[Labels] = []
        self._told: set[str] = set()
        self.brush.changed.connect(self._on_brush)
        forward_signal(self._layers.edited, self.edited)
        self._layers.shown.connect(self._on_shown)
        forward_signal(self._layers.changed, self.changed)
        forward_signal(self._layers.unfit, self.message, "warning")
        store.changed.connect(self._on_project)
        self._layers.show_known()

    def close(self) -> None:
        """Follow viewer and project no more; what is painted is saved."""
        self._store.changed.disconnect(self._on_project)
        for layer in self._bound:
            shortcuts.unbind(layer)
        self.tallies.close()
        self._layers.close()

    def tick(self) -> None:
        """Find edits that no event told of, and count; called a few times a second."""
        self._layers.tick()
        self.tallies.look()

    # layers

    def new_annotation(self, image_id: str) -> Labels:
        """Return the annotation layer of an image, with all that was painted."""
        return self._layers.show(image_id)

    def offers(self, image_id: str) -> list[FoundProject]:
        """Other projects in which this image is annotated, latest first."""
        project = self._store.project
        found = find_projects(
            self._store.folder.parent,
            project.image(image_id).fingerprint,
            self._tell_once,
        )
        return [f for f in found if f.folder != self._store.folder and f.slices > 0]

    def is_open_elsewhere(self, offer: FoundProject) -> bool:
        """Whether the project of an offer is still open in another window."""
        return is_locked(offer.folder)

    def _tell_once(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self.message.emit("warning", sentence)

    def restore(self, image_id: str, offer: FoundProject) -> None:
        """Copy the annotation of an image from another project, with its classes.

        Raises
        ------
        RuntimeError, ValueError
            If that project is open elsewhere or cannot be read.
        """
        self._intake.other_project(image_id, offer)
        self.new_annotation(image_id)

    # brush

    @property
    def active_class(self) -> int:
        """Number of the class that new cells get."""
        return self.brush.active_class

    def set_class(self, number: int) -> None:
        """Paint cells of another class; ValueError if there is none of this number."""
        self.brush.set_class(number)

    def next_cell(self) -> None:
        """Paint the next cell."""
        self.brush.next_cell()

    def background(self) -> None:
        """Paint background."""
        self.brush.background()

    def erase(self) -> None:
        """Erase annotation."""
        self.brush.erase()

    def remove_all(self) -> None:
        """Take the annotation of the current image away; `undo` brings it back."""
        image = self._current()
        self._store.remove_annotation(image.id, "remove annotation")

    def undo(self) -> str | None:
        """Undo the last step that is no stroke, and return what it was."""
        undone = self._store.undo()
        if undone is not None:
            self.message.emit("info", f"Undone: {undone}.")
        return undone

    # classes

    def add_class(self, name: str, kind: ClassKind = "cells") -> None:
        """Add a class; ValueError if the name is empty or taken."""
        project = classes.with_class(self._store.project, name, kind)
        self._store.update(project, f"add class {name}")

    def rename_class(self, number: int, name: str) -> None:
        """Rename a class; ValueError if the name is empty or taken."""
        self._change_class(number, "rename", name=name)

    def recolour_class(self, number: int, colour: str) -> None:
        """Give a class another colour, as #rrggbb."""
        self._change_class(number, "recolour", colour=colour)

    def set_kind(self, number: int, kind: ClassKind) -> None:
        """Make a class one of cells or of regions."""
        self._change_class(number, "change kind of", kind=kind)

    def cells_of_class(self, number: int) -> int:
        """Count the objects of a class in all images."""
        images = {image.id: image for image in self._store.project.images}
        return sum(
            images[id_].class_of.get(cell, 1) == number
            for id_, cells in self._cells.present().items()
            for cell in cells
        )

    def remove_class(self, number: int, into: int | None = None) -> None:
        """Remove a class; its objects become those of the class `into`.

        Raises
        ------
        ValueError
            If it has objects and no class takes them, or it is the only class.
        """
        project = self._store.project
        classes.check_number(project, number)
        name, count = project.classes[number - 1].name, self.cells_of_class(number)
        if count and into is None:
            raise ValueError(f"Say what the objects of {name} become: {count} found.")
        into = into or (2 if number == 1 else 1)
        into = min(into, len(project.classes))
        changed = classes.without_class(project, number, into, self._cells.present())
        self._store.update(changed, f"remove class {name}")

    @property
    def cell_at_hand(self) -> int | None:
        """Id of the painted cell that the brush goes on with; None if it is new."""
        return self._cells.at_hand

    def set_class_of_cell(self, cell: int, number: int) -> None:
        """Give a cell of the current image another class; see `CellEdits.set_class`."""
        self._cells.set_class(self._current(), cell, number)

    def set_class_under_cursor(self, number: int) -> None:
        """Give the painted cell under the mouse another class; ValueError if none."""
        position = tuple(self._viewer.cursor.position)
        self._cells.set_class(self._current(), self._cells.painted_at(position), number)

    # finished parts

    def finish_slice(self) -> None:
        """Mark the slice in view: what is not painted there is background."""
        image, (t, z) = self._in_view()
        whole = finishing.whole_plane(image)
        changed = finishing.with_finished(image, t, z, whole)
        self._update(changed, "mark slice as finished")

    def finish_view(self) -> None:
        """Mark the part of the slice that the canvas shows as finished."""
        image, (t, z) = self._in_view()
        rows, columns = self._images.box_in_view(image.id)
        box = (rows.start, rows.stop), (columns.start, columns.stop)
        changed = finishing.with_finished(image, t, z, box)
        self._update(changed, "mark view as finished")

    def unfinish(self, t: int | None = None, z: int | None = None) -> None:
        """Take the mark from a slice of the current image, by default that in view."""
        image, view = self._in_view()
        t, z = view[0] if t is None else t, view[1] if z is None else z
        changed = finishing.without_finished(image, t, z)
        self._update(changed, "slice is not finished")

    def toggle_finished(self) -> None:
        """Mark the slice in view as finished, or take the mark away."""
        image, (t, z) = self._in_view()
        if finishing.is_finished(image, t, z):
            self.unfinish()
        else:
            self.finish_slice()

    def is_finished(self, image_id: str, t: int, z: int) -> bool:
        """Whether a whole slice is marked as finished."""
        return finishing.is_finished(self._store.project.image(image_id), t, z)

    # places

    def go_to(
        self, image_id: str, t: int, z: int, point: tuple[float, float] | None = None
    ) -> None:
        """Show a slice of an image, and a point (y, x) of it in the middle."""
        image = self._store.project.image(image_id)
        layer = self._images.annotation_layer(image_id)
        if layer is None:
            layer = self.new_annotation(image_id)
        self._images.set_current(image_id)
        go_to(self._viewer, layer, image.annotation_axes, (t, z), point)

    def next_annotated(self, step: int) -> None:
        """Show the next (1) or previous (-1) annotated slice of the current image."""
        image, here = self._in_view()
        places = [(t, z or 0) for t, z in self._images.places(image.id)]
        place = neighbour(places, here, step)
        if place is not None:
            self.go_to(image.id, *place)

    # from elsewhere

    def import_masks(
        self, image_id: str, array: Any, kind: Kind | None = None, replace: bool = False
    ) -> int:
        """Take masks into an annotation where there is none; see `Intake.masks`."""
        return self._intake.masks(image_id, array, kind, replace)

    def import_polygons(self, shapes: Shapes, replace: bool = False) -> int:
        """Take the shapes of a layer as cells of the active class.

        Returns
        -------
        int
            Number of slices that have them; ValueError if none is in the image.
        """
        image = self._current()
        layer = self.new_annotation(image.id)
        return self._intake.polygons(image, shapes, layer, replace)

    def use_as_annotation(
        self,
        image_id: str,
        cells_plane: NDArray[Any],
        t: int,
        z: int,
        ids: Collection[int] | None = None,
    ) -> int:
        """Take predicted cells as annotation; see `CellEdits.take_cells`."""
        return self._cells.take_cells(image_id, cells_plane, t, z, ids)

    def use_cell_under_cursor(self) -> None:
        """Take the predicted cell under the mouse as annotation."""
        if not self._cells.take_cell_at(tuple(self._viewer.cursor.position)):
            raise ValueError("This cell is annotated already.")

    def add_background_ring(self, image_id: str, t: int, z: int, width: float) -> None:
        """Paint background around the cells of a slice, as wide as so many pixels."""
        self._cells.add_ring(image_id, t, z, width)

    def repair(
        self,
        image_id: str,
        t: int,
        z: int,
        change: Callable[[Annotation], NDArray[np.integer]],
    ) -> None:
        """Write what a function makes of a slice: one step of napari's undo."""
        self._cells.repair(image_id, t, z, change)

    def record_classes(self, image_id: str, class_of: dict[int, int]) -> None:
        """Write down the classes of new objects."""
        self._cells.record_classes(image_id, class_of)

    # helpers

    def _current(self) -> ProjectImage:
        image = self._images.current
        if image is None:
            raise ValueError("There is no image in the project yet.")
        return image

    def _in_view(self) -> tuple[ProjectImage, tuple[int, int]]:
        image = self._current()
        return image, self._images.place_in_view(image.id)

    def _update(self, image: ProjectImage, what: str) -> None:
        self._store.update(self._store.project.with_image(image), what)

    def _change_class(self, number: int, verb: str, **changes: str) -> None:
        project = classes.with_changed_class(self._store.project, number, **changes)
        if project != self._store.project:
            name = self._store.project.classes[number - 1].name
            self._store.update(project, f"{verb} class {name}")

    def _on_brush(self) -> None:
        if self._class != self.active_class:
            self._class = self.active_class
            self.class_changed.emit(self._class)

    def _on_shown(self, layer: Labels) -> None:
        shortcuts.bind(layer, self, partial(self.message.emit, "warning"))
        self._bound.append(layer)
        image_id = self._images.id_of(layer)
        if image_id is not None:
            image = self._store.project.image(image_id)
            finishing.show_frames(self._viewer, self._images, image)

    def _on_project(self, project: Project) -> None:
        for image in project.images:
            finishing.show_frames(self._viewer, self._images, image)
        self._on_brush()
        self.changed.emit()
