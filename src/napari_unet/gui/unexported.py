"""The question whether predictions that are in no file may go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QMessageBox, QWidget

from napari_unet.core.text import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMES = 5


def question(
    window: QWidget,
    names: Sequence[str],
    when: str = "napari closes",
    title: str = "Close without exporting?",
) -> QMessageBox:
    """Return the question whether to go on without exporting predictions of images.

    The answer to go on is `QMessageBox.StandardButton.Close`.
    """
    shown = listed([f"“{name}”" for name in names], _NAMES)
    box = QMessageBox(
        QMessageBox.Icon.Question,
        title,
        f"The predictions of {shown} are in no file: they are gone when {when}. "
        "Export… in the Predict dock keeps them.",
        QMessageBox.StandardButton.Close | QMessageBox.StandardButton.Cancel,
        window,
    )
    # "Close" alone may be taken for that of the question
    box.button(QMessageBox.StandardButton.Close).setText(title.removesuffix("?"))
    box.setDefaultButton(QMessageBox.StandardButton.Cancel)
    return box
