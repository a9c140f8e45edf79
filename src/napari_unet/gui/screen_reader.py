"""Names for screen readers of controls without a visible name, and the Tab key's way.

Buttons and boxes to tick are called by their text, what has a label by that. A list,
a slider or a button with a picture alone is called by the first words of its tooltip,
which says what it is for.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QComboBox,
    QGroupBox,
    QLabel,
    QLayout,
    QWidget,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# Pages change in bursts.
_PAUSE_MS = 300
# Property of controls that have a name, or can have none.
_LOOKED_AT = "napari_unet_named"
_ENDS = re.compile(r"[.:;\n]")


def controls(widget: QWidget) -> list[QWidget]:
    """Return what the Tab key reaches in a widget, shown or not, as it is laid out."""
    places = {one: number for number, one in enumerate(_laid_out(widget))}

    def place(control: QWidget | None) -> int:
        while control not in places and control is not None:
            control = control.parentWidget()
        return -1 if control is None else places[control]

    found = [
        child
        for child in widget.findChildren(QWidget)
        if child.focusPolicy() & Qt.FocusPolicy.TabFocus
        # the open list of a combo box is a window of its own
        and child.window() is widget.window()
        # parts of a box, which is named as a whole
        and not isinstance(child.parentWidget(), (QAbstractSpinBox, QComboBox))
    ]
    return sorted(found, key=place)


def put_in_tab_order(start: QWidget, *parts: QWidget) -> None:
    """Let the Tab key go from a widget through the controls of some parts in turn."""
    every = [start, *(control for part in parts for control in controls(part))]
    for one, following in pairwise(every):
        QWidget.setTabOrder(one, following)


def spoken_name(widget: QWidget) -> str:
    """Return what a screen reader calls a widget; empty if nothing.

    By Qt's own rules: the name it was given, its text or title, its label's text.
    (PyQt6 has no QAccessible that could be asked.)
    """
    return _name_of(widget, _labels_of(widget))


def name_controls(widget: QWidget) -> bool:
    """Name the controls in a widget that have no name yet; return if there are any."""
    new = [c for c in controls(widget) if c.toolTip() and not c.property(_LOOKED_AT)]
    # for the whole window, which takes a while: only if there is something new
    labels = _labels_of(widget) if new else {}
    for control in new:
        control.setProperty(_LOOKED_AT, True)
        if not _name_of(control, labels):
            name = _ENDS.split(control.toolTip(), maxsplit=1)[0].strip()
            control.setAccessibleName(name)
    return bool(new)


def _laid_out(part: QWidget | QLayout) -> Iterator[QWidget]:
    """Yield a widget and what its layout holds, in order."""
    layout = part.layout() if isinstance(part, QWidget) else part
    if isinstance(part, QWidget):
        yield part
    for number in range(0 if layout is None else layout.count()):
        item = layout.itemAt(number)
        inner = None if item is None else item.widget() or item.layout()
        if inner is not None:
            yield from _laid_out(inner)


def _labels_of(widget: QWidget) -> dict[QWidget, str]:
    """Return the texts of the labels in a window, by what they are labels of."""
    labels = widget.window().findChildren(QLabel)
    buddies = ((label.buddy(), label.text()) for label in labels)
    return {buddy: text for buddy, text in buddies if buddy is not None}


def _name_of(widget: QWidget, labels: dict[QWidget, str]) -> str:
    own: str
    if isinstance(widget, QAbstractButton):
        own = widget.text()
    elif isinstance(widget, QGroupBox):
        own = widget.title()
    else:
        own = labels.get(widget, "")
    given: str = widget.accessibleName()
    return (given or own.replace("&", "")).strip()


class Namer(QObject):
    """Names the controls of a dock's parts, and puts them in order for the Tab key.

    Also those that come later. The key comes to the parts from the widget `start`.
    """

    def __init__(self, start: QWidget, *parts: QWidget) -> None:
        super().__init__(parts[0])
        self._start = start
        self._parts: tuple[QWidget, ...] = parts
        self._clock = QTimer(self)
        self._clock.setSingleShot(True)
        self._clock.setInterval(_PAUSE_MS)
        self._clock.timeout.connect(self._name)
        for part in parts:
            part.installEventFilter(self)
            part.destroyed.connect(self._end)
        self._name()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Notice that something in the page was laid out anew."""
        if event.type() == QEvent.Type.LayoutRequest:
            self._clock.start()
        return False

    def _end(self) -> None:
        """One part goes with the dock, which others outlive for a moment."""
        self._parts = ()

    def _name(self) -> None:
        found = [name_controls(part) for part in self._parts]
        if any(found):
            put_in_tab_order(self._start, *self._parts)
