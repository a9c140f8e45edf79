"""The question whether work may go that is in no file, or is not done."""

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
    title: str = "",
    stops: Sequence[str] = (),
) -> QMessageBox:
    """Return the question whether to go on without exporting predictions of images.

    `names` are those of the images; `stops` are sentences on the work that would not be
    done. The answer to go on is `QMessageBox.StandardButton.Close`.
    """
    said = list(stops)
    if names:
        shown = listed([f"“{name}”" for name in names], _NAMES)
        said.insert(
            0,
            f"The predictions of {shown} are in no file: they are gone when {when}. "
            "Export… in the Predict dock keeps them.",
        )
    title = title or ("Close without exporting?" if names else "Stop and close?")
    box = QMessageBox(
        QMessageBox.Icon.Question,
        title,
        "\n\n".join(said),
        QMessageBox.StandardButton.Close | QMessageBox.StandardButton.Cancel,
        window,
    )
    # "Close" alone may be taken for that of the question
    box.button(QMessageBox.StandardButton.Close).setText(title.removesuffix("?"))
    box.setDefaultButton(QMessageBox.StandardButton.Cancel)
    return box
