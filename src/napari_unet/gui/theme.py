"""napari's dark and light theme, for what napari does not colour itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


@dataclass(frozen=True, slots=True)
class Colours:
    """Colours as #rrggbb that are readable on the background of a theme."""

    background: str
    text: str
    muted: str  # axes and grids
    first: str  # curves: blue and orange, distinct for the colour-blind
    second: str
    warning: str
    error: str


DARK = Colours(
    background="#23242b",
    text="#f0f1f2",
    muted="#8d929c",
    first="#56b4e9",
    second="#e69f00",
    warning="#e3b617",
    error="#ff8a8a",
)
LIGHT = Colours(
    background="#ebe7e6",
    text="#1e1e21",
    muted="#6b6a6c",
    first="#00649c",
    second="#a84300",
    warning="#7a5c00",
    error="#b3001b",
)


def colours(dark: bool) -> Colours:
    """Return the colours for a dark or a light theme."""
    return DARK if dark else LIGHT


def is_dark(widget: QWidget) -> bool:
    """Whether a widget stands on a dark background; napari's style sets the palette."""
    from qtpy.QtGui import QPalette

    palette = widget.palette()
    window = palette.color(QPalette.ColorRole.Window)
    text = palette.color(QPalette.ColorRole.WindowText)
    return bool(window.lightness() < text.lightness())
