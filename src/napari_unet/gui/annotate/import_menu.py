"""Masks and polygons from layers and files, asked about only where it is not clear."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import (
    QFileDialog,
    QInputDialog,
    QMenu,
    QMessageBox,
    QPushButton,
)

from napari_unet.core.annotation.label_kind import MEANINGS
from napari_unet.core.images.image import Image
from napari_unet.core.text import counted, printable
from napari_unet.gui.annotate.report_errors import report_errors
from napari_unet.gui.main_thread import MainThread, in_background
from napari_unet.gui.object_layers import kinds_in
from napari_unet.gui.widgets import plain
from napari_unet.session.annotating.imported_masks import AmbiguousMasksError
from napari_unet.session.annotating.object_classes import MaskDetails
from napari_unet.session.images.layers import level_data, role_of, set_visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Layer, Shapes

    from napari_unet.core.annotation.annotations import Kind
    from napari_unet.core.cells.objects import Objects
    from napari_unet.io.pixels import SeveralImagesError
    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.annotating.imported_masks import Imported
    from napari_unet.session.workspace import Workspace

# Masks with more pixels are read in the background, and ids are left free for so many
# cells that are painted meanwhile.
_MANY, _MARGIN = 2**19, 1000


class ImportButton(QPushButton):
    """A menu of what can be imported into the current image's annotation."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self._main_thread = MainThread(self)
        self.setText("Import")
        self.setToolTip("Take masks or polygons that you have as annotation.")
        self.menu_ = QMenu(self)
        self.setMenu(self.menu_)
        self.menu_.setToolTipsVisible(True)
        self.menu_.aboutToShow.connect(self.fill)

    def fill(self) -> None:
        """List the layers that could be imported now."""
        self.menu_.clear()
        for layer in self._workspace.viewer.layers:
            kinds = [one.__name__ for one in type(layer).__mro__]
            if role_of(layer) is None and "Labels" in kinds:
                action = self.menu_.addAction(f"Masks of layer {plain(layer.name)}")
                action.triggered.connect(partial(self._from_layer, layer))
            elif role_of(layer) is None and "Shapes" in kinds:
                action = self.menu_.addAction(f"Polygons of layer {plain(layer.name)}")
                action.triggered.connect(partial(self._from_shapes, layer))
        if self.menu_.actions():
            self.menu_.addSeparator()
        action = self.menu_.addAction("Masks from a file…")
        action.setToolTip(
            "A label image with the shape of the image, or cells of ImageJ (.zip, or "
            "the overlay of a .tif), QuPath (.geojson) or COCO (.json)."
        )
        modes = QFileDialog.FileMode
        action.triggered.connect(partial(self._choose, modes.ExistingFile))
        action = self.menu_.addAction("Masks from a folder…")
        action.setToolTip(
            "An OME-Zarr, or masks and tracks of the Cell Tracking Challenge (_RES)."
        )
        action.triggered.connect(partial(self._choose, modes.Directory))
        for one in self.menu_.actions():
            one.setEnabled(self._workspace.images.current is not None)

    def import_masks(
        self,
        array: Any,
        layer: Layer | None = None,
        kind: Kind | None = None,
        image: ProjectImage | None = None,
        details: MaskDetails | None = None,
    ) -> None:
        """Import masks into an image, after asking what to replace.

        It is the current image unless given; `kind` is the meaning of the values, if
        known, and `details` are those of cells. The `layer` of the masks is hidden, as
        it would cover the annotation.
        """
        image = image or self._workspace.images.current
        if image is None:
            return
        if not self._workspace.images.places(image.id):
            self._read(image.id, array, layer, kind, False, details)
            return
        box = QMessageBox(self)
        box.setWindowTitle("Import masks")
        box.setText(f"{image.name} is annotated already.")
        add = box.addButton(
            "Only where nothing is annotated", QMessageBox.ButtonRole.AcceptRole
        )
        replace = box.addButton(
            "Replace these slices", QMessageBox.ButtonRole.DestructiveRole
        )
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.setDefaultButton(add)

        def chosen(button: object) -> None:
            if button in (add, replace):
                self._read(image.id, array, layer, kind, button is replace, details)

        box.buttonClicked.connect(chosen)
        box.open()

    def open_file(self, path: str) -> None:
        """Import labels, or objects of another program, of the current image.

        `path` is a file, or a folder that is one image or movie.
        """
        from napari_unet.io import label_files, pixels  # slow to import

        image = self._workspace.images.current
        if image is None:
            return
        blank = np.broadcast_to(np.uint8(0), image.annotation_shape)
        like = Image(blank, image.annotation_axes, name=image.name)

        def read_file() -> tuple[Kind | None, Objects]:
            are_objects = label_files.is_objects(path)
            found = label_files.read_label_objects(path, like=like)
            return "instances" if are_objects else None, found

        def finish(read: Callable[[], tuple[Kind | None, Objects]]) -> None:
            with report_errors(self._workspace):
                try:
                    kind, objects = read()
                except pixels.SeveralImagesError as error:
                    if not error.titles:
                        raise
                    self._ask_which(path, error)
                    return
                masks = objects.labels
                if image.id not in self._workspace.store.project.ids:
                    raise ValueError(f"{image.name} was removed from the project.")
                data = masks.data
                order = [masks.axes.index(a) for a in "tzyx" if a in masks.axes]
                if order != sorted(order):
                    data = np.asarray(data[...]).transpose(order)
                for note in masks.notes:
                    self._workspace.message.emit("info", f"{masks.name}: {note}")
                kinds = {i: objects.classes[k - 1] for i, k in objects.class_of.items()}
                details = MaskDetails(kinds, objects.unknown)
                meant = "instances" if kinds else kind
                self.import_masks(data, None, meant, image, details)

        in_background(self._main_thread, read_file, finish)

    def _read(
        self,
        image_id: str,
        array: Any,
        layer: Layer | None,
        kind: Kind | None,
        replace: bool,
        details: MaskDetails | None = None,
    ) -> None:
        """Read masks, in the background where that lasts a while, and import them."""

        def finish(read: Callable[[], Imported]) -> None:
            with report_errors(self._workspace):
                try:
                    found = read()
                except AmbiguousMasksError as error:
                    again = partial(self._read, image_id, array, layer)
                    self._ask(error, again, replace)
                else:
                    self._import(image_id, found, layer, replace)

        with report_errors(self._workspace):
            large = math.prod(array.shape) >= _MANY
            read = self._workspace.annotating.importer.mask_reader(
                image_id, array, kind, _MARGIN if large else 0, details
            )
            if large:
                in_background(self._main_thread, read, finish)
            else:
                finish(read)

    def _import(
        self, image_id: str, found: Imported, layer: Layer | None, replace: bool
    ) -> None:
        importer = self._workspace.annotating.importer

        def done(count: Callable[[], int]) -> None:
            with report_errors(self._workspace):
                self._tell(image_id, found, layer, count())

        if sum(plane.size for plane in found.planes.values()) < _MANY:
            count = importer.masks(image_id, found, replace=replace)
            self._tell(image_id, found, layer, count)
        else:
            in_thread = partial(in_background, self._main_thread)
            importer.begin_masks(image_id, found, replace, in_thread, done)

    def _tell(
        self, image_id: str, found: Imported, layer: Layer | None, count: int
    ) -> None:
        """Show what was imported, and say what it was."""
        self._uncover(image_id, layer)
        slices = counted(count, "slice")
        sentence = f"Imported the masks of {slices}: {MEANINGS[found.kind]}."
        if found.empty:
            without = counted(
                found.empty, "without any value was", "without any value were"
            )
            sentence += f" {without} left out; nothing is annotated there."
        if found.unclear:
            cells = counted(found.unclear, "cell has", "cells have")
            sentence += f" {cells} no class, unlike others, and are left out."
        self._workspace.message.emit("info", sentence)

    def _uncover(self, image_id: str, layer: Layer | None) -> None:
        """Show what was imported in place of its layer, ready to be painted."""
        if layer is not None:
            set_visible(layer, False)
        set_visible(self._workspace.annotating.layers.show(image_id))
        self._workspace.images.set_current(image_id)

    def _ask(
        self,
        error: AmbiguousMasksError,
        read: Callable[[Kind, bool], None],
        replace: bool,
    ) -> None:
        """Ask what the values mean, and read them so."""
        kinds = {MEANINGS[choice]: choice for choice in error.choices}
        dialog = QInputDialog(self)
        dialog.setWindowTitle("Import masks")
        dialog.setLabelText(str(error))
        dialog.setComboBoxItems(list(kinds))
        dialog.textValueSelected.connect(lambda text: read(kinds[text], replace))
        dialog.open()

    def _ask_which(self, path: str, error: SeveralImagesError) -> None:
        """Ask which image of a file is meant, and import the masks of that."""
        names = {
            f"#{k} {printable(title)}".strip(): k
            for k, title in enumerate(error.titles, start=1)
        }
        dialog = QInputDialog(self)
        dialog.setWindowTitle("Import masks")
        dialog.setLabelText(f"{Path(path).name} has the masks of several images:")
        dialog.setComboBoxItems(list(names))
        dialog.textValueSelected.connect(
            lambda text: self.open_file(f"{path}#{names[text]}")
        )
        dialog.open()

    def _from_layer(self, layer: Layer, *_: object) -> None:
        kinds = kinds_in(layer.features)
        kind: Kind | None = "instances" if kinds else None
        self.import_masks(level_data(layer), layer, kind, details=MaskDetails(kinds))

    def _from_shapes(self, layer: Shapes, *_: object) -> None:
        with report_errors(self._workspace):
            count = self._workspace.annotating.importer.polygons(layer)
            image = self._workspace.images.current
            if image is not None:
                self._uncover(image.id, layer)
            slices = counted(count, "slice")
            self._workspace.message.emit("info", f"Took the polygons in {slices}.")

    def _choose(self, mode: QFileDialog.FileMode, *_: object) -> None:
        dialog = QFileDialog(self, "Import masks")
        dialog.setFileMode(mode)
        dialog.fileSelected.connect(self.open_file)
        dialog.open()
