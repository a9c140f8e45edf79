"""A list as high as its items, up to five."""

from __future__ import annotations

from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_unet.gui.widgets import leave_letters

_ROWS, _EMPTY_HEIGHT = 5, 18


class ItemList(QListWidget):
    """A list that reuses its items."""

    def __init__(self) -> None:
        super().__init__()
        leave_letters(self)

    def resize_to(self, count: int) -> list[QListWidgetItem]:
        """Set the number of items, and return them."""
        # a list that is refilled loses its selection and scroll position
        while self.count() > count:
            self.takeItem(self.count() - 1)
        while self.count() < count:
            self.addItem(QListWidgetItem())
        return [self.item(number) for number in range(count)]

    def fit_height(self) -> None:
        """Set the height to that of the items, once they have their texts."""
        height = self.sizeHintForRow(0) if self.count() else _EMPTY_HEIGHT
        rows = min(max(self.count(), 1), _ROWS)
        self.setFixedHeight(rows * height + 2 * self.frameWidth() + 2)
