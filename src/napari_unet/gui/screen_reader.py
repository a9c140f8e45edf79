"""Names for screen readers of controls without a visible name.

Buttons and boxes to tick are called by their text, what has a label by that. A list,
a slider or a button with a picture alone is called by the first words of its tooltip,
which says what it is for.
"""

from __future__ import annotations

import re
from itertools import pairwise

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QComboBox,
    QGroupBox,
    QLabel,
    QWidget,
)

# Pages change in bursts.
_PAUSE_MS = 300
# Property of controls that have a name, or can have none.
_LOOKED_AT = "napari_unet_named"
_ENDS = re.compile(r"[.:;\n]")


def controls(widget: QWidget) -> list[QWidget]:
    """Return what the Tab key reaches in a widget, shown or not."""
    return [
        child
        for child in widget.findChildren(QWidget)
        if child.focusPolicy() & Qt.FocusPolicy.TabFocus
        # the open list of a combo box is a window of its own
        and child.window() is widget.window()
        # parts of a box, which is named as a whole
        and not isinstance(child.parentWidget(), (QAbstractSpinBox, QComboBox))
    ]


def put_in_tab_order(*parts: QWidget) -> None:
    """Let the Tab key go through the controls of some parts of a window in turn."""
    every = [control for part in parts for control in controls(part)]
    for one, following in pairwise(every):
        QWidget.setTabOrder(one, following)


def spoken_name(widget: QWidget) -> str:
    """Return what a screen reader calls a widget; empty if nothing.

    By Qt's own rules: the name it was given, its text or title, its label's text.
    (PyQt6 has no QAccessible that could be asked.)
    """
    return _name_of(widget, _labels_of(widget))


def name_controls(widget: QWidget) -> None:
    """Name the controls in a widget that have no name yet."""
    new = [c for c in controls(widget) if c.toolTip() and not c.property(_LOOKED_AT)]
    # for the whole window, which takes a while: only if there is something new
    labels = _labels_of(widget) if new else {}
    for control in new:
        control.setProperty(_LOOKED_AT, True)
        if not _name_of(control, labels):
            name = _ENDS.split(control.toolTip(), maxsplit=1)[0].strip()
            control.setAccessibleName(name)


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
    """Names the controls of a page, also those that come later."""

    def __init__(self, page: QWidget) -> None:
        super().__init__(page)
        self._page = page
        self._clock = QTimer(self)
        self._clock.setSingleShot(True)
        self._clock.setInterval(_PAUSE_MS)
        self._clock.timeout.connect(self._name)
        page.installEventFilter(self)
        self._name()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Notice that something in the page was laid out anew."""
        if event.type() == QEvent.Type.LayoutRequest:
            self._clock.start()
        return False

    def _name(self) -> None:
        name_controls(self._page)
