"""What the docks are for and what the words mean, to be read beside them."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from qtpy.QtGui import QTextCursor
from qtpy.QtWidgets import QDialog, QTextBrowser, QVBoxLayout

from napari_unet.gui.dialogs import dialog_buttons

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

_WIDTH, _HEIGHT = 520, 560


class HelpDialog(QDialog):
    """Shows the help, from the section with this heading on."""

    def __init__(self, section: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Help of U-Net")
        self.text = QTextBrowser()
        self.text.setOpenExternalLinks(True)
        self.text.setAccessibleName("Help")
        self.text.setMarkdown(help_text())
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(dialog_buttons(self, "Close"))
        self.resize(_WIDTH, _HEIGHT)
        self.finished.connect(self.deleteLater)
        self._section = section

    def showEvent(self, event: object) -> None:
        """Begin at the section: only what is laid out can be scrolled."""
        super().showEvent(event)
        self.go_to(self._section)

    def go_to(self, section: str) -> None:
        """Put the heading of a section at the top."""
        document = self.text.document()
        block = document.begin()
        while block.isValid():
            if block.blockFormat().headingLevel() and block.text() == section:
                break
            block = block.next()
        bar = self.text.verticalScrollBar()
        if block.isValid() and bar is not None:
            self.text.setTextCursor(QTextCursor(block))
            place = document.documentLayout().blockBoundingRect(block)
            bar.setValue(int(place.top()))


def help_text() -> str:
    """Return the help of all docks, as Markdown."""
    return files("napari_unet").joinpath("help.md").read_text("utf-8")
