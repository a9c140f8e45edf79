"""In which format of another program a model is written, and where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from magicgui.widgets import FileEdit
from pydantic import ValidationError
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLineEdit,
    QMessageBox,
    QWidget,
)

from napari_unet.core.publication import LICENCES, Publication
from napari_unet.core.settings import explain
from napari_unet.gui.dialogs import dialog_buttons
from napari_unet.gui.widgets import (
    SPACING,
    Heading,
    Hint,
    allow,
    blocked,
    column,
    follow,
)
from napari_unet.io.names import file_stem

if TYPE_CHECKING:
    from napari_unet.core.events import WrittenFormat
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
        self.authors = _line("authors", "Ada Lovelace, Alan Turing")
        self.licence = QComboBox()
        self.licence.addItems(LICENCES)
        # nobody gives a model away by a licence that was there by chance
        self.licence.setCurrentIndex(-1)
        self.licence.setToolTip(Publication.model_fields["licence"].description or "")
        self.description = _line("description", "")
        self._publication = QWidget()
        self.file = FileEdit(mode="w", tooltip="File that the model is written to.")
        self.problem = Hint(level="error")
        self.buttons = dialog_buttons(self, "Save", "Cancel")
        # LAYOUT
        form = QFormLayout(self._publication)
        form.setContentsMargins(0, 0, 0, 0)
        form.setSpacing(SPACING)
        form.addRow("Authors", self.authors)
        form.addRow("Licence", self.licence)
        form.addRow("Description", self.description)
        column(
            self,
            Heading("For"),
            self.format,
            self.tip,
            self._publication,
            Heading("File"),
            self.file.native,
            self.problem,
            self.buttons,
        )
        self.setMinimumWidth(380)
        # CONNECTIONS
        self.format.currentIndexChanged.connect(self._show_format)
        follow(self, foreign.changed, self._show_formats)
        foreign.ask_formats()
        self._show_formats()

    def accept(self) -> None:
        """Begin to write, unless an existing file is to stay."""
        given = Path(self.file.value).expanduser()
        if given.is_dir():
            self.problem.setText(f"{given} is a folder.", "error")
            return
        if self._chosen.is_published and self.licence.currentIndex() < 0:
            self.problem.setText("Choose a licence.", "error")
            return
        path = self._named(given)
        if not path.parent.is_dir():
            self.problem.setText(f"There is no folder {path.parent}.", "error")
            return
        try:
            publication = (
                self._given_publication() if self._chosen.is_published else None
            )
        except ValidationError as error:
            self.problem.setText(explain(error), "error")
            return
        there = [file for file in self._written(path) if file.exists()]
        if there and not self._may_replace(there[0]):
            return
        super().accept()
        name = self._chosen.name
        self._foreign.export(self._model.path, path, name, publication)

    @property
    def _chosen(self) -> WrittenFormat:
        number: int = self.format.currentIndex()
        return self._foreign.formats[number]

    def _named(self, path: Path) -> Path:
        """Return a file with the end that its format has."""
        ends = self._chosen.suffixes
        if path.name.lower().endswith(ends):
            return path
        return path.with_name(path.name + ends[0])

    def _written(self, path: Path) -> list[Path]:
        """Return all files that are written; some formats have two."""
        ends = self._chosen.suffixes
        own = next(end for end in ends if path.name.lower().endswith(end))
        stem = path.name[: -len(own)]
        return [path.with_name(stem + end) for end in ends]

    def _given_publication(self) -> Publication:
        """Return what was filled in; ValidationError if it is not valid."""
        names = [name.strip() for name in self.authors.text().split(",")]
        return Publication(
            authors=tuple(filter(None, names)),
            licence=self.licence.currentText(),
            description=self.description.text().strip(),
        )

    def _show_formats(self) -> None:
        """List the formats as soon as they are known."""
        if not self.format.count():
            with blocked(self.format):
                for one in self._foreign.formats:
                    self.format.addItem(one.title, one.name)
            self._show_format()

    def _show_format(self, *_: object) -> None:
        """Say what the format is for; offer a file of its name."""
        save = self.buttons.button(QDialogButtonBox.StandardButton.Save)
        known = self.format.currentIndex() >= 0
        self._publication.setVisible(known and self._chosen.is_published)
        if not known:
            self.tip.setText("Finding out which formats there are …")
            allow(save, False, self.tip.text())
            return
        chosen = self._chosen
        problem = chosen.problem
        self.tip.setText(problem or chosen.tip, "warning" if problem else "info")
        self.problem.setText("")
        allow(save, not problem, problem)
        stem = file_stem(self._model.card.name, "model")
        self.file.value = self._folder() / f"{stem}{chosen.suffixes[0]}"

    def _folder(self) -> Path:
        """Return the chosen folder; at first the home folder."""
        before = Path(self.file.value)
        return before.parent if before.is_absolute() else Path.home()

    def _may_replace(self, path: Path) -> bool:
        pressed = QMessageBox.question(
            self, "Replace it?", f"{path.name} is there already, and is replaced."
        )
        return bool(pressed == QMessageBox.StandardButton.Yes)


def _line(field: str, example: str) -> QLineEdit:
    """Return a line for a field of a publication."""
    line = QLineEdit()
    line.setToolTip(Publication.model_fields[field].description or "")
    line.setPlaceholderText(example)
    return line
