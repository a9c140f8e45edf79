"""The row of tools that cells are edited with, predicted or painted ones."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_unet.gui.annotate.report_errors import report_errors
from napari_unet.gui.canvas_pointer import canvas_of
from napari_unet.gui.widgets import ButtonRow, Hint, button, column, follow
from napari_unet.session.annotating.shortcuts import readable
from napari_unet.session.editing.tools import TOOLS

if TYPE_CHECKING:
    from qtpy.QtWidgets import QPushButton

    from napari_unet.session.editing.reshape import ToolName
    from napari_unet.session.editing.tools import Target
    from napari_unet.session.workspace import Workspace


class CellTools(QWidget):
    """Buttons that stay pressed while their tool is in use, and what it does."""

    def __init__(self, workspace: Workspace, target: Target) -> None:
        super().__init__()
        self._workspace, self._target = workspace, target
        self._editor = workspace.editor
        # WIDGETS
        self.buttons: dict[ToolName, QPushButton] = {}
        for tool in TOOLS:
            if tool.of_annotation or target == "cells":
                tooltip = f"{tool.tooltip} Key: {readable(tool.key)}."
                made = button(tool.text, tooltip, checkable=True)
                made.clicked.connect(partial(self._on_clicked, tool.name))
                self.buttons[tool.name] = made
        self.hint = Hint()
        # LAYOUT
        column(self, ButtonRow(*self.buttons.values()), self.hint, inner=True)
        # CONNECTIONS
        follow(self, self._editor.changed, self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show which tool is in use."""
        tool = self._editor.tool
        ours = tool is not None and self._editor.target == self._target
        for name, made in self.buttons.items():
            made.setChecked(ours and tool is not None and tool.name == name)
        stepped = self._editor.stepped if self._editor.target == self._target else ""
        # one line or two; the tooltip has the rest, as of slices and of the threshold
        first = f"{re.split('[.:;]', tool.tooltip)[0]}." if tool else ""
        self.hint.setText(stepped or (first if ours else ""))

    def _on_clicked(self, name: ToolName, _checked: bool) -> None:
        with report_errors(self._workspace):
            self._editor.toggle(name, self._target)
            canvas = canvas_of(self.window())
            if canvas is not None:
                # its keys are those of the tool: undo, the next cell, the pointer
                canvas.setFocus()
        self.refresh()
