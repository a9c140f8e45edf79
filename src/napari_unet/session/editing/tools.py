"""The tools that cells are edited with, and their keys: one list for docks and keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_unet.session.annotating.shortcuts import Shortcut, readable

if TYPE_CHECKING:
    from napari_unet.session.editing.reshape import ToolName

Target = Literal["cells", "annotation"]
"""What is edited: predicted or painted cells, by the role of their layer."""

_WHOLE = " A cell of a 3-D network is meant in all its slices."
_SLICE = " It acts on the slice in view."


@dataclass(frozen=True, slots=True)
class Tool:
    """What a click or a stroke in the canvas does to cells."""

    name: ToolName
    text: str
    tooltip: str
    key: str  # as napari writes it
    # whether it draws, or acts on the cell that is clicked on
    draws: bool = False
    # whether painted cells can be edited with it too
    of_annotation: bool = True


TOOLS = (
    Tool(
        "accept",
        "Accept",
        "Click on a predicted cell that is right: it is held as it is, whatever the "
        f"threshold, and becomes annotation in this slice.{_WHOLE}",
        "U",
        of_annotation=False,
    ),
    Tool(
        "reject",
        "Reject",
        "Click on a predicted cell that is none: it goes and stays away, and becomes "
        f"background in the annotation of this slice.{_WHOLE}",
        "Shift-U",
        of_annotation=False,
    ),
    Tool("delete", "Delete", f"Click on a cell to delete it.{_WHOLE}", "Delete"),
    Tool(
        "merge",
        "Merge",
        "Draw from one cell into another to make one of them, or click on one to merge "
        f"it with the neighbour it touches most.{_WHOLE}",
        "J",
        draws=True,
    ),
    Tool(
        "split",
        "Split",
        f"Draw a line across a cell to part it.{_SLICE}",
        "K",
        draws=True,
    ),
    Tool(
        "add",
        "Add",
        "Draw around a cell that is missing; a click adds a disc as wide as the brush."
        f" Other cells keep their pixels.{_SLICE}",
        "I",
        draws=True,
    ),
    Tool(
        "redraw",
        "Redraw",
        "Draw the outline that a cell should have; other cells keep their pixels."
        f"{_SLICE}",
        "R",
        draws=True,
    ),
)
BY_NAME: dict[ToolName, Tool] = {tool.name: tool for tool in TOOLS}

POINTER_KEYS = (
    (
        "Shift+Arrows",
        f"Move the pointer; with {readable('Control')} too, ten times as far",
    ),
    ("C", "Click at the pointer: paint, pick, or use the tool"),
    ("Shift+C", "Press the mouse button down, or let it go: draw with the arrows"),
)
"""Keys of the docks, and what they do: the mouse pointer by keyboard."""

SHORTCUTS = (
    Shortcut("T", "Next cell: the least sure one that was not looked at", "step", 1),
    Shortcut("Shift-T", "Previous cell", "step", -1),
    Shortcut("U", "Accept the predicted cell under the pointer", "accept_here"),
    Shortcut("Shift-U", "Reject the predicted cell under the pointer", "reject_here"),
    Shortcut("Delete", "Delete the cell under the pointer", "delete_here"),
    Shortcut("Backspace", "Delete the cell under the pointer", "delete_here"),
    Shortcut("J", "Merge the cell under the pointer with its neighbour", "merge_here"),
    Shortcut("K", "Split a cell: draw a line across it", "split"),
    Shortcut("I", "Add a cell: draw around it", "add"),
    Shortcut("R", "Redraw a cell: draw its new outline", "redraw"),
    Shortcut("Q", "Put the tool away", "put_away"),
)
"""On layers of predicted and of painted cells alike."""

OF_CELLS = (
    Shortcut("Control-Z", "Undo the last edit of predicted cells", "undo"),
    Shortcut("Control-Shift-Z", "Do it again", "redo"),
)
"""On layers of predicted cells; painted ones have napari's own undo."""
