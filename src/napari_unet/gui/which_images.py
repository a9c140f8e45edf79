"""Which of the images in a file are opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QDialog,
    QListWidget,
    QMainWindow,
    QWidget,
)

from napari_unet.core.text import counted, printable
from napari_unet.gui.dialogs import dialog_buttons
from napari_unet.gui.widgets import Hint, column
from napari_unet.io.pixels import SeveralImagesError
from napari_unet.session.annotating.shortcuts import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Read = TypeVar("Read")


class WhichImages(QDialog):
    """Asks which images of a file are meant, by their titles; at first the first."""

    def __init__(self, file: str, titles: Sequence[str]) -> None:
        # no window is active while a file is dropped; napari's gives its style
        windows = filter(QWidget.isVisible, QApplication.topLevelWidgets())
        super().__init__(next((w for w in windows if isinstance(w, QMainWindow)), None))
        self.setWindowTitle("Open images")
        self.images = QListWidget()
        self.images.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.images.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        for number, title in enumerate(titles, start=1):
            self.images.addItem(f"#{number} {printable(title)}".strip())
        self.images.setCurrentRow(0)
        self.buttons = dialog_buttons(self, "Open", "Cancel")
        said = f"{printable(file)} holds {counted(len(titles), 'image')}."
        hint = f"{said} Select one or several ({readable('Control')} or Shift)."
        column(self, Hint(hint), self.images, self.buttons)
        self.setMinimumWidth(360)
        self.images.itemDoubleClicked.connect(self.accept)

    def numbers(self) -> list[int]:
        """Return the numbers of the images that are selected, from 1."""
        return sorted(at.row() + 1 for at in self.images.selectedIndexes())


def each_chosen(path: Path, read: Callable[[str], Read]) -> list[Read]:
    """Read a file, or those of its images that a person selects; none if none.

    Without a window, that there are several is an error.
    """
    try:
        return [read(str(path))]
    except SeveralImagesError as error:
        from napari import current_viewer

        if current_viewer() is None or not error.titles:
            raise
        numbers = which_images(path.name, error.titles)
    return [read(f"{path}#{number}") for number in numbers]


def which_images(file: str, titles: Sequence[str]) -> list[int]:
    """Return the numbers, from 1, of the images that a person selects; none if none."""
    dialog = WhichImages(file, titles)
    return dialog.numbers() if dialog.exec() else []
