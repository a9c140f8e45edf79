"""The project as a whole: saved as a folder, opened, and its last step undone."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ref

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog, QMenu, QMessageBox, QPushButton

from napari_unet.core.text import listed
from napari_unet.gui.annotate.locate_image_dialog import open_images
from napari_unet.gui.annotate.report_errors import report_errors, reporting
from napari_unet.gui.dialogs import ask_folder
from napari_unet.gui.unexported import question
from napari_unet.gui.widgets import follow, plain
from napari_unet.session.annotating.shortcuts import key_of, readable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from qtpy.QtWidgets import QWidget

    from napari_unet.session.workspace import Workspace

# Images of a recent project that its tooltip names.
_NAMED = 10
# What takes longer is told of when it begins, too.
_LONG_MS = 1000


class ProjectButton(QPushButton):
    """A menu to begin a project, to open one, and to save it anywhere."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self.setText("Project")
        self.setToolTip("Begin, open or save a project; add a folder of images.")
        self.menu_ = QMenu(self)
        self.menu_.setToolTipsVisible(True)
        self.setMenu(self.menu_)
        new = self.menu_.addAction("New project")
        new.setToolTip("Begin with nothing; this project is kept among the recent.")
        new.triggered.connect(self._on_new)
        self.recent = self.menu_.addMenu("Recent projects")
        self.recent.setToolTipsVisible(True)
        save = self.menu_.addAction("Save project as…")
        save.setToolTip(
            "A folder with annotation as TIFF files and models, to be opened on any "
            "machine. All work is saved by itself in any case."
        )
        save.triggered.connect(self._on_save)
        open_ = self.menu_.addAction("Open project…")
        open_.setToolTip("A folder that was saved, or another project's.")
        open_.triggered.connect(self._on_open)
        folder = self.menu_.addAction("Add a folder of images…")
        folder.setToolTip("Open all image files of a folder, each as an image.")
        folder.triggered.connect(self._on_folder)
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
        of = "" if image is None else f" of {plain(image.name)}"
        self.clear.setText(f"Remove annotation{of}")
        self._list_recent()

    def save_as(self, folder: str) -> None:
        """Save the project as a folder, in the background."""
        with report_errors(self._workspace):
            saving = self._workspace.save_as(Path(folder))
            told = partial(_tell_saving, self._workspace, saving)
            QTimer.singleShot(_LONG_MS, told)

    def open_folder(self, folder: str) -> None:
        """Open a project in place of this one, with its images."""
        # this button is deleted with the page of the project that is left
        workspace, window = self._workspace, self.window()
        if not may_leave(workspace, self):
            return
        with report_errors(workspace):
            workspace.open_project(Path(folder))
            if window is not None:
                open_images(workspace, window)

    def _list_recent(self) -> None:
        self.recent.clear()
        for project in self._workspace.recent_projects():
            when = f"{project.modified:%Y-%m-%d %H:%M}"
            names = listed([plain(name) for name in project.images], 2)
            action = self.recent.addAction(f"{names}  ·  {when}")
            every = "\n".join(project.images[:_NAMED])
            action.setToolTip(f"{every}\n{project.folder}")
            action.triggered.connect(partial(_open, ref(self), str(project.folder)))
        self.recent.setEnabled(not self.recent.isEmpty())

    def _on_new(self) -> None:
        workspace = self._workspace
        if may_leave(workspace, self):
            # the menu is deleted with the page: it has to be closed first
            QTimer.singleShot(0, reporting(workspace, partial(_begin, workspace)))

    def _on_folder(self) -> None:
        ask_folder(self, "Add a folder of images", self.add_folder)

    def add_folder(self, folder: str) -> None:
        """Open all images of a folder, one by one, so that napari stays responsive."""
        with report_errors(self._workspace):
            steps = self._workspace.add_folder(Path(folder))
            next_step(self._workspace, steps)

    def _on_save(self) -> None:
        dialog = QFileDialog(self, "Save project as")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.selectFile(self._workspace.store.project.name)
        # not "File name": a folder is made
        dialog.setLabelText(QFileDialog.DialogLabel.FileName, "Folder:")
        dialog.fileSelected.connect(self.save_as)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _on_open(self) -> None:
        ask_folder(self, "Open project", self.open_folder)


def next_step(workspace: Workspace, steps: Iterator[None]) -> None:
    """Do one step, and the next when napari has handled its events."""
    with report_errors(workspace):
        if not workspace.closed and next(steps, False) is None:
            QTimer.singleShot(0, partial(next_step, workspace, steps))


def may_leave(workspace: Workspace, parent: QWidget) -> bool:
    """Whether the project can be left now, and may be.

    Where predictions are in no file, people are asked.
    """
    possible = False
    with report_errors(workspace):
        # before the question: the answer would be of no use
        workspace.check_idle()
        possible = True
    names = workspace.prediction.unexported()
    if not (possible and names and workspace.preferences.ask_before_closing):
        return possible
    box = question(parent, names, "the project is left", "Leave without exporting?")
    return bool(box.exec() == QMessageBox.StandardButton.Close)


def _open(button: ref[ProjectButton], folder: str, _checked: bool = False) -> None:
    # the menu keeps the action, which must not keep the button alive
    alive = button()
    if alive is not None:
        QTimer.singleShot(0, partial(alive.open_folder, folder))


def _tell_saving(workspace: Workspace, saving: Future[Path]) -> None:
    if not saving.done():
        workspace.message.emit("info", "Saving the project; you can go on working.")


def _begin(workspace: Workspace) -> None:
    workspace.new_project()
    workspace.begin()


class UndoButton(QPushButton):
    """Undoes the last step that is not a stroke, and says which it is."""

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
        strokes = f"Strokes are undone with {readable('Control-Z')} in the canvas."
        self.setToolTip(f"Undo: {what} ({key_of('undo')})." if what else strokes)
