"""Which model predicts: a list, a button for files, and what is known of the model."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_unet.gui.layouts import row
from napari_unet.gui.widgets import (
    SPACING,
    Elided,
    Empty,
    blocked,
    follow,
    guard_wheel,
)
from napari_unet.io.model_file import SUFFIX
from napari_unet.session.prediction.models import describe

if TYPE_CHECKING:
    from qtpy.QtCore import QMimeData

    from napari_unet.session.prediction.models import ModelList

_FILES = f"Models (*{SUFFIX})"


class ModelChooser(QWidget):
    """Shows and changes the chosen model of a list.

    Parameters
    ----------
    models : ModelList
    """

    problem = Signal(str)
    """Why a file cannot be used, in a sentence."""

    def __init__(self, models: ModelList, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._models = models
        # WIDGETS
        self.empty = Empty(
            "Train a model first, or drop a model file (.safetensors) here.",
            "Open a model file…",
        )
        self.combo = QComboBox()
        self.combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.combo.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.combo.setMinimumContentsLength(8)
        guard_wheel(self.combo)
        self.open = QPushButton("Open…")
        self.open.setToolTip("Choose a model file (.safetensors) from anywhere.")
        self.details = Elided()
        # LAYOUT
        self._chosen = QWidget()
        inner = QVBoxLayout(self._chosen)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(SPACING)
        inner.addLayout(row(self.combo, self.open, stretch=0))
        inner.addWidget(self.details)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.empty)
        layout.addWidget(self._chosen)
        # CONNECTIONS
        self.combo.activated.connect(self._on_activated)
        self.open.clicked.connect(self._on_open)
        self.empty.pressed.connect(self._on_open)
        follow(self, models.changed, self._show)
        follow(self, models.selected_changed, self._show)
        self._show()

    def take(self, path: Path) -> None:
        """Add a model file and choose it; a bad one is told by `problem`."""
        try:
            self._models.add(path)
            self._models.select(path)
        except ValueError as error:
            self.problem.emit(str(error))

    def _on_activated(self, index: int) -> None:
        path = Path(self.combo.itemData(index))
        try:
            self._models.select(path)
        except ValueError as error:
            self.problem.emit(str(error))

    def _on_open(self) -> None:
        selected = self._models.selected
        start = str(selected.parent) if selected else ""
        path, _ = QFileDialog.getOpenFileName(self, "Open a model", start, _FILES)
        if path:
            self.take(Path(path))

    def _show(self) -> None:
        entries = self._models.entries
        self.empty.setVisible(not entries)
        self._chosen.setVisible(bool(entries))
        with blocked(self.combo):
            self.combo.clear()
            for number, entry in enumerate(entries):
                self.combo.addItem(entry.card.name, str(entry.path))
                tip = Qt.ItemDataRole.ToolTipRole
                self.combo.setItemData(number, str(entry.path), tip)
            paths = [entry.path for entry in entries]
            selected = self._models.selected
            self.combo.setCurrentIndex(
                paths.index(selected) if selected in paths else -1
            )
        chosen = self._models.entry
        if chosen is None:
            self.combo.setToolTip("The model that predicts.")
            self.details.tell("Choose a model.")
            return
        rows = describe(chosen.card)
        written = datetime.fromtimestamp(chosen.written)
        rows.append(("Written", f"{written:%Y-%m-%d %H:%M}"))
        lines = "\n".join(f"{word}: {text}" for word, text in rows)
        self.combo.setToolTip(f"The model that predicts.\n{chosen.path}\n{lines}")
        shown = dict(rows)
        line = [shown["Finds"], shown["Network"], shown.get("Pixel size", "")]
        if "Held-out IoU" in shown:
            line.append(f"IoU {shown['Held-out IoU']}")
        self.details.tell(" · ".join(part for part in line if part), lines)


def model_in(data: QMimeData | None) -> Path | None:
    """Return the model file that is being dropped, if one is."""
    if data is None:
        return None
    files = [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
    return next((f for f in files if f.name.endswith(SUFFIX)), None)
