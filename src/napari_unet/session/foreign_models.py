"""Import and export of models of other programs, by the worker."""

from __future__ import annotations

import zipfile
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.events import ModelFormatsFound, ModelWritten
from napari_unet.core.jobs import ConvertModelJob, ExportModelJob, ModelFormatsJob
from napari_unet.core.text import printable
from napari_unet.io.model_file import SUFFIX
from napari_unet.io.names import file_stem
from napari_unet.session.models import CONVERTED

if TYPE_CHECKING:
    from napari_unet.core.events import WrittenFormat
    from napari_unet.core.jobs import Job
    from napari_unet.core.messages import Failed
    from napari_unet.core.publication import Publication
    from napari_unet.session.models import ModelList
    from napari_unet.session.session import Session
    from napari_unet.session.worker.client import Handle

# Only the worker knows the formats. What looks like one of them by its name ...
_ENDS = (".modeldef.h5", ".caffemodel.h5", ".pth", ".pt", ".torchscript", ".onnx")
# ... or by a file in its folder or zip file, which may be named itself.
_WITHIN = ("rdf.yaml", "bioimageio.yaml", "model.yaml", "plans.json")
PATTERNS = (*(f"*{end}" for end in (*_ENDS, *_WITHIN)), "*.zip")
"""Names of files that may be models of other programs; also in napari's manifest."""


def is_foreign(path: Path) -> bool:
    """Whether a file or folder looks like a model of another program."""
    name = path.name.lower()
    if name.endswith(_ENDS) or _is_within(name):
        return True
    try:
        if path.is_dir():
            return any(_is_within(file.name) for file in path.iterdir())
        if not name.endswith(".zip"):
            return False
        with zipfile.ZipFile(path) as archive:
            return any(_is_within(Path(file).name) for file in archive.namelist())
    # a damaged zip file raises whatever its reader stumbles over
    except Exception:
        return False


def _is_within(name: str) -> bool:
    # a word and a dot may be before it
    return f".{name}".endswith(tuple(f".{file}" for file in _WITHIN))


class ForeignModels:
    """Converts models from and for other programs; one at a time.

    `status` is the current work in a few words; `formats` are those that can be
    written, empty until `ask_formats` was answered.
    """

    changed = Signal()
    """It began or ended, or the formats are known."""

    def __init__(self, session: Session, models: ModelList) -> None:
        self._store, self._worker, self._models = session.store, session.worker, models
        self.message = session.message
        self._handle: Handle | None = None
        self._source = Path()  # the last one that was imported
        self.status = ""
        self.formats: tuple[WrittenFormat, ...] = ()

    @property
    def running(self) -> bool:
        """Whether a model is being read or written."""
        return self._handle is not None

    def take(self, path: Path) -> None:
        """Convert a foreign model into one of the project, and choose it.

        If two files are one model, the second is ignored while the first is read:
        people drop both.
        """
        if self.running and path in map(self._source.with_name, _pair(self._source)):
            return
        target = self._free(file_stem(_name_of(path), "model"))
        self._source = path
        job = ConvertModelJob(str(path), str(target))
        self._begin(job, f"Reading {printable(path.name)} …")

    def export(
        self,
        model: Path,
        path: Path,
        format: str,  # noqa: A002 - as in the job
        publication: Publication | None = None,
    ) -> None:
        """Write a model in a format; existing files are replaced."""
        job = ExportModelJob(str(model), str(path), format, publication)
        self._begin(job, f"Writing {printable(path.name)} …")

    def ask_formats(self) -> None:
        """Request the list of formats, if unknown; `changed` is emitted then."""
        if not self.formats:
            handle = self._worker.submit(ModelFormatsJob())
            handle.event.connect(self._on_formats)

    def close(self) -> None:
        """Cancel the current work."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.cancel()

    def _free(self, name: str) -> Path:
        """Return an unused path for a model of this name."""
        folder = self._store.run_folder / CONVERTED
        names = (name if n == 1 else f"{name} {n}" for n in count(1))
        files = (folder / f"{each}{SUFFIX}" for each in names)
        return next(file for file in files if not file.exists())

    def _begin(self, job: Job, status: str) -> None:
        if self._handle is not None:
            self.message.emit("error", f"{self.status} Wait until it is done.")
            return
        self.status = status
        self._handle = self._worker.submit(job)
        self._handle.event.connect(partial(self._on_event, job))
        self._handle.ended.connect(self._on_ended)
        self._handle.failed.connect(self._on_failed)
        self.changed.emit()

    def _on_event(self, job: Job, event: object) -> None:
        if self._handle is None or not isinstance(event, ModelWritten):
            return
        sentence = f"{printable(event.path)} is written."
        if isinstance(job, ConvertModelJob):
            try:
                self._models.add(event.path)
                self._models.select(event.path)
            except ValueError as error:
                self.message.emit("error", str(error))
                return
            name = Path(event.path).stem
            sentence = (
                f"{printable(Path(job.source).name)} is the model “{name}” of this "
                "project now, and chosen."
            )
        self.message.emit("info", " ".join([sentence, *event.notes]))

    def _on_formats(self, event: object) -> None:
        if isinstance(event, ModelFormatsFound):
            self.formats = event.formats
            self.changed.emit()

    def _on_ended(self, _cancelled: bool) -> None:
        self._handle = None
        self.changed.emit()

    def _on_failed(self, failed: Failed) -> None:
        self._handle = None
        self.message.emit("error", failed.sentence)
        self.changed.emit()


def _pair(path: Path) -> list[str]:
    """Return the names of both files of a model that consists of two."""
    ends = _ENDS[:2]
    if not path.name.lower().endswith(ends):
        return []
    return [_name_of(path) + end for end in ends]


def _name_of(path: Path) -> str:
    """Return what a model is called by the name of its file or folder."""
    if path.name in _WITHIN:
        return path.parent.name
    if path.is_dir():
        return path.name
    ends = (end for end in _ENDS if path.name.lower().endswith(end))
    return path.name[: -len(next(ends, path.suffix)) or None]
