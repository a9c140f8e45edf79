"""What a model is: what it finds, what it was made from, how it was judged."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QApplication,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from napari_unet.core.model import Score
from napari_unet.core.text import counted
from napari_unet.gui.dialogs import dialog_buttons
from napari_unet.gui.main_thread import MainThread, in_background
from napari_unet.gui.pictures import Picture
from napari_unet.gui.plot import LossPlot
from napari_unet.gui.widgets import Heading, Hint, button, row
from napari_unet.session.models import describe
from napari_unet.session.training.runs import methods_of
from napari_unet.session.training.thumbnails import thumbnails_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_unet.core.model import ModelCard
    from napari_unet.session.training.thumbnails import Thumbnail

_WIDTH, _PICTURE = 460, 104


class ModelCardDialog(QDialog):
    """Shows the card of a model, its curve, and the paragraph for a paper."""

    def __init__(
        self, path: Path, card: ModelCard, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(card.name)
        # WIDGETS
        self.rows = {word: Hint(text) for word, text in described(card)}
        self.plot = curve_of(card)
        self.pictures = QWidget()
        self.methods = QPlainTextEdit(methods_of(path, card))
        self.methods.setReadOnly(True)
        self.methods.setMinimumHeight(110)
        self.copy = button("Copy", "Copy the paragraph to the clipboard.")
        buttons = dialog_buttons(self, "Close")
        buttons.addButton(self.copy, QDialogButtonBox.ButtonRole.ActionRole)
        # LAYOUT
        layout, form = QVBoxLayout(self), QFormLayout()
        for word, hint in self.rows.items():
            form.addRow(word, hint)
        layout.addLayout(form)
        self._row = row()
        self._row.addStretch(1)
        self.pictures.setLayout(self._row)
        self.pictures.hide()
        layout.addWidget(self.pictures)
        if card.history:
            layout.addWidget(Heading("How it learnt"))
            layout.addWidget(self.plot)
        layout.addWidget(Heading("For the methods of a paper"))
        layout.addWidget(self.methods, 1)
        layout.addWidget(buttons)
        self.resize(_WIDTH, self.sizeHint().height())
        # CONNECTIONS
        self.copy.clicked.connect(self._on_copy)
        self.finished.connect(self.deleteLater)
        # the images may be anywhere, and large
        thread, read = MainThread(self), partial(thumbnails_of, path, card)
        in_background(thread, read, self._show_pictures)

    def _show_pictures(self, found: Callable[[], list[Thumbnail]]) -> None:
        for number, thumbnail in enumerate(found()):
            picture = Picture(_PICTURE)
            picture.show_pixels(thumbnail.grey, thumbnail.labels)
            picture.setAccessibleName(f"Learnt from: {thumbnail.name}")
            picture.setToolTip(f"{thumbnail.name}, with what was annotated.")
            self._row.insertWidget(number, picture)
            self.pictures.show()

    def _on_copy(self) -> None:
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(self.methods.toPlainText())


def described(card: ModelCard) -> list[tuple[str, str]]:
    """Return the rows of `describe`, and what only a card of its own has room for."""
    rows = dict(describe(card))
    if card.images:
        pixels = sum(image.annotated for image in card.images)
        rows["Annotated"] = counted(pixels, "pixel")
    if card.score is not None:
        held_out = counted(card.score.pixels, "held-out pixel")
        rows.pop("Held-out IoU", None)
        rows["Judged"] = f"{card.score.words} on {held_out}"
    if card.members > 1:
        rows["Networks"] = f"the mean of {card.members}"
    if card.versions:
        rows["Made with"] = ", ".join(card.versions)
    if card.learnt_share < 1:
        rows["Kept"] = card.share_in_words
    if card.notes:
        rows["Assumed"] = " ".join(card.notes)
    return list(rows.items())


def curve_of(card: ModelCard) -> LossPlot:
    """Return the learning curve of a model."""
    plot = LossPlot()
    plot.set_data(
        [(row.step, row.seconds, row.loss) for row in card.history],
        [
            (row.step, row.score.iou, row.score.loss)
            for row in card.history
            if isinstance(row.score, Score)
        ],
    )
    return plot
