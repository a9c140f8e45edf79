"""Which model predicts: a list, a button for files, and what is known of the model."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_unet.gui.model_card_dialog import ModelCardDialog
from napari_unet.gui.widgets import (
    Elided,
    Hint,
    Placeholder,
    blocked,
    button,
    column,
    combo_box,
    follow,
    row,
)
from napari_unet.io.model_file import SUFFIX
from napari_unet.io.pretrained import picture_of
from napari_unet.session.foreign_models import PATTERNS, is_foreign
from napari_unet.session.models import describe, purpose_of

if TYPE_CHECKING:
    from qtpy.QtCore import QMimeData

    from napari_unet.session.foreign_models import ForeignModels
    from napari_unet.session.models import ModelEntry, ModelList
    from napari_unet.session.prediction.starter_choice import StarterChoice

_AUTOMATIC = (
    "The models of the package are tried on a part of the image; that which is "
    "surest of its cells is taken."
)
_WAIT = "Predict tries which model suits the image, and says why."
# of what a model of the package is for, in pixels
_PICTURE = QSize(24, 24)
_FILES = f"Models (*{SUFFIX} {' '.join(PATTERNS)});;All files (*)"


class ModelChooser(QWidget):
    """Shows and changes the chosen model of a list."""

    problem = Signal(str)
    """Why a file cannot be used, in a sentence."""

    def __init__(
        self, models: ModelList, foreign: ForeignModels, starters: StarterChoice
    ) -> None:
        super().__init__()
        self._models, self._foreign, self._starters = models, foreign, starters
        # WIDGETS
        self.empty = Placeholder(
            "Train a model first, or drop a model file here, also of Fiji's U-Net and "
            "other programs.",
            "Open a model file…",
        )
        self.combo = combo_box("The model that predicts.")
        self.combo.setIconSize(_PICTURE)
        self.open = button(
            "Open…", "Choose a model file from anywhere, also of another program."
        )
        self.status = Hint()
        self.card = button("Card…", "What the model is, how it was made and judged.")
        self.details = Elided()
        self.purpose = Hint()
        self.doubt = Hint(level="warning")
        # LAYOUT
        self._chosen = QWidget()
        chosen = row(self.combo, self.open, stretch=0)
        what = row(self.details, self.card, stretch=0)
        column(self._chosen, chosen, self.purpose, self.doubt, what, inner=True)
        column(self, self.empty, self._chosen, self.status, inner=True)
        # CONNECTIONS
        # emitted only when the user chooses, not when the list is filled
        self.combo.activated.connect(self._on_activated)
        self.open.clicked.connect(self._on_open)
        self.card.clicked.connect(self._on_card)
        self.empty.pressed.connect(self._on_open)
        follow(self, foreign.changed, self._show)
        follow(self, models.changed, self._show)
        follow(self, models.selected_changed, self._show)
        follow(self, starters.changed, self._show)
        self._show()

    def open_file(self, path: Path) -> None:
        """Add a model file and choose it; `problem` says what is wrong with it.

        A model of another program is first converted by the worker.
        """
        if not path.name.endswith(SUFFIX):
            self._foreign.take(path)
            return
        try:
            self._models.add(path)
            self._models.select(path)
        except ValueError as error:
            self.problem.emit(str(error))

    def _on_activated(self, index: int) -> None:
        path = self.combo.itemData(index)
        if path is None:
            self._models.select_automatic()
            return
        try:
            self._models.select(path)
        except ValueError as error:
            self.problem.emit(str(error))

    def _on_open(self) -> None:
        selected = self._models.selected
        start = str(selected.parent) if selected else ""
        path, _ = QFileDialog.getOpenFileName(self, "Open a model", start, _FILES)
        if path:
            self.open_file(Path(path))

    def _on_card(self) -> None:
        entry = self._models.entry
        if entry is not None:
            ModelCardDialog(entry.path, entry.card, self).open()

    def _show(self) -> None:
        self.status.setText(self._foreign.status if self._foreign.running else "")
        entries, entry = self._models.entries, self._models.entry
        self.empty.setVisible(not entries)
        self._chosen.setVisible(bool(entries))
        self._fill()
        self.card.setVisible(entry is not None)
        self.doubt.setText(self._starters.doubt(), "warning")
        if entry is None:
            automatic = self._models.automatic
            self.combo.setToolTip("The model that predicts.")
            # also while it is tried: what is below would move under the mouse
            self.purpose.setText(_WAIT if automatic else "")
            self.details.setText("" if automatic else "Choose a model.")
            self.details.setVisible(not automatic)
        else:
            choice, purpose = self._starters.chosen(), f"For {purpose_of(entry)}."
            if choice is not None:
                best = (
                    "The best of the package"
                    if self.doubt.text()
                    else "Suits this image best"
                )
                purpose = f"{best}: {choice.short_reason}."
            self.purpose.setText(purpose)
            self.purpose.setToolTip("" if choice is None else choice.reason)
            self.details.setVisible(True)
            self._describe(entry)

    def _fill(self) -> None:
        """List the models, with the one on top that is chosen by the image."""
        entries, entry = self._models.entries, self._models.entry
        automatic, tip = self._models.automatic, Qt.ItemDataRole.ToolTipRole
        with blocked(self.combo):
            self.combo.clear()
            if self._models.starters:
                name = f": {entry.card.name}" if automatic and entry else ""
                self.combo.addItem(f"Automatic{name}", None)
                self.combo.setItemData(0, _AUTOMATIC, tip)
            for one in entries:
                self.combo.addItem(one.card.name, str(one.path))
                if picture := picture_of(one.path):
                    icon = QIcon(str(picture))
                    self.combo.setItemIcon(self.combo.count() - 1, icon)
                self.combo.setItemData(
                    self.combo.count() - 1, f"For {purpose_of(one)}.\n{one.path}", tip
                )
            first = self.combo.count() - len(entries)
            number = first + entries.index(entry) if entry in entries else -1
            self.combo.setCurrentIndex(0 if automatic else number)

    def _describe(self, entry: ModelEntry) -> None:
        rows = dict(describe(entry.card))
        rows["Written"] = f"{datetime.fromtimestamp(entry.written):%Y-%m-%d %H:%M}"
        lines = "\n".join(f"{word}: {text}" for word, text in rows.items())
        self.combo.setToolTip(f"The model that predicts.\n{entry.path}\n{lines}")
        line = [rows["Finds"], rows["Network"], rows.get("Pixel size", "")]
        if "Held-out IoU" in rows:
            line.append(f"overlap {rows['Held-out IoU']}")
        self.details.setText(" · ".join(part for part in line if part), lines)


def model_in(data: QMimeData | None) -> Path | None:
    """Return the model that is being dropped, if one is; also of another program."""
    if data is None:
        return None
    files = [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
    ours = (f for f in files if f.name.endswith(SUFFIX) or is_foreign(f))
    return next(ours, None)
