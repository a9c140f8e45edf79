"""The letter of each axis of an image, chosen from lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QLabel, QWidget

from napari_unet.gui.widgets import blocked, column, guard_wheel, row

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMES = {
    "t": "time points",
    "c": "channels",
    "z": "z-slices",
    "y": "rows (y)",
    "x": "columns (x)",
}


class AxesBoxes(QWidget):
    """A list for each axis, beside its length; the text is a letter for each."""

    textChanged = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.boxes: list[QComboBox] = []
        self._rows: list[QWidget] = []
        self._text = ""
        self._line = column(self, inner=True)

    def set_shape(self, shape: Sequence[int]) -> None:
        """Show a list for each axis of this length."""
        for old in self._rows:
            self._line.removeWidget(old)
            old.deleteLater()
        self.boxes, self._rows = [], []
        lengths = [QLabel(f"{length} ×") for length in shape]
        # the lists begin below each other
        widest = max((one.sizeHint().width() for one in lengths), default=0)
        for number, length in enumerate(shape, start=1):
            box = QComboBox()
            for letter, name in _NAMES.items():
                box.addItem(name, letter)
            box.setToolTip(f"What the {length} planes or pixels of axis {number} are.")
            box.setAccessibleName(f"Axis {number}")
            guard_wheel(box)
            box.currentIndexChanged.connect(self._on_chosen)
            label = lengths[number - 1]
            label.setMinimumWidth(widest)
            label.setAlignment(
                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            )
            one = QWidget()
            one.setLayout(row(label, box, stretch=1))
            self.boxes.append(box)
            self._rows.append(one)
            self._line.addWidget(one)
        self.setText(self._text)

    def text(self) -> str:
        """Return the letters, in the order of the axes."""
        return self._text

    def setText(self, text: str) -> None:
        """Show other letters, as far as there are lists for them."""
        with blocked(*self.boxes):
            for box, letter in zip(
                self.boxes, text.ljust(len(self.boxes)), strict=False
            ):
                box.setCurrentIndex(box.findData(letter))
        changed, self._text = text != self._text, text
        if changed:
            self.textChanged.emit(text)

    def _on_chosen(self) -> None:
        self._text = "".join(box.currentData() or "" for box in self.boxes)
        self.textChanged.emit(self._text)
