"""The brush: what the next stroke paints, how large, and on what."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSlider, QWidget

from napari_unet.core.annotation.annotations import cell_classes
from napari_unet.gui.annotate.image_panel import NEW, OPEN, SHOW
from napari_unet.gui.annotate.report_errors import report_errors, reporting
from napari_unet.gui.cell_tools import CellTools
from napari_unet.gui.number_box import IntBox
from napari_unet.gui.widgets import (
    ButtonRow,
    Hint,
    blocked,
    button,
    check_box,
    column,
    combo_box,
    follow,
    guard_wheel,
    row,
    set_tooltip,
)
from napari_unet.session.annotating.control import IN_3D
from napari_unet.session.annotating.shortcuts import CLASS_KEYS, key_of
from napari_unet.session.images.layers import set_visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.session.workspace import Workspace

_LARGEST = 100
_CELL_KEY, _BACKGROUND_KEY = key_of("brush.next_cell"), key_of("brush.background")
_CLASS_KEY = key_of("label_edits.set_class_under_cursor", 1)
_TOOLS = (
    (
        f"Next cell ({_CELL_KEY})",
        "Begin a new cell: press it before each one, so that each has its own id.",
    ),
    (
        f"Background ({_BACKGROUND_KEY})",
        "Paint what is no cell, mainly around cells and between them.",
    ),
    ("Erase (E)", "Take annotation away: what is left blank is not trained on."),
)
_REGION = f"Region ({_CELL_KEY})"
_OF_REGION = "Paint the class that is chosen above, anywhere."
# What to do after the first cell; shown until there is background.
_THEN = f" Then press {_BACKGROUND_KEY} and paint some background."
_NEXT = f" Press {_CELL_KEY} before each next cell."


class BrushBar(QWidget):
    """Buttons for cell, background and eraser, and the brush's size."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self._brush = brush = workspace.annotating.brush
        # WIDGETS
        self.cell, self.background, self.eraser = (
            button(text, tooltip, checkable=True) for text, tooltip in _TOOLS
        )
        self.size = IntBox(1, _LARGEST)
        self.size.setToolTip("Width of the brush in pixels; [ and ] change it.")
        self.slider = _slider(self.size.toolTip())
        self.class_label = QLabel()
        self.cell_class = combo_box(
            "Class of the cell at hand: pick a painted cell (L) and choose another. "
            f"Or point at a cell and press {_CLASS_KEY} … {CLASS_KEYS}."
        )
        self.status = Hint()
        self.status.setToolTip(
            "In the layer, label 0 is blank and 1 is background: the labels of cells "
            "begin with 2."
        )
        self.tools = CellTools(workspace, "annotation")
        self.keep = check_box(
            "Keep what is painted (B)",
            "Painting a cell or background leaves painted pixels as they are, so that "
            "touching cells stay apart. Erasing always erases.",
        )
        # LAYOUT
        label = QLabel("Size")
        label.setBuddy(self.size)
        column(
            self,
            # in two lines where letters are large
            ButtonRow(self.cell, self.background, self.eraser),
            row(label, self.slider, self.size, stretch=1),
            self.keep,
            row(self.class_label, self.cell_class, stretch=1),
            self.status,
            self.tools,
            inner=True,
        )
        # CONNECTIONS
        for one, tool in (
            (self.cell, brush.next_cell),
            (self.background, brush.background),
            (self.eraser, brush.erase),
        ):
            one.clicked.connect(reporting(workspace, partial(_use, workspace, tool)))
            # a click has toggled the button
            one.clicked.connect(self.refresh)
        self.slider.valueChanged.connect(self._on_size)
        self.size.valueChanged.connect(self._on_size)
        self.keep.toggled.connect(brush.set_keep)
        self.cell_class.activated.connect(self._on_cell_class)
        follow(self, brush.changed, self.refresh)
        follow(self, workspace.guide.changed, self.refresh)
        follow(self, workspace.annotating.changed, self.refresh)
        follow(self, workspace.images.current_changed, self.refresh)
        follow(self, workspace.training.training_data.changed, self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the brush as it is now."""
        layer, tool = self._brush.layer, self._brush.tool
        self.setEnabled(layer is not None)
        self.cell.setChecked(tool == "cell")
        self.background.setChecked(tool == "background")
        self.eraser.setChecked(tool == "erase")
        with blocked(self.keep, self.size, self.slider):
            self.keep.setChecked(self._brush.keep)
            if layer is not None:
                self.size.setValue(int(layer.brush_size))
                self.slider.setValue(int(layer.brush_size))
        self._show_cell_class()
        classes = self._workspace.store.project.classes
        region = classes[self._brush.active_class - 1].kind == "regions"
        self.cell.setText(_REGION if region else _TOOLS[0][0])
        set_tooltip(self.cell, _OF_REGION if region else _TOOLS[0][1])
        # regions have no objects to edit
        self.tools.setVisible(bool(cell_classes(classes)))
        self.status.setText(self._sentence())

    def _show_cell_class(self) -> None:
        """Offer another class for the painted cell that the brush goes on with."""
        classes = self._workspace.store.project.classes
        cells = cell_classes(classes)
        cell, active = self._brush.painted_cell, self._brush.active_class
        offered = cell is not None and active in cells and len(cells) > 1
        self.class_label.setVisible(offered)
        self.cell_class.setVisible(offered)
        if not offered:
            return
        self.class_label.setText(f"Cell with label {cell} is of class")
        with blocked(self.cell_class):
            self.cell_class.clear()
            for number in cells:
                self.cell_class.addItem(classes[number - 1].name, number)
            self.cell_class.setCurrentIndex(cells.index(active))

    def _sentence(self) -> str:
        layer, tool = self._brush.layer, self._brush.tool
        if layer is None:
            return self._what_to_do_first()
        if self._workspace.annotating.in_3d:
            return IN_3D
        if not layer.visible:
            return f"{layer.name} is hidden: press a button above to see and paint it."
        if not self._workspace.images.is_active(layer):
            return f"To paint, select the layer {layer.name}, or press a button above."
        known = self._workspace.training.training_data.summary()
        if tool == "background":
            back = "" if known.classes - {0} else f" Press {_CELL_KEY} for cells."
            return f"The brush paints background.{back}"
        if tool == "erase":
            return "The brush erases."
        if tool != "cell":
            return "The brush rests: press a button above to paint."
        info = self._workspace.store.project.classes[self._brush.active_class - 1]
        # the guide says it above
        quiet = known.background or self._workspace.guide.shown
        then = "" if quiet else _THEN
        if info.kind == "regions":
            return f"The brush paints {info.name}.{then}"
        then = f"{_NEXT}{then}" if then else ""
        several = len(self._workspace.store.project.classes) > 1
        name = f" ({info.name})" if several else ""
        new = self._brush.painted_cell is None
        begins = "paints a new cell" if new else "goes on with the cell"
        label = layer.selected_label
        return f"The brush {begins} with label {label}{name}.{then}"

    def _what_to_do_first(self) -> str:
        """Say how to get a layer to paint in."""
        image = self._workspace.images.current
        if image is None:
            return ""
        if not self._workspace.images.layers(image.id):
            return f"{image.name} is closed: press {OPEN}"
        return f"To paint, press {SHOW if image.annotated else NEW}."

    def _on_cell_class(self) -> None:
        cell, edits = self._brush.painted_cell, self._workspace.annotating.label_edits
        if cell is not None:
            with report_errors(self._workspace):
                edits.set_class(cell, self.cell_class.currentData())

    def _on_size(self, size: int) -> None:
        layer = self._brush.layer
        if layer is not None and layer.brush_size != size:
            layer.brush_size = size


def _slider(tooltip: str) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setRange(1, _LARGEST)
    slider.setToolTip(tooltip)
    guard_wheel(slider)
    return slider


def _use(workspace: Workspace, tool: Callable[[], None]) -> None:
    """Paint with a tool: its layer becomes the active one."""
    layer = workspace.annotating.brush.layer
    if layer is not None:
        set_visible(layer)
        workspace.viewer.layers.selection.active = layer
    tool()
