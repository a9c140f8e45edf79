"""What of the results is written, where, and in which format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from magicgui.widgets import FileEdit
from qtpy.QtWidgets import QDialog, QMessageBox, QWidget

from napari_unet.core.text import listed
from napari_unet.gui.dialogs import dialog_buttons
from napari_unet.gui.predict.format_boxes import POINTS_TIP, TABLE_TIP, FormatBoxes
from napari_unet.gui.widgets import (
    Heading,
    Hint,
    check_box,
    choice_box,
    column,
)

if TYPE_CHECKING:
    from napari_unet.session.prediction.export import Exporter

_FORMATS = {
    "tif": ("TIFF (Fiji, ImageJ)", "Label images that Fiji opens as they are."),
    "ome.tif": ("OME-TIFF", "With the pixel size in its own metadata."),
    "zarr": ("OME-Zarr", "A folder for each; for images larger than memory."),
}
_MASKS = {
    "cells": "Cells: a label image with one number for each cell.",
    "regions": "Regions: a label image with one number for each class.",
}


class ExportDialog(QDialog):
    """Asks what to export; asks again before files are overwritten.

    `image_ids` are images that have results, the one in view first; `folder` is
    offered.
    """

    def __init__(
        self,
        exporter: Exporter,
        image_ids: tuple[str, ...],
        folder: Path,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export")
        self._exporter, self._image_ids = exporter, image_ids
        # WIDGETS
        self.folder = FileEdit(
            mode="d", value=folder, tooltip="Folder that the files are written to."
        )
        self.masks = check_box("Masks", checked=True)
        self.table = check_box("Table of measurements", TABLE_TIP, checked=True)
        self.points = check_box("Points", POINTS_TIP)
        self.probabilities = check_box(
            "Probabilities", "What the network says of each pixel, large files."
        )
        self.objects = FormatBoxes()
        self.all_images = check_box(
            f"All {len(image_ids)} predicted images", "Else only the image in view."
        )
        self.all_images.setVisible(len(image_ids) > 1)
        self.format = choice_box(_FORMATS)
        self.format.setAccessibleName("Format of the files")
        self.problem = Hint(level="error")
        self.buttons = dialog_buttons(self, "Save", "Cancel")
        # LAYOUT
        column(
            self,
            Heading("Write"),
            self.masks,
            self.table,
            self.points,
            self.probabilities,
            self.all_images,
            Heading("As"),
            self.format,
            self.objects,
            Heading("Into"),
            self.folder.native,
            self.problem,
            self.buttons,
        )
        self.setMinimumWidth(360)
        # CONNECTIONS
        self.all_images.toggled.connect(self._show_kinds)
        self._show_kinds()

    def accept(self) -> None:
        """Begin to write, unless existing files are to stay."""
        folder = Path(self.folder.value).expanduser()
        if not folder.is_dir():
            self.problem.setText(f"There is no folder {folder}.", "error")
            return
        ids = self._chosen()
        existing = self._exporter.existing_files(folder, ids)
        if existing and not self._may_overwrite(existing):
            return
        try:
            self._exporter.export(
                folder,
                ids,
                masks=self.masks.isChecked(),
                table=self.table.isChecked() and not self.table.isHidden(),
                points=self.points.isChecked() and not self.points.isHidden(),
                probabilities=self.probabilities.isChecked(),
                format=self.format.currentData(),
                objects=self.objects.ticked(),
            )
        except ValueError as error:
            self.problem.setText(str(error), "error")
            return
        super().accept()

    def _chosen(self) -> tuple[str, ...]:
        return self._image_ids if self.all_images.isChecked() else self._image_ids[:1]

    def _show_kinds(self) -> None:
        """Say what the masks are of; without cells there is no table."""
        kinds = self._exporter.kinds(self._chosen())
        self.masks.setToolTip("\n".join(_MASKS[kind] for kind in sorted(kinds)))
        self.masks.setText("Masks of classes" if kinds == {"regions"} else "Masks")
        # only cells are measured
        self.table.setVisible(kinds != {"regions"})
        self.points.setVisible(kinds != {"regions"})
        self.objects.setVisible(kinds != {"regions"})

    def _may_overwrite(self, paths: list[Path]) -> bool:
        names = listed([path.name for path in paths], 4)
        pressed = QMessageBox.question(
            self,
            "Replace files?",
            f"The folder has files of these images already: {names}. "
            "Those with the same name are replaced.",
        )
        return bool(pressed == QMessageBox.StandardButton.Yes)
