"""Asks where the file of an image is, if it is missing."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog

from napari_unet.gui.annotate.report_errors import report_errors

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.workspace import Workspace


def open_images(workspace: Workspace, window: QWidget) -> None:
    """Open the project's images that are closed; ask where the missing ones are."""
    missing = workspace.open_images()
    if missing:
        ask_where(workspace, missing[0], window)


def ask_where(workspace: Workspace, image: ProjectImage, window: QWidget) -> None:
    """Ask where an image is now; other missing ones are searched beside it."""
    names = [Path(source.path).name for source in image.sources if source.path]
    dialog = QFileDialog(window, f"Where is {image.name} now?")
    # such an image is a folder, as files that were opened as one stack are: a dialog
    # for files would open it instead
    folder = any(Path(name).suffix in ("", ".zarr") for name in names)
    mode = QFileDialog.FileMode
    dialog.setFileMode(mode.Directory if folder else mode.ExistingFile)
    dialog.setLabelText(QFileDialog.DialogLabel.Accept, "Open")
    dialog.fileSelected.connect(partial(_found, workspace, image.id, window))
    dialog.open()


def _found(workspace: Workspace, image_id: str, window: QWidget, path: str) -> None:
    with report_errors(workspace):
        workspace.locate(image_id, Path(path))
        still = [
            i for i in workspace.store.missing if not workspace.images.layers(i.id)
        ]
        if still:
            ask_where(workspace, still[0], window)
