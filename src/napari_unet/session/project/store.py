"""A project's folder: record, annotations, models, and undo.

`project.json` is written within a second of a change, annotations are memory maps that
are flushed within two. A kill loses nothing of what was painted, and of the record at
most the last second.
"""

from __future__ import annotations

import shutil
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from psygnal import Signal

from napari_unet.io.atomic import remove_strays
from napari_unet.io.image_paths import is_missing
from napari_unet.io.project_record import (
    MODELS,
    Project,
    ProjectFile,
    ProjectImage,
)
from napari_unet.io.records import is_real_folder, private_folder
from napari_unet.session.preferences import Preferences
from napari_unet.session.project.annotation_set import AnnotationSet
from napari_unet.session.project.edit_files import EditFiles
from napari_unet.session.project.recovery import default_root, lock
from napari_unet.session.project.saved_folder import (
    folder_name,
    save_folder,
    saved_before,
    working_copy,
)
from napari_unet.session.project.saving import Saving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future
    from pathlib import Path

    from filelock import FileLock
    from numpy.typing import NDArray

    from napari_unet.session.project.annotation_file import AnnotationFile
    from napari_unet.session.project.annotation_set import Planes
    from napari_unet.session.project.places_log import PlaneIndex

# So many steps can be undone; each keeps the annotation it replaced.
_STEPS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A step for undo: what was done, and the state before."""

    label: str  # in words, for people
    before: Project
    after: Project
    image_id: str | None = None  # image whose annotation was replaced or removed
    file: str | None = None  # the annotation's file before; None if there was none
    # tracked changes of that file, see `AnnotationFile`
    touched: dict[PlaneIndex, NDArray[Any]] | None = None


class ProjectStore:
    """The open project; made by `create` or `open`.

    `autosave_seconds` is the longest time until strokes are on disk, against power
    cuts.
    """

    changed = Signal(Project)
    undone = Signal()
    replaced = Signal(str)
    """The annotation of an image (its id) was replaced or removed."""
    save_failed = Signal(str)
    """Saving failed; a sentence. It is tried again."""
    opening_notes = Signal(str)
    """A sentence on what was left out or lost in opening the project."""

    def __init__(
        self,
        folder: Path,
        kept: ProjectFile,
        held: FileLock,
        is_new: bool = False,
        notes: Iterable[str] = (),
    ) -> None:
        self.folder = folder
        self.autosave_seconds: float = Preferences().autosave_seconds
        self._project = kept.project
        self._origin = kept.origin
        self._annotations = AnnotationSet(folder, kept.files)
        self._annotations.notes += notes
        self._edits = EditFiles(folder)
        self._lock = held
        self._steps: deque[Step] = deque(maxlen=_STEPS)
        self._saving = Saving(
            lambda: self._writer(self._project, self._annotations.names),
            lambda: self._annotations.dirty() + self._edits.dirty(),
        )
        self._is_new, self._closed = is_new, False
        self._tidy()

    @classmethod
    def create(cls, root: Path, name: str = "project") -> ProjectStore:
        """Make a new project in a folder of projects; OSError if it cannot be."""
        folder = root / folder_name(name)
        remove_strays(private_folder(root))
        folder.mkdir(mode=0o700)
        held = lock(folder)
        kept = ProjectFile(project=Project(id=uuid4().hex, name=name))
        kept.write(folder)
        return cls(folder, kept, held, is_new=True)

    @classmethod
    def open(cls, folder: Path, root: Path | None = None) -> ProjectStore:
        """Open a project, or a working copy (in `root`) of one saved as a folder.

        ProjectLockedError if it is open elsewhere; FileNotFoundError or ValueError if
        there is no project, or it is damaged or of a newer version: nothing is changed.
        """
        root = root or default_root()
        folder, notes = working_copy(folder, root)
        held = lock(folder)
        try:
            kept = ProjectFile.read(folder)
            if not is_real_folder(folder / MODELS):
                raise ValueError(f"{folder / MODELS}: is a link, and is not opened.")
            if folder.resolve().parent != root.resolve():
                kept, notes = kept.confined()
            # the owner of the lock is the only one that writes there
            remove_strays(folder, age_s=0)
            remove_strays(folder / MODELS)
            return cls(folder, kept, held, notes=notes)
        except BaseException:
            held.release()
            raise

    @property
    def project(self) -> Project:
        """The present record."""
        return self._project

    @property
    def run_folder(self) -> Path:
        """Models and checkpoints of the project's runs."""
        folder = self.folder / MODELS
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def update(self, project: Project, what: str = "") -> None:
        """Change the record; it is saved within a second.

        It can be undone if `what` says what was done, such as "rename class".
        """
        if project == self._project:
            return
        if what:
            self._steps.append(Step(what, self._project, project))
            self._tidy()
        self._project = project
        self._saving.record_changed()
        self.changed.emit(project)

    def change_image(self, image_id: str, what: str = "", **fields: Any) -> None:
        """Change fields of an image's record, as `update` does."""
        image = self._project.image(image_id).replace(**fields)
        self.update(self._project.with_image(image), what)

    @property
    def can_undo(self) -> str | None:
        """Name of the step that `undo` would undo; None if there is none."""
        return self._steps[-1].label if self._steps else None

    def undo(self) -> str | None:
        """Undo the last step, except what was painted or changed since.

        Returns what was undone, None if there is nothing; OSError if it cannot be
        written.
        """
        if not self._steps:
            return None
        step = self._steps[-1]
        project = self._project.reverted(step.before, step.after)
        image_id = step.image_id if step.image_id in project.ids else None
        if image_id is None:
            self._project = project
            self._saving.record_changed()
        else:
            image = project.image(image_id)
            file = self._annotations.bring_back(image, step.file, step.touched)
            image = image.replace(annotated=file is not None)
            self._use(image_id, file, project.with_image(image))
        self._steps.pop()
        self._tidy()
        if image_id is not None:
            self.replaced.emit(image_id)
        self.changed.emit(self._project)
        self.undone.emit()
        return step.label

    def annotation(self, image_id: str) -> AnnotationFile:
        """Return the annotation of an image, made if missing.

        KeyError if there is no such image, ValueError if its file does not fit it.
        """
        image = self._project.image(image_id)
        file = self._annotations.get(image)
        if file is None:
            file = self._annotations.make(image)
            if any(step.image_id == image_id for step in self._steps):
                file.touched = {}
            self._project = self._project.with_image(image.begun())
            # Saved at once: after a kill strokes are looked for in the file that the
            # record names.
            try:
                self._saving.now(self._writer(self._project, self._annotations.names))
            except OSError:
                self._saving.record_changed()  # a tick tries again, and says why not
            self.changed.emit(self._project)
        return file

    def cell_edits(self, image_id: str, *, make: bool = False) -> AnnotationFile | None:
        """Return the edits of predicted cells of an image; None if there are none.

        KeyError if there is no such image, ValueError if its file does not fit it;
        OSError if one is to be made and cannot be.
        """
        return self._edits.get(self._project.image(image_id), make=make)

    def replace_annotation(
        self, image_id: str, planes: Planes, what: str, project: Project | None = None
    ) -> None:
        """Replace the annotation of an image; this can be undone.

        After a kill either the old or the new one is there, with its record. The
        present file is retired.

        ValueError if shape or values do not fit, OSError if the disk is full; then
        nothing is changed.

        Parameters
        ----------
        planes : ndarray of int, or mapping of (t, z) to ndarray of int, shape (y, x)
            All of it, or the planes that change.
        what : str
            What was done, such as "import masks".
        project : Project, optional
            The record to save with it, such as one with the new classes of cells.
        """
        new = self._annotations.prepare(self._project.image(image_id), planes)
        self.use_annotation(image_id, new, what, project)

    def preparing_annotation(
        self, image_id: str, planes: Callable[[], Planes]
    ) -> Callable[[], AnnotationFile]:
        """Return a function that makes the file for `use_annotation`, also in a thread.

        It raises as `replace_annotation` does; nothing may be painted meanwhile.
        """
        return self._annotations.preparing(self._project.image(image_id), planes)

    def use_annotation(
        self,
        image_id: str,
        new: AnnotationFile,
        what: str,
        project: Project | None = None,
    ) -> None:
        """Replace an image's annotation by a prepared file."""
        after = project or self._project
        after = after.with_image(after.image(image_id).begun())
        self._replace(image_id, new, what, after)

    def drop_prepared(self, new: AnnotationFile) -> None:
        """Delete a prepared file that is not needed."""
        self._annotations.drop(new)

    def remove_annotation(self, image_id: str, what: str) -> None:
        """Remove the annotation of an image; this can be undone."""
        image = self._project.image(image_id)
        file = self._annotations.get(image)
        if file is not None:
            file.catch_up()
            cleared = image.replace(annotated=False, class_of={}, finished=())
            self._replace(image_id, None, what, self._project.with_image(cleared))

    @property
    def missing(self) -> list[ProjectImage]:
        """Images whose files are no longer where they were."""
        return [image for image in self._project.images if is_missing(image)]

    def save_as(self, folder: Path) -> Path:
        """Save a copy as a portable folder, which is returned; this store stays.

        One within an earlier save of this project stands for that. ValueError if the
        folder holds another project, OSError if it cannot be written.
        """
        return self.begin_save_as(folder).result()

    def begin_save_as(self, folder: Path) -> Future[Path]:
        """Begin to `save_as` in a thread; `close` waits for its end.

        What is painted meanwhile may be in the copy or not.
        """
        project = self._project
        images = [image for image in project.images if image.annotated]
        files = {image.id: self.annotation(image.id) for image in images}
        found = {i.id: self._edits.get(i) for i in project.images}
        edits = {id_: file for id_, file in found.items() if file is not None}

        def copy() -> Path:
            there = saved_before(folder, project)
            save_folder(there, project, self.folder, files, edits)
            return there

        return self._saving.copy(copy)

    def tick(self) -> None:
        """Save what is due in the background; to be called a few times a second."""
        if self._closed:
            return
        for notes in (self._annotations.notes, self._edits.notes):
            while notes:
                self.opening_notes.emit(notes.pop(0))
        sentence = self._saving.tick(self.autosave_seconds)
        if sentence:
            self.save_failed.emit(sentence)

    def flush(self) -> None:
        """Save all, and wait until it is on the disk; OSError if it cannot be."""
        self._saving.flush()

    def close(self) -> None:
        """Save and unlock; a new project in which nothing was done is removed.

        `save_failed` is emitted if that fails.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self.flush()
        except OSError as error:
            self.save_failed.emit(str(error))
        self._steps.clear()
        self._tidy()
        self._saving.close()
        self._annotations.close()
        self._edits.close(self._project.ids)
        unused = not (self._project.images or any(self.run_folder.iterdir()))
        self._lock.release()
        if unused and self._is_new:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _replace(
        self, image_id: str, new: AnnotationFile | None, what: str, after: Project
    ) -> None:
        before, file = self._project, self._annotations.names.get(image_id)
        old = self._annotations.opened.get(image_id)
        touched = old.touched if old is not None else None
        self._use(image_id, new, after)
        self._steps.append(Step(what, before, after, image_id, file, touched))
        self._tidy()
        self.replaced.emit(image_id)
        self.changed.emit(after)

    def _use(self, image_id: str, new: AnnotationFile | None, project: Project) -> None:
        """Save the record with another file; used only if that succeeds."""
        files = dict(self._annotations.names)
        files.pop(image_id, None)
        if new is not None:
            files[image_id] = new.path.name
        try:
            self._saving.now(self._writer(project, files))
        except OSError:
            if new is not None:
                new.close()
            raise
        self._project = project
        self._annotations.use(image_id, new)

    def _writer(self, project: Project, files: dict[str, str]) -> Callable[[], None]:
        """Return a function that writes the record as it is now; later changes wait."""
        kept = ProjectFile(project=project, files=dict(files), origin=self._origin)
        return lambda: kept.write(self.folder)

    def _tidy(self) -> None:
        needed = [step.file for step in self._steps if step.file is not None]
        self._saving.later(self._annotations.tidy(needed))
