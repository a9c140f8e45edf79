"""How large the pixels of an image are, where its file does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QDialog, QFormLayout, QVBoxLayout, QWidget

from napari_unet.gui.annotate.report_errors import report_errors
from napari_unet.gui.dialogs import dialog_buttons
from napari_unet.gui.number_box import FloatBox
from napari_unet.gui.widgets import Hint, check_box
from napari_unet.session.images.pixel_size import (
    is_scale_bar_shown,
    set_pixel_size,
    show_scale_bar,
)

if TYPE_CHECKING:
    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.workspace import Workspace

_UNKNOWN = "unknown"


class PixelSizeDialog(QDialog):
    """Asks for the pixel size of an image, and whether to show a scale bar."""

    def __init__(
        self, workspace: Workspace, image: ProjectImage, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Pixel size of {image.name}")
        self._workspace, self._image = workspace, image
        known = image.spacing_um or ()
        # WIDGETS
        self.pixel = _box(known[-1] if known else 0.0, "Width and height of a pixel.")
        self.slice = _box(
            known[0] if len(known) == 3 else 0.0, "Distance from slice to slice."
        )
        self.bar = check_box(
            "Show a scale bar",
            "In the canvas of napari, in micrometres.",
            is_scale_bar_shown(workspace.viewer),
        )
        # LAYOUT
        form = QFormLayout()
        form.addRow("Pixel size (µm)", self.pixel)
        form.addRow("Slice distance (µm)", self.slice)
        form.setRowVisible(self.slice, "z" in image.axes)
        layout = QVBoxLayout(self)
        layout.addWidget(
            Hint(
                "With it sizes are measured in micrometres, and models of other pixel "
                "sizes see the image at theirs."
            )
        )
        layout.addLayout(form)
        layout.addWidget(self.bar)
        layout.addWidget(dialog_buttons(self, "Ok", "Cancel"))
        # CONNECTIONS
        self.finished.connect(self.deleteLater)

    def accept(self) -> None:
        """Use what was given."""
        workspace, id_ = self._workspace, self._image.id
        pixel, distance = self.pixel.value(), self.slice.value()
        size = (*((distance,) if distance else ()), pixel, pixel) if pixel else ()
        with report_errors(workspace):
            if size != (self._image.spacing_um or ()):
                set_pixel_size(workspace.store, id_, size or None)
            image = workspace.store.project.image(id_)
            shown = self.bar.isChecked()
            show_scale_bar(workspace.viewer, workspace.images, image, shown)
        super().accept()


def _box(value: float, tooltip: str) -> FloatBox:
    box = FloatBox(0.0, None)
    box.setSpecialValueText(_UNKNOWN)
    box.setToolTip(f"{tooltip} 0 where it is not known.")
    box.setValue(value)
    return box
