"""The project as a whole: saved as a folder, opened, and its last step undone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton

from napari_unet.gui.annotate.locate_image_dialog import open_images
from napari_unet.gui.annotate.report_errors import report_errors, reporting
from napari_unet.gui.widgets import follow
from napari_unet.session.annotating.shortcuts import key_of

if TYPE_CHECKING:
    from napari_unet.session.workspace import Workspace


class ProjectButton(QPushButton):
    """A menu to save the project anywhere and to open another."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self.setText("Project")
        self.setToolTip("Save the project as a folder, or open one.")
        self.menu_ = QMenu(self)
        self.menu_.setToolTipsVisible(True)
        self.setMenu(self.menu_)
        save = self.menu_.addAction("Save project as…")
        save.setToolTip(
            "A folder with annotation as TIFF files and models, to be opened on any "
            "machine. All work is saved by itself in any case."
        )
        save.triggered.connect(self._on_save)
        open_ = self.menu_.addAction("Open project…")
        open_.setToolTip("A folder that was saved, or another project's.")
        open_.triggered.connect(self._on_open)
        self.menu_.addSeparator()
        self.clear = self.menu_.addAction("Remove annotation")
        self.clear.setToolTip("Undo step brings it back.")
        remove = reporting(workspace, workspace.annotating.remove_all)
        self.clear.triggered.connect(remove)
        self.menu_.aboutToShow.connect(self.refresh)

    def refresh(self) -> None:
        """Name the image whose annotation would be removed."""
        images = self._workspace.images
        image = images.current
        self.clear.setEnabled(image is not None and bool(images.places(image.id)))
        of = "" if image is None else f" of {image.name}"
        self.clear.setText(f"Remove annotation{of}")

    def save_as(self, folder: str) -> None:
        """Save the project as a folder."""
        with report_errors(self._workspace):
            self._workspace.store.save_as(Path(folder))
            self._workspace.message.emit("info", f"Saved the project in {folder}.")

    def open_folder(self, folder: str) -> None:
        """Open a project in place of this one, with its images."""
        # this button goes with the page of the project that is left
        workspace, window = self._workspace, self.window()
        with report_errors(workspace):
            workspace.open_project(Path(folder))
            if window is not None:
                open_images(workspace, window)

    def _on_save(self) -> None:
        dialog = QFileDialog(self, "Save project as")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.selectFile(self._workspace.store.project.name)
        dialog.fileSelected.connect(self.save_as)
        dialog.open()

    def _on_open(self) -> None:
        dialog = QFileDialog(self, "Open project")
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.fileSelected.connect(self.open_folder)
        dialog.open()


class UndoButton(QPushButton):
    """Undoes the last step that is no stroke, and says which it is."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self.setText("Undo step")
        self.clicked.connect(reporting(workspace, workspace.annotating.undo))
        follow(self, workspace.store.changed, self.refresh)
        follow(self, workspace.store.undone, self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Say what would be undone."""
        what = self._workspace.store.can_undo
        self.setEnabled(what is not None)
        strokes = "Strokes are undone with Ctrl+Z in the canvas."
        self.setToolTip(f"Undo: {what} ({key_of('undo')})." if what else strokes)
