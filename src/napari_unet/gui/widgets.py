"""Small widgets that all pages are made of, and how they are laid out.

Colours come from the theme by way of the palette, so none of them needs a style sheet.
"""

from __future__ import annotations

import weakref
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

from qtpy.QtCore import QEvent, QObject, QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QKeyEvent, QPainter, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QColorDialog,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QLayout,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel, QFlowLayout

from napari_unet.gui.theme import colours, is_dark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from psygnal import SignalInstance
    from qtpy.QtGui import QPaintEvent

HINT_OPACITY = 0.72
"""Of sentences that help, in the colour of the text."""

Level = Literal["info", "warning", "error"]

SPACING = 6
"""Pixels between the rows of a page."""
MARGIN = 8
"""Pixels around a page."""


def row(*widgets: QWidget, stretch: int | None = None) -> QHBoxLayout:
    """Lay widgets side by side; the one at `stretch` takes the room that is left."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(SPACING)
    for number, widget in enumerate(widgets):
        layout.addWidget(widget, 1 if number == stretch else 0)
    return layout


def column(
    parent: QWidget, *parts: QWidget | QLayout, inner: bool = False
) -> QVBoxLayout:
    """Lay widgets and layouts one under the other in a widget, at the top.

    An inner one is a part of a page: it has no margins, and no room below.
    """
    layout = QVBoxLayout(parent)
    margin = 0 if inner else MARGIN
    layout.setContentsMargins(margin, margin, margin, margin)
    layout.setSpacing(SPACING)
    for part in parts:
        if isinstance(part, QWidget):
            layout.addWidget(part)
        else:
            layout.addLayout(part)
    if not inner:
        layout.addStretch(1)
    return layout


def button(text: str, tooltip: str, *, checkable: bool = False) -> QPushButton:
    """Return a button that says what it does."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.setCheckable(checkable)
    return made


def buttons(*texts: tuple[str, str]) -> list[QPushButton]:
    """Return the buttons of a row, each of its text and its tooltip."""
    return [button(text, tooltip) for text, tooltip in texts]


def check_box(text: str, tooltip: str = "", checked: bool = False) -> QCheckBox:
    """Return a box to tick that says what it does."""
    made = QCheckBox(text)
    made.setToolTip(tooltip)
    made.setChecked(checked)
    return made


def combo_box(tooltip: str, *items: tuple[str, object]) -> QComboBox:
    """Return a box with a list of texts, each with its data.

    Long texts are cut, or they would widen the dock.
    """
    made = QComboBox()
    policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
    made.setSizeAdjustPolicy(policy)
    made.setMinimumContentsLength(6)
    made.setToolTip(tooltip)
    guard_wheel(made)
    leave_letters(made)
    for text, data in items:
        made.addItem(text, data)
    return made


def choice_box(choices: Mapping[str, tuple[str, str]], tooltip: str = "") -> QComboBox:
    """Return a box with the names of some choices, each with its key.

    `choices` have a name and an explanation, which stands in the tooltip.
    """
    tips = (f"{name}: {tip}" for name, tip in choices.values())
    items = ((name, key) for key, (name, _) in choices.items())
    return combo_box("\n".join(filter(None, (tooltip, *tips))), *items)


def plain(name: str, most: int = 40) -> str:
    """Return a name as the text of a menu or button: "&" would underline a letter.

    Of long ones the beginning and the end.
    """
    return shortened(name, most).replace("&", "&&")


def shortened(name: str, most: int) -> str:
    """Return the beginning and the end of a long name."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def label_of(widget: QWidget, text: str) -> QLabel:
    """Return a label that stands beside a widget, with the same tooltip."""
    label = QLabel(text)
    label.setBuddy(widget)
    label.setToolTip(widget.toolTip())
    return label


class ButtonRow(QWidget):
    """Widgets in a row that go on in the next line where there is no room."""

    def __init__(self, *widgets: QWidget) -> None:
        super().__init__()
        self._flow = QFlowLayout(self)
        self._flow.setContentsMargins(0, 0, 0, 0)
        self._flow.setHorizontalSpacing(SPACING)
        self._flow.setVerticalSpacing(SPACING)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        for widget in widgets:
            self._flow.addWidget(widget)

    def sizeHint(self) -> QSize:
        """Return the size of one line; more lines follow from the width."""
        return self.minimumSizeHint()

    def minimumSizeHint(self) -> QSize:
        """Return the size of the largest widget.

        The layout's own is that of one widget in each line: pages would be too high.
        """
        size = QSize(0, 0)
        for number in range(self._flow.count()):
            item = self._flow.itemAt(number)
            if item is not None and not item.isEmpty():
                size = size.expandedTo(item.minimumSize())
        return size


def remove_widgets(layout: QLayout) -> None:
    """Remove all widgets of a layout."""
    while (item := layout.takeAt(0)) is not None:
        widget = item.widget()
        if widget is not None:
            widget.hide()
            widget.deleteLater()


class Fold(QWidget):
    """A title that shows or hides what is under it.

    Content may change its height at any time, wrapped sentences as well.
    """

    toggled = Signal(bool)

    def __init__(self, title: str, content: QWidget) -> None:
        super().__init__()
        # WIDGETS
        self.button = QToolButton()
        self.button.setText(title)
        self.button.setToolTip(f"Show or hide: {title}")
        self.button.setCheckable(True)
        self.button.setAutoRaise(True)
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.button.setSizePolicy(
            QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed
        )
        self._body = QWidget()
        # LAYOUT
        self._inner = QVBoxLayout(self._body)
        self._inner.setContentsMargins(SPACING, 0, 0, 0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACING)
        layout.addWidget(self.button)
        layout.addWidget(self._body)
        self.addWidget(content)
        # CONNECTIONS
        self.button.toggled.connect(self._on_toggled)
        self._on_toggled(False)

    def addWidget(self, widget: QWidget) -> None:
        """Add a widget under the title."""
        self._inner.addWidget(widget)

    def _on_toggled(self, expanded: bool) -> None:
        arrow = Qt.ArrowType.DownArrow if expanded else Qt.ArrowType.RightArrow
        self.button.setArrowType(arrow)
        self._body.setVisible(expanded)
        self.toggled.emit(expanded)


class Heading(QLabel):
    """The title of a section."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        font = self.font()
        font.setBold(True)
        self.setFont(font)
        self.setWordWrap(True)
        self.setMinimumWidth(0)


class Hint(QLabel):
    """A muted sentence that wraps; warnings and errors in their colour.

    Plain text only. An empty hint takes no room.
    """

    def __init__(self, text: str = "", level: Level = "info") -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setMinimumWidth(0)
        # where napari's style puts the text of other labels
        self.setIndent(0)
        self.setContentsMargins(4, 0, 0, 0)
        self.setText(text, level)

    def setText(self, text: str, level: Level = "info") -> None:
        """Show a sentence, or nothing if it is empty."""
        self.level = level
        super().setText(text)
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
        if self.level == "info":
            painter.setOpacity(HINT_OPACITY)
        else:
            shades = colours(is_dark(self))
            shade = shades.warning if self.level == "warning" else shades.error
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

    def __init__(self) -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setMinimumWidth(0)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def setText(self, text: str, more: str = "") -> None:
        """Show a line; `more` stands below it in the tooltip."""
        if text != self.text():
            super().setText(text)
        self.setToolTip(f"{text}\n{more}" if more else text)

    def minimumSizeHint(self) -> QSize:
        """Return a size that never widens a dock."""
        return QSize(0, super().minimumSizeHint().height())


class ColourButton(QToolButton):
    """Shows a colour; pressing it lets choose another."""

    colourChanged = Signal(str)

    def __init__(self, colour: str = "#ffffff") -> None:
        super().__init__()
        self._colour = ""
        self.setIconSize(QSize(16, 16))
        self.setToolTip("Choose another colour.")
        self.setColour(colour)
        self.clicked.connect(self._choose)

    def colour(self) -> str:
        """Return the colour as #rrggbb."""
        return self._colour

    def setColour(self, colour: str) -> None:
        """Show another colour; emits `colourChanged` if it differs.

        ValueError if Qt does not know the colour.
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


class Placeholder(QWidget):
    """Stands where there is nothing yet, and says what to do next."""

    pressed = Signal()

    def __init__(self, sentence: str, action: str) -> None:
        super().__init__()
        # WIDGETS
        self.hint = Hint(sentence)
        self.hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.button = button(action, sentence)
        # LAYOUT
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        layout.addWidget(self.hint)
        layout.addWidget(self.button, 0, Qt.AlignmentFlag.AlignHCenter)
        # CONNECTIONS
        self.button.clicked.connect(self.pressed)


class _WheelGuard(QObject):
    """Keeps the wheel for the page unless the box under the mouse has the focus."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is None or event.type() != QEvent.Type.Wheel:
            return False
        if not isinstance(watched, QWidget) or watched.hasFocus():
            return False
        event.ignore()
        return True


def guard_wheel(widget: QWidget) -> None:
    """Let the wheel scroll the page over a box or slider that is not in use."""
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    widget.installEventFilter(_WheelGuard(widget))


class _LetterGuard(QObject):
    """Passes letters on, as a button does, unless they are typed into a box."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is None or event.type() != QEvent.Type.KeyPress:
            return False
        if isinstance(watched, QComboBox) and watched.isEditable():
            return False
        # not Space, which ticks and opens
        text = event.text().strip() if isinstance(event, QKeyEvent) else ""
        if not (text and text.isprintable()):
            return False
        event.ignore()
        return True


def leave_letters(widget: QWidget) -> None:
    """Leave letters and digits to the canvas, whose keys they are.

    A list that was clicked on takes them for the beginning of an item: N, for the next
    cell, would go to another image, and A, to accept one, to another model.
    """
    widget.installEventFilter(_LetterGuard(widget))


def allow(widget: QWidget, allowed: bool, reason: str = "") -> None:
    """Enable a widget, or disable it with the reason as its tooltip.

    Its own tooltip comes back when it is enabled again.
    """
    own = widget.property("own_tooltip")
    if own is None:
        own = widget.toolTip()
        widget.setProperty("own_tooltip", own)
    widget.setEnabled(allowed)
    widget.setToolTip(own if allowed or not reason else f"{own}\n{reason}".strip())


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
