"""In which format of another program a model is written, and where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from magicgui.widgets import FileEdit
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QMessageBox,
    QWidget,
)

from napari_unet.gui.widgets import Heading, Hint, allow, blocked, column, follow
from napari_unet.io.names import file_stem

if TYPE_CHECKING:
    from napari_unet.session.foreign_models import ForeignModels
    from napari_unet.session.models import ModelEntry


class ModelExportDialog(QDialog):
    """Asks for a format and a file; asks again before a file is replaced."""

    def __init__(
        self, foreign: ForeignModels, model: ModelEntry, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export model")
        self._foreign, self._model = foreign, model
        # WIDGETS
        self.format = QComboBox()
        self.format.setToolTip("The program that the model is for.")
        self.tip = Hint()
        self.file = FileEdit(mode="w", tooltip="File that the model is written to.")
        self.problem = Hint(level="error")
        kinds = QDialogButtonBox.StandardButton
        self.buttons = QDialogButtonBox(kinds.Save | kinds.Cancel)
        # LAYOUT
        column(
            self,
            Heading("For"),
            self.format,
            self.tip,
            Heading("File"),
            self.file.native,
            self.problem,
            self.buttons,
        )
        self.setMinimumWidth(380)
        # CONNECTIONS
        self.format.currentIndexChanged.connect(self._show_format)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        follow(self, foreign.changed, self._show_formats)
        foreign.ask_formats()
        self._show_formats()

    def accept(self) -> None:
        """Begin to write, unless what is there is to stay."""
        path = Path(self.file.value).expanduser()
        if not path.parent.is_dir():
            self.problem.setText(f"There is no folder {path.parent}.", "error")
            return
        if path.exists() and not self._may_replace(path):
            return
        super().accept()
        self._foreign.export(self._model.path, path, self.format.currentData())

    def _show_formats(self) -> None:
        """List the formats as soon as they are known."""
        if not self.format.count():
            with blocked(self.format):
                for one in self._foreign.formats:
                    self.format.addItem(one.title, one.name)
            self._show_format()

    def _show_format(self, *_: object) -> None:
        """Say what the format is for; offer a file of its name."""
        number = self.format.currentIndex()
        save = self.buttons.button(QDialogButtonBox.StandardButton.Save)
        if number < 0:
            self.tip.setText("Finding out which formats there are …")
            allow(save, False, self.tip.text())
            return
        chosen = self._foreign.formats[number]
        problem = chosen.problem
        self.tip.setText(problem or chosen.tip, "warning" if problem else "info")
        allow(save, not problem, problem)
        stem = file_stem(self._model.card.name, "model")
        self.file.value = self._folder() / f"{stem}{chosen.suffix}"

    def _folder(self) -> Path:
        """Return the folder that is chosen; that of people's own files at first."""
        before = Path(self.file.value)
        return before.parent if before.is_absolute() else Path.home()

    def _may_replace(self, path: Path) -> bool:
        pressed = QMessageBox.question(
            self, "Replace it?", f"{path.name} is there already, and is replaced."
        )
        return bool(pressed == QMessageBox.StandardButton.Yes)
