"""A progress bar that is drawn with the window's next picture, not at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QProgressBar, QStyle, QStyleOptionProgressBar, QStylePainter

if TYPE_CHECKING:
    from qtpy.QtGui import QPaintEvent

# Pixels of the frame on both sides of the text.
_ROOM = 6


class ProgressBar(QProgressBar):
    """Shows how much is done.

    Qt's own bar repaints whenever its value is set. In a window with an OpenGL canvas
    that composes the whole window: 60 ms without a graphics card, at each tile.
    """

    def __init__(self) -> None:
        super().__init__()
        self._done = 0

    def setValue(self, value: int) -> None:
        """Show a value soon."""
        if value != self._done:
            self._done = value
            self.update()

    def value(self) -> int:
        """Return the value that is shown, or will be soon."""
        return self._done

    def text(self) -> str:
        """Return what is written on it."""
        share = 100 * self._done // max(self.maximum(), 1)
        return str(self.format()).replace("%p", str(share))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the bar as the theme does."""
        option = QStyleOptionProgressBar()
        self.initStyleOption(option)
        option.progress = self._done
        # else both ends of a long text would be cut
        option.text = self.fontMetrics().elidedText(
            self.text(), Qt.TextElideMode.ElideRight, self.width() - _ROOM
        )
        painter = QStylePainter(self)
        painter.drawControl(QStyle.ControlElement.CE_ProgressBar, option)
