"""Messages to the person, each shown every time it is due."""

from __future__ import annotations

import warnings
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal
from weakref import ref

if TYPE_CHECKING:
    from napari._qt.dialogs.qt_notification import NapariQtNotification

# napari shows the first line, slides it in, and takes it away after four seconds.
_SLID_IN_MS, _MS_A_LETTER = 300, 60


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
    if (box := _box_of(sentence)) is not None:
        from qtpy.QtCore import QTimer

        box.timer.setInterval(max(box.DISMISS_AFTER, _MS_A_LETTER * len(sentence)))
        QTimer.singleShot(_SLID_IN_MS, partial(_unfold, ref(box)))


def _unfold(reference: ref[NapariQtNotification]) -> None:
    """Make a box as large as its text; napari's own `expand` may leave some out."""
    from qtpy.QtCore import Qt

    with suppress(RuntimeError):  # closed meanwhile
        if (box := reference()) is not None:
            label = box.message
            whole = label.fontMetrics().boundingRect(
                0, 0, label.width(), 0, Qt.TextFlag.TextWordWrap, label.text()
            )
            label.setMinimumHeight(whole.height())
            box.expand()


def _box_of(sentence: str) -> NapariQtNotification | None:
    """Return napari's box with a sentence; None if it shows none of this level."""
    from qtpy.QtWidgets import QApplication, QDialog

    from napari_unet.gui.canvas_pointer import canvas_of

    for window in QApplication.topLevelWidgets():
        canvas = canvas_of(window)
        for box in [] if canvas is None else canvas.findChildren(QDialog):
            if hasattr(box, "expand") and box.message.text() == sentence:
                return box
    return None


def _has_windows() -> bool:
    """Whether this is napari with Qt, not a script that reads with it."""
    try:
        from qtpy.QtWidgets import QApplication
    except ImportError:
        return False
    return QApplication.instance() is not None
