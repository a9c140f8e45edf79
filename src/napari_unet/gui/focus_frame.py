"""Use by keyboard: a frame in the control that has the focus, and Enter on buttons.

napari's style draws no focus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QColor, QKeyEvent, QPainter, QPen
from qtpy.QtWidgets import QApplication, QPushButton, QToolButton, QWidget

from napari_unet.gui.theme import colours, is_dark

if TYPE_CHECKING:
    from qtpy.QtGui import QPaintEvent

_WIDTH, _ROUND = 2, 3
_ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter)


class FocusFrames(QObject):
    """Frames what has the focus in our docks and dialogs, once the Tab key is used."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.frame: FocusFrame | None = None
        # whether the keyboard led to where the focus is, or code went on from there
        self._by_keyboard = False
        application = QApplication.instance()
        if isinstance(application, QApplication):
            application.focusChanged.connect(self._on_focus)

    def _on_focus(self, _before: QWidget | None, now: QWidget | None) -> None:
        if self.frame is not None:
            self.frame.leave()
        self.frame = None
        if now is not None:
            keyboard = Qt.WidgetAttribute.WA_KeyboardFocusChange
            self._by_keyboard |= now.window().testAttribute(keyboard)
            self._by_keyboard &= not QApplication.mouseButtons()
            if self._by_keyboard and _is_ours(now):
                self.frame = FocusFrame(now)


class FocusFrame(QWidget):
    """A line along the edge of a widget, which clips it wherever that scrolls."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self._widget = widget
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setGeometry(widget.rect())
        widget.installEventFilter(self)
        self.show()

    def leave(self) -> None:
        """Take it away, unless Qt has done so along with the widget."""
        try:
            self.hide()
            self.deleteLater()
        except RuntimeError:
            return

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Stay as large as the widget; let Enter press a button, as Space does."""
        kind = None if event is None else event.type()
        if kind == QEvent.Type.Resize:
            self.setGeometry(self._widget.rect())
        if kind != QEvent.Type.KeyPress or not isinstance(event, QKeyEvent):
            return False
        pressed = event.key() in _ENTER
        if pressed and isinstance(watched, (QPushButton, QToolButton)):
            watched.click()
            return True
        return False

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the line in a colour that is seen in both themes."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(colours(is_dark(self._widget)).first), _WIDTH))
        inside = self.rect().adjusted(1, 1, -1, -1)
        painter.drawRoundedRect(inside, _ROUND, _ROUND)
        painter.end()


def _is_ours(widget: QWidget | None) -> bool:
    """Whether a widget is in one of our docks or dialogs."""
    ours = __name__.partition(".")[0]
    while widget is not None:
        if type(widget).__module__.startswith(ours):
            return True
        widget = widget.parentWidget()
    return False
