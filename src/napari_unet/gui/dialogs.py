"""The buttons of our dialogs, and the dialog that asks for a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QFileDialog, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable


def dialog_buttons(
    dialog: QDialog, *names: Literal["Ok", "Open", "Save", "Cancel", "Close"]
) -> QDialogButtonBox:
    """Return the buttons of a dialog, which accept or reject it.

    The dialog grows when a sentence appears in it: Qt would cut what is there.
    """
    dialog.installEventFilter(_Grower(dialog))
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


class _Grower(QObject):
    """Makes a dialog as high as what is in it, if it is not."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is None or event.type() != QEvent.Type.LayoutRequest:
            return False
        layout = watched.layout() if isinstance(watched, QDialog) else None
        if isinstance(watched, QDialog) and layout is not None:
            # 0 or less where nothing is wrapped
            wrapped = layout.totalHeightForWidth(watched.width())
            least = max(wrapped, layout.totalMinimumSize().height())
            if least > watched.height():
                watched.resize(watched.width(), least)
        return False
