"""Which folder of images is predicted, into which, and what is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from magicgui.widgets import FileEdit
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QWidget

from napari_unet.gui.predict.format_boxes import FormatBoxes
from napari_unet.gui.widgets import Heading, Hint, check_box, column

if TYPE_CHECKING:
    from collections.abc import Callable

# What is written of each image, as `napari-unet predict --save` names it.
_KINDS = {
    "probabilities": ("Probabilities", "What the network says of each pixel."),
    "classes": ("Classes", "A label image with one number for each class."),
    "instances": ("Cells", "A label image with one number for each cell."),
    "table": (
        "Table of measurements",
        "Size, position, shape and grey values of each cell, as .csv.",
    ),
}
_OF_CELLS = ("instances", "table")
_RESULTS = "results"


class FolderDialog(QDialog):
    """Asks for two folders, and for what is written into one of them.

    `begin` is called with both and the kinds of result; `source` is offered, and a
    folder in it for the results. Without `cells` the model finds none.
    """

    def __init__(
        self,
        begin: Callable[[Path, Path, tuple[str, ...]], None],
        source: Path,
        *,
        cells: bool,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Predict a folder of images")
        self._begin, self._offered = begin, source / _RESULTS
        # WIDGETS
        self.source = FileEdit(
            mode="d", value=source, tooltip="Folder whose images are predicted."
        )
        self.target = FileEdit(
            mode="d",
            value=self._offered,
            tooltip="Folder for the results, with a folder in it for each kind.",
        )
        self.kinds = {
            kind: check_box(title, tip, checked=kind != "table")
            for kind, (title, tip) in _KINDS.items()
        }
        self.objects = FormatBoxes()
        self.problem = Hint(level="error")
        buttons = QDialogButtonBox.StandardButton
        self.buttons = QDialogButtonBox(buttons.Ok | buttons.Cancel)
        self.buttons.button(buttons.Ok).setText("Predict")
        # LAYOUT
        column(
            self,
            Heading("Images in"),
            self.source.native,
            Heading("Results into"),
            self.target.native,
            Heading("Write"),
            *self.kinds.values(),
            self.objects,
            self.problem,
            self.buttons,
        )
        self.setMinimumWidth(360)
        for kind in _OF_CELLS:
            self.kinds[kind].setVisible(cells)
        self.objects.setVisible(cells)
        # CONNECTIONS
        self.source.changed.connect(self._offer)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)

    def _offer(self, source: Path) -> None:
        """Follow another folder of images, unless that of the results was chosen."""
        if Path(self.target.value) == self._offered:
            self._offered = Path(source) / _RESULTS
            self.target.value = self._offered

    def accept(self) -> None:
        """Begin, unless a folder is missing or nothing is to be written."""
        source, target = (
            Path(edit.value).expanduser() for edit in (self.source, self.target)
        )
        kinds = [
            kind
            for kind, box in self.kinds.items()
            if box.isChecked() and not box.isHidden()
        ]
        wanted = (*kinds, *self.objects.ticked())
        if not source.is_dir():
            self.problem.setText(f"There is no folder {source}.", "error")
        elif not self.target.line_edit.value.strip():
            self.problem.setText("Choose a folder for the results.", "error")
        elif not wanted:
            self.problem.setText("Choose what is to be written.", "error")
        else:
            self._begin(source, target, wanted)
            super().accept()
