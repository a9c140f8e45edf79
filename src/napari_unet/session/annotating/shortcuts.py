"""The keys of an annotation layer: one list binds them and shows them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Labels

CLASS_KEYS = 9
# Of what is Ctrl elsewhere: Qt and napari take the Command key of a Mac for it. For
# people, and as napari writes it.
_CONTROL, _BOUND = ("Cmd", "Meta") if sys.platform == "darwin" else ("Ctrl", "Control")
BLINK_KEY = "W"
"""Of the viewer, whichever layer is active; see `session.showing`."""


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A key and what it does."""

    # as napari writes it, such as "Alt-Z"; Control is the Command key of a Mac
    keys: str
    text: str  # what it does, for people
    # method of `Annotating`, or of a part of it, that is called with `argument` if
    # there is one; empty if the key is napari's own
    action: str = ""
    argument: int | None = None


SHORTCUTS = (
    Shortcut("N", "Next cell", "brush.next_cell"),
    Shortcut("G", "Background brush", "brush.background"),
    Shortcut("E", "Erase"),
    Shortcut("[", "Smaller brush"),
    Shortcut("]", "Larger brush"),
    Shortcut("B", "Keep what is painted, or paint over it"),
    Shortcut("L", "Pick a cell to go on with it"),
    Shortcut("Control-Z", "Undo the last stroke"),
    Shortcut("Alt-Z", "Undo the last step (finished, import, class)", "undo"),
    *(
        Shortcut(f"Control-{n}", f"Class {n}", "brush.set_class", n)
        for n in range(1, CLASS_KEYS + 1)
    ),
    *(
        Shortcut(
            f"Alt-{n}",
            f"The painted cell under the mouse is of class {n}",
            "label_edits.set_class_under_cursor",
            n,
        )
        for n in range(1, CLASS_KEYS + 1)
    ),
    Shortcut("S", "Slice finished, or not", "finishing.toggle_slice"),
    Shortcut("A", "Previous annotated slice", "next_annotated", -1),
    Shortcut("D", "Next annotated slice", "next_annotated", 1),
    Shortcut(BLINK_KEY, "Hide the prediction, and show it again"),
)


def bind(
    layer: Labels,
    owner: object,
    warn: Callable[[str], None],
    shortcuts: Sequence[Shortcut] = SHORTCUTS,
) -> None:
    """Bind our keys on one layer; napari's own and other layers stay as they are.

    `owner` has the methods that the shortcuts name; `warn` is given the sentence of a
    ValueError, when something cannot be done.
    """
    for shortcut in shortcuts:
        if shortcut.action:
            layer.bind_key(
                _bound(shortcut), _call(owner, shortcut, warn), overwrite=True
            )


def unbind(layer: Labels, shortcuts: Sequence[Shortcut] = SHORTCUTS) -> None:
    """Free our keys on a layer."""
    for shortcut in shortcuts:
        if shortcut.action:
            layer.bind_key(_bound(shortcut), None)


def key_of(action: str, argument: int | None = None) -> str:
    """Return the key of an action as people write it; empty if it has none."""
    for shortcut in SHORTCUTS:
        if (shortcut.action, shortcut.argument) == (action, argument):
            return readable(shortcut.keys)
    return ""


def readable(keys: str) -> str:
    """Write a key as people do: Ctrl+Z, on a Mac Cmd+Z."""
    return keys.replace("Control", _CONTROL).replace("-", "+")


def _bound(shortcut: Shortcut) -> str:
    return shortcut.keys.replace("Control", _BOUND)


def _call(
    owner: object, shortcut: Shortcut, warn: Callable[[str], None]
) -> Callable[[Any], None]:
    arguments = () if shortcut.argument is None else (shortcut.argument,)

    def pressed(_: Any) -> None:
        try:
            attrgetter(shortcut.action)(owner)(*arguments)
        except ValueError as error:
            warn(str(error))

    pressed.__name__ = shortcut.action
    pressed.__doc__ = shortcut.text
    return pressed
