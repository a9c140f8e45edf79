"""The layers of the current image that are shown, and a legend of their colours."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QLabel, QMenu, QSizePolicy, QWidget

from napari_unet.core.text import counted
from napari_unet.gui.widgets import MARGIN, button, follow, plain, row, shortened
from napari_unet.io.project_record import BACKGROUND_COLOUR
from napari_unet.session.prediction.cells_layer import OUTLINES

if TYPE_CHECKING:
    from napari_unet.session.workspace import Workspace

# The colour of some outlines that is seen on a dark and on a light dock.
_PREDICTED = OUTLINES[5]
# Classes that are named, and letters of a name: the tooltip has all of them. More would
# take the room of the page.
_NAMED, _LONGEST = 5, 17
# Many layers may be added or removed at once; the legend is updated once.
_PAUSE_MS = 50


class ShowRow(QWidget):
    """A button whose menu shows and hides layers, and a legend of their colours."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._showing, self._store = workspace.showing, workspace.store
        # WIDGETS
        self.button = button(
            "Show",
            "Choose what is seen of this image: cells, probability, classes, "
            "uncertainty, border weights.",
        )
        self.menu = QMenu(self.button)
        self.menu.setToolTipsVisible(True)
        self.button.setMenu(self.menu)
        self.legend = QLabel()
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.legend.setWordWrap(True)
        self.legend.setMinimumWidth(0)
        self.legend.setSizePolicy(
            QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred
        )
        self.legend.setAccessibleName("Legend")
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE_MS)
        # LAYOUT
        line = row(self.button, self.legend, stretch=1)
        line.setContentsMargins(MARGIN, 4, MARGIN, 0)
        self.setLayout(line)
        # CONNECTIONS
        self.menu.aboutToShow.connect(self._fill)
        self._timer.timeout.connect(self._show)
        follow(self, self._showing.changed, self._soon)
        follow(self, self._store.changed, self._soon)
        self._fill()
        self._show()

    def _fill(self) -> None:
        """List the present layers."""
        self.menu.clear()
        for item in self._showing.items():
            action = self.menu.addAction(plain(item.text))
            if action is None:
                continue
            action.setData(item.key)
            action.setCheckable(True)
            action.setChecked(item.shown)
            action.setEnabled(item.shown or not item.problem)
            action.setToolTip(item.problem or item.help)
            action.triggered.connect(partial(self._showing.set_shown, item.key))

    def _soon(self, *_: object) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _show(self) -> None:
        """Name the colours: what is painted is filled, what is found an outline."""
        parts = [("■", c.colour, c.name) for c in self._store.project.classes]
        every = "<br>".join(_entry(*part) for part in parts)
        more = len(parts) - _NAMED
        parts = [
            (sign, colour, shortened(name, _LONGEST))
            for sign, colour, name in parts[:_NAMED]
        ]
        parts.append(("■", BACKGROUND_COLOUR, "background"))
        shown = [item.key for item in self._showing.items() if item.shown]
        if "cells" in shown:
            parts.append(("□", _PREDICTED, "predicted"))
        entries = [_entry(*part) for part in parts]
        if more > 0:
            entries.append(f"and {counted(more, 'more class', 'more classes')}")
        self.legend.setText(" ".join(entries))
        self.legend.setToolTip(f"Classes:<br>{every}")


def _entry(sign: str, colour: str, name: str) -> str:
    # a line is not broken within a name
    named = escape(name).replace(" ", "&nbsp;")
    return f"<span style='color:{colour}'>{sign}</span>&nbsp;{named}"
