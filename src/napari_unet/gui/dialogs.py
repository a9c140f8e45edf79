"""The buttons of our dialogs, and the dialog that asks for a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QFileDialog, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable


def dialog_buttons(
    dialog: QDialog, *names: Literal["Ok", "Open", "Save", "Cancel", "Close"]
) -> QDialogButtonBox:
    """Return the buttons of a dialog, which accept or reject it."""
    made = QDialogButtonBox()
    for name in names:
        made.addButton(getattr(QDialogButtonBox.StandardButton, name))
    made.accepted.connect(dialog.accept)
    made.rejected.connect(dialog.reject)
    return made


def ask_folder(parent: QWidget, title: str, chosen: Callable[[str], object]) -> None:
    """Let a folder be chosen, and call a method with it."""
    dialog = QFileDialog(parent, title)
    dialog.setFileMode(QFileDialog.FileMode.Directory)
    dialog.fileSelected.connect(chosen)
    dialog.finished.connect(dialog.deleteLater)
    dialog.open()
