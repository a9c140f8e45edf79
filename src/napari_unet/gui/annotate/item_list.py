"""A list that is as high as its items, as far as five of them."""

from __future__ import annotations

from qtpy.QtWidgets import QListWidget, QListWidgetItem

_ROWS, _LEAST_HEIGHT = 5, 18


class ItemList(QListWidget):
    """A list whose items stay the same objects where they can."""

    def resize_to(self, count: int) -> list[QListWidgetItem]:
        """Return the items, of which there are so many from now on."""
        # a list that is filled anew loses what is marked in it, and where it stood
        while self.count() > count:
            self.takeItem(self.count() - 1)
        while self.count() < count:
            self.addItem(QListWidgetItem())
        return [self.item(number) for number in range(count)]

    def fit_height(self) -> None:
        """Be as high as the items, once they have their texts."""
        height = max(self.sizeHintForRow(0), _LEAST_HEIGHT)
        rows = min(max(self.count(), 1), _ROWS)
        self.setFixedHeight(rows * height + 2 * self.frameWidth() + 2)
