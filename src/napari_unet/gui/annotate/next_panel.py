"""Where to annotate next: a short list of tiles, with what speaks for each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_unet.core.suggestions.reasons import THUMBNAIL
from napari_unet.gui.annotate.report_errors import report_errors, reporting
from napari_unet.gui.pictures import Picture
from napari_unet.gui.widgets import (
    SPACING,
    ButtonRow,
    Hint,
    button,
    column,
    follow,
    remove_widgets,
    row,
)

if TYPE_CHECKING:
    from napari_unet.core.suggestions.reasons import Suggestion
    from napari_unet.session.workspace import Workspace

_SUGGEST, _CANCEL = "Suggest places", "Cancel"
_TIP = (
    "Look through all open images for the tiles from which a network would learn most: "
    "like many others, unlike what is annotated, and unlike each other."
)


class NextPanel(QWidget):
    """Suggests tiles when it comes on screen for the first time, and when asked."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self._suggesting = suggesting = workspace.suggesting
        self._shown: tuple[Suggestion, ...] = ()
        # WIDGETS
        self.button = button(_SUGGEST, _TIP)
        self.summary = Hint()
        # LAYOUT
        self._rows = QVBoxLayout()
        self._rows.setSpacing(SPACING)
        column(self, ButtonRow(self.button), self.summary, self._rows, inner=True)
        # CONNECTIONS
        self.button.clicked.connect(self._on_button)
        follow(self, suggesting.changed, self._show)
        self._show()

    def start(self, shown: bool = True) -> None:
        """Look for tiles when the panel comes on screen, unless there are some."""
        suggesting = self._suggesting
        if shown and not suggesting.suggestions and not suggesting.running:
            self._on_button()

    def _on_button(self) -> None:
        with report_errors(self._workspace):
            if self._suggesting.running:
                self._suggesting.cancel()
            else:
                self._suggesting.start()

    def _show(self) -> None:
        suggesting = self._suggesting
        self.button.setText(_CANCEL if suggesting.running else _SUGGEST)
        if suggesting.running:
            self.summary.setText(f"Looking at tiles … {suggesting.progress:.0%}")
        else:
            self.summary.setText(suggesting.sentence)
        if suggesting.suggestions is self._shown:
            return
        self._shown = suggesting.suggestions
        remove_widgets(self._rows)
        for number, suggestion in enumerate(self._shown, start=1):
            self._rows.addWidget(self._row(number, suggestion))

    def _row(self, number: int, suggestion: Suggestion) -> QWidget:
        """Return a tile: how it looks, where it is, why, and the way there."""
        name = self._suggesting.name_of(suggestion)
        reasons = "; ".join(suggestion.reasons)
        picture = Picture(THUMBNAIL)
        picture.show_pixels(suggestion.thumbnail)
        picture.setFixedSize(THUMBNAIL, THUMBNAIL)
        picture.setAccessibleName(f"Tile {number} of {name}")
        hint = Hint(f"{name}: {reasons}.")
        go = button("Go to", "Show the tile, with a frame around it.")
        go.setAccessibleName(f"Go to tile {number}, {name}")
        act = partial(self._suggesting.go_to, suggestion)
        go.clicked.connect(reporting(self._workspace, act))
        box, words = QWidget(), QWidget()
        column(words, hint, ButtonRow(go), inner=True).setSpacing(2)
        layout = row(picture, words, stretch=1)
        layout.setAlignment(picture, Qt.AlignmentFlag.AlignTop)
        box.setLayout(layout)
        return box
