"""How large the pixels of an image are, where its file does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QDialog, QFormLayout, QVBoxLayout, QWidget

from napari_unet.gui.annotate.report_errors import report_errors
from napari_unet.gui.dialogs import dialog_buttons
from napari_unet.gui.number_box import FloatBox
from napari_unet.gui.widgets import Hint, check_box
from napari_unet.session.images.pixel_size import set_pixel_size

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
        known = image.spacing_um or (0.0, 0.0)
        # most pixels are square: there is one field then
        self._square = known[-2] == known[-1]
        # WIDGETS
        sides = "Width and height" if self._square else "Width"
        self.pixel = _box(known[-1], f"{sides} of a pixel.")
        self.height_ = _box(known[-2], "Height of a pixel.")
        self.slice = _box(
            known[0] if len(known) == 3 else 0.0, "Distance from slice to slice."
        )
        self.bar = check_box(
            "Show a scale bar",
            "In the canvas of napari; in micrometres if the pixel size is known.",
            workspace.scale_bar.shown,
        )
        self.problem = Hint(level="error")
        # LAYOUT
        form = QFormLayout()
        form.addRow(f"Pixel {'size' if self._square else 'width'} (µm)", self.pixel)
        form.addRow("Pixel height (µm)", self.height_)
        form.addRow("Slice distance (µm)", self.slice)
        form.setRowVisible(self.height_, not self._square)
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
        layout.addWidget(self.problem)
        layout.addWidget(dialog_buttons(self, "Ok", "Cancel"))
        # CONNECTIONS
        self.finished.connect(self.deleteLater)
        # as the boxes have it: they round
        self._before = self._size()

    def accept(self) -> None:
        """Use what was given, unless a part of it would be lost."""
        for box in (self.pixel, self.height_, self.slice):
            # also what is still being typed, where buttons take no focus
            box.interpretText()
        workspace, size = self._workspace, self._size()
        rest = (self.slice.value(), 0 if self._square else self.height_.value())
        if not size and (self.pixel.value() or any(rest)):
            self.problem.setText(
                "Give the size of a pixel as well, or 0 everywhere.", "error"
            )
            return
        with report_errors(workspace):
            if size != self._before:
                set_pixel_size(workspace.store, self._image.id, size or None)
            workspace.scale_bar.set_shown(self.bar.isChecked())
        super().accept()

    def _size(self) -> tuple[float, ...]:
        """Return the size along [z,] y, x; empty if it is not known."""
        width, distance = self.pixel.value(), self.slice.value()
        height = width if self._square else self.height_.value()
        if not (width and height):
            return ()
        return (*((distance,) if distance else ()), height, width)


def _box(value: float, tooltip: str) -> FloatBox:
    box = FloatBox(0.0, None)
    box.setSpecialValueText(_UNKNOWN)
    box.setToolTip(f"{tooltip} 0 where it is not known.")
    box.setValue(value)
    return box
