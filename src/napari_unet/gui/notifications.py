"""Messages to the person, each shown every time it is due."""

from __future__ import annotations

import warnings
from typing import Literal


def notify(level: Literal["info", "warning", "error"], sentence: str) -> None:
    """Show a message the way napari does; without windows it is a warning of Python.

    In a window it is none: Python and napari show the same warning only once, and
    what another thread does with `warnings.catch_warnings` can hide it altogether.
    """
    if not _has_windows():
        warnings.warn(sentence, stacklevel=3)
        return
    from napari.utils import notifications

    show = {
        "info": notifications.show_info,
        "warning": notifications.show_warning,
        "error": notifications.show_error,
    }
    show[level](sentence)


def _has_windows() -> bool:
    """Whether this is napari with Qt, not a script that reads with it."""
    try:
        from qtpy.QtWidgets import QApplication
    except ImportError:
        return False
    return QApplication.instance() is not None
