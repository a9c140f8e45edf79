"""Small widgets that all pages are made of.

Colours come from the theme by way of the palette, so none of them needs a style sheet.
"""

from __future__ import annotations

import weakref
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

from qtpy.QtCore import QEvent, QObject, QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QColorDialog,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_unet.gui.layouts import MARGIN, SPACING, ButtonRow, Fold, column, row
from napari_unet.gui.theme import colours, is_dark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psygnal import SignalInstance
    from qtpy.QtGui import QPaintEvent

Level = Literal["info", "warning", "error"]

__all__ = [
    "MARGIN",
    "SPACING",
    "ButtonRow",
    "ColourButton",
    "Elided",
    "Empty",
    "Fold",
    "Heading",
    "Hint",
    "Level",
    "allow",
    "blocked",
    "button",
    "check_box",
    "column",
    "follow",
    "guard_wheel",
    "row",
    "set_tooltip",
]


def button(text: str, tooltip: str, *, checkable: bool = False) -> QPushButton:
    """Return a button that says what it does."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setCheckable(checkable)
    return made


def check_box(text: str, tooltip: str = "", checked: bool = False) -> QCheckBox:
    """Return a box to tick that says what it does."""
    made = QCheckBox(text)
    made.setToolTip(tooltip)
    made.setChecked(checked)
    return made


class Heading(QLabel):
    """The title of a section."""

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        font = self.font()
        font.setBold(True)
        self.setFont(font)
        self.setWordWrap(True)
        self.setMinimumWidth(0)


class Hint(QLabel):
    """A muted sentence that wraps; warnings and errors in their colour.

    Plain text only. An empty hint takes no room.
    """

    def __init__(
        self, text: str = "", level: Level = "info", parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._level: Level = level
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setMinimumWidth(0)
        # where napari's style puts the text of other labels
        self.setIndent(0)
        self.setContentsMargins(4, 0, 0, 0)
        self.tell(text, level)

    @property
    def level(self) -> Level:
        """How urgent the sentence is."""
        return self._level

    def tell(self, text: str, level: Level = "info") -> None:
        """Show a sentence, or nothing if it is empty."""
        self._level = level
        self.setText(text)
        if not text:
            self.hide()
        elif self.parent() is not None:
            self.show()
        else:
            # a widget without a parent would become a window: its layout shows it
            self.setAttribute(Qt.WidgetAttribute.WA_WState_ExplicitShowHide, False)
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the text in the colour of its level.

        A style sheet would win over a palette, but not over this.
        """
        style = self.style()
        if style is None:
            return
        palette = self.palette()
        painter = QPainter(self)
        if self._level == "info":
            painter.setOpacity(0.72)
        else:
            shades = colours(is_dark(self))
            shade = shades.warning if self._level == "warning" else shades.error
            palette.setColor(self.foregroundRole(), QColor(shade))
        flags = int(self.alignment()) | int(Qt.TextFlag.TextWordWrap)
        style.drawItemText(
            painter,
            self.contentsRect(),
            flags,
            palette,
            True,
            self.text(),
            self.foregroundRole(),
        )


class Elided(QElidingLabel):
    """One line that is cut with … where there is no room; the tooltip has it all."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self._more = ""
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setMinimumWidth(0)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def tell(self, text: str, more: str = "") -> None:
        """Show a line; `more` stands below it in the tooltip."""
        if text != self.text():
            self.setText(text)
        self.setToolTip(f"{text}\n{more}" if more else text)

    def minimumSizeHint(self) -> QSize:
        """Return a size that never widens a dock."""
        return QSize(0, super().minimumSizeHint().height())


class ColourButton(QToolButton):
    """Shows a colour; pressing it lets choose another."""

    colourChanged = Signal(str)

    def __init__(self, colour: str = "#ffffff", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._colour = ""
        self.setIconSize(QSize(16, 16))
        self.setToolTip("Choose another colour.")
        self.setColour(colour)
        self.clicked.connect(self._choose)

    def colour(self) -> str:
        """Return the colour as #rrggbb."""
        return self._colour

    def setColour(self, colour: str) -> None:
        """Show another colour; tells of it if it differs.

        Raises
        ------
        ValueError
            If Qt does not know the colour.
        """
        chosen = QColor(colour)
        if not chosen.isValid():
            raise ValueError(f"a colour is #rrggbb, found {colour!r}.")
        if chosen.name() == self._colour:
            return
        self._colour = chosen.name()
        swatch = QPixmap(self.iconSize())
        swatch.fill(chosen)
        self.setIcon(QIcon(swatch))
        self.colourChanged.emit(self._colour)

    def _choose(self) -> None:
        chosen = QColorDialog.getColor(QColor(self._colour), self, "Colour")
        if chosen.isValid():
            self.setColour(chosen.name())


class Empty(QWidget):
    """Stands where there is nothing yet, and says what to do next."""

    pressed = Signal()

    def __init__(
        self, sentence: str, button: str = "", parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        # WIDGETS
        self.hint = Hint(sentence)
        self.hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.button: QPushButton | None = None
        # LAYOUT
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        layout.addWidget(self.hint)
        if button:
            self.button = QPushButton(button)
            self.button.setToolTip(sentence)
            self.button.clicked.connect(self.pressed)
            layout.addWidget(self.button, 0, Qt.AlignmentFlag.AlignHCenter)


class _WheelGuard(QObject):
    """Keeps the wheel for the page unless the box under the mouse has the focus."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if (
            event is not None
            and event.type() == QEvent.Type.Wheel
            and isinstance(watched, QWidget)
            and not watched.hasFocus()
        ):
            event.ignore()
            return True
        return False


def guard_wheel(widget: QWidget) -> None:
    """Let the wheel scroll the page over a box or slider that is not in use."""
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    widget.installEventFilter(_WheelGuard(widget))


def allow(widget: QWidget, allowed: bool, reason: str = "") -> None:
    """Enable a widget, or disable it with the reason as its tooltip.

    Its own tooltip comes back when it is enabled again.
    """
    told = widget.property("own_tooltip")
    if told is None:
        told = widget.toolTip()
        widget.setProperty("own_tooltip", told)
    widget.setEnabled(allowed)
    widget.setToolTip(told if allowed or not reason else f"{told}\n{reason}".strip())


def set_tooltip(widget: QWidget, text: str) -> None:
    """Change the tooltip that `allow` brings back."""
    widget.setProperty("own_tooltip", text)
    widget.setToolTip(text)


@contextmanager
def blocked(*objects: QObject) -> Iterator[None]:
    """Let objects be filled without their signals."""
    with ExitStack() as stack:
        for thing in objects:
            stack.enter_context(QSignalBlocker(thing))
        yield


def follow(widget: QObject, signal: SignalInstance, slot: Callable[..., Any]) -> None:
    """Connect a bound method to a psygnal signal for as long as its widget lives.

    Qt may delete a widget while Python still holds it; a call would then fail.
    """
    signal.connect(slot)
    method = weakref.WeakMethod(slot)

    def end() -> None:
        alive = method()
        if alive is not None:
            signal.disconnect(alive, missing_ok=True)

    widget.destroyed.connect(end)
