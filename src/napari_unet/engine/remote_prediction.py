"""Prediction on another computer into files here: the same that are made here."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from errno import ENOSPC
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from napari_unet.core.events import FileBegun, FilePredicted
from napari_unet.core.remote_messages import RemoteRun
from napari_unet.engine.batch_prediction import conclude
from napari_unet.engine.file_problem import problem_of
from napari_unet.engine.remote_job import RemoteError, RemoteJob, remote_events
from napari_unet.io.asked_prediction import AskedFile, AskedPrediction
from napari_unet.io.atomic import make_folder, remove, write_text
from napari_unet.io.bundle import write_images
from napari_unet.io.folder_lock import temporary_folder
from napari_unet.io.images import read_image, read_input
from napari_unet.io.names import image_name
from napari_unet.io.prediction_folder import UNFINISHED, distinct_files
from napari_unet.io.provenance import read_provenance
from napari_unet.io.records import read_json
from napari_unet.io.remote import absolute
from napari_unet.io.remote_results import place_results

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from napari_unet.core.events import Event
    from napari_unet.core.images.image import Image
    from napari_unet.core.model import Model
    from napari_unet.core.remote_messages import Order
    from napari_unet.io.prediction_basis import PredictionBasis
    from napari_unet.io.prediction_folder import PredictionFolder

NOTE = "far.json"


class RemoteNote(RemoteRun):
    """A prediction that goes on elsewhere, noted in the folder of its results."""

    files: tuple[str, ...]  # that were sent, in their order
    asked: AskedPrediction


@dataclass(slots=True)
class RemotePredictor:
    """Predicts files on another computer, with one model and one set of settings.

    Errors are as of `FilePredictor` and `remote_events`. Once a job `is_there`, it goes
    on without us.
    """

    model: Model
    basis: PredictionBasis
    folder: PredictionFolder
    where: str
    queue: str = ""
    is_there: bool = field(default=False, init=False)

    def predict_files(
        self,
        files: Sequence[Path],
        wanted: Callable[[], Order],
        say: Callable[[str], None],
        axes: str | None = None,
        *,
        overwrite: bool = False,
    ) -> Generator[Event | None, None, None]:
        """Predict files; the events are those of `batch_prediction.predict_files`.

        What is there is not sent. If the generator is closed without that it is
        `wanted` to be cancelled, the prediction goes on there, and the same call looks
        at it again. None comes where another job can take its turn.
        """
        files = distinct_files(files)
        self.folder.check_targets(files)
        with self.folder.claimed(self.basis.makes(axes)):
            run = _Run(self, list(files), axes, wanted, say, overwrite)
            yield from run.events()
            basis = replace(self.basis, settings=run.settings)
            conclude(self.folder, basis, files, axes, run.failed)


@dataclass(eq=False)
class _Run:
    """One call of `RemotePredictor.predict_files`."""

    _of: RemotePredictor
    _files: list[Path]
    _axes: str | None
    _wanted: Callable[[], Order]
    _say: Callable[[str], None]
    _overwrite: bool

    def __post_init__(self) -> None:
        self._note = self._of.folder.folder / UNFINISHED / NOTE
        self._kinds: dict[Path, tuple[str, ...]] = {}
        self._over = 0
        self.failed: set[Path] = set()
        self.settings = self._of.basis.settings

    def events(self) -> Generator[Event | None, None, None]:
        """Predict what is not there yet."""
        rows: dict[Path, AskedFile] = {}
        for file in self._files:
            try:
                if row := self._asked(file):
                    rows[file] = row
                else:
                    yield self._done(file, there=True)
            except (ValueError, OSError, MemoryError) as error:
                yield self._done(file, problem=problem_of(file, error))
        if not rows:
            return
        asked = self._asked_of(rows.values())
        if (note := self._noted(asked)) is not None:
            try:
                yield from self._followed(note, None)
            except RemoteError as error:
                if error.error != "NoJobError":
                    raise
            else:
                return
        yield from self._sent(rows)

    def _asked(self, file: Path) -> AskedFile | None:
        """Return what is told of a file; None if all its results are there."""
        folder = self._of.folder
        made = self._of.basis.provenance(file, self._axes)
        if precision := self._precision_of(file):
            settings = {**made.settings, "precision": precision}
            made = replace(made, settings=settings)
        kinds = folder.missing(file, made, overwrite=self._overwrite)
        if not kinds:
            return None
        self._kinds[file] = kinds
        return AskedFile.of(file, read_input(file, self._axes), made.stamp)

    def _asked_of(self, rows: Iterable[AskedFile]) -> AskedPrediction:
        basis = self._of.basis
        return AskedPrediction(
            model=basis.model.name,
            sha256=basis.sha256,
            settings=basis.settings.replace(device="auto"),
            segmentation=basis.segmentation,
            kinds=self._of.folder.kinds,
            channel=basis.channel,
            axes=self._axes,
            files=tuple(rows),
        )

    def _noted(self, asked: AskedPrediction) -> RemoteNote | None:
        """Return the job that is at work on just this, if there is one."""
        if self._overwrite:
            return None
        try:
            note = RemoteNote.model_validate(read_json(self._note))
        except (OSError, ValueError):
            return None
        same = note.asked.replace(files=asked.files) == asked
        known = set(asked.files) <= set(note.asked.files)
        return note if same and known and note.where == self._of.where else None

    def _sent(self, rows: dict[Path, AskedFile]) -> Generator[Event | None, None, None]:
        """Send images, and take in what comes of them."""
        make_folder(self._note.parent)
        with temporary_folder(self._note.parent) as at:
            bundle = at / "bundle.zip"
            while rows:
                read: list[Path] = []
                try:
                    yield from write_images(
                        bundle,
                        self._images(rows, read),
                        self._of.model,
                        self._asked_of(rows.values()),
                    )
                    break
                except (ValueError, OSError) as error:
                    if not read or getattr(error, "errno", None) == ENOSPC:
                        raise
                    # a damaged image costs only itself
                    rows.pop(read[-1])
                    yield self._done(read[-1], problem=problem_of(read[-1], error))
            else:
                return
            note = RemoteNote(
                where=self._of.where,
                queue=self._of.queue,
                job=uuid4().hex,
                files=tuple(str(absolute(file)) for file in rows),
                asked=self._asked_of(rows.values()),
            )
            yield from self._followed(note, bundle)

    def _images(self, rows: Iterable[Path], read: list[Path]) -> Iterator[Image]:
        for file in rows:
            read.append(file)
            yield read_image(file, self._axes)

    def _followed(
        self, note: RemoteNote, bundle: Path | None
    ) -> Generator[Event | None, None, None]:
        """Follow a job there, and put results where they belong."""
        names = {row.name: k for k, row in enumerate(note.asked.files)}
        wanted = {str(absolute(file)): file for file in self._kinds}
        left = {k: wanted[p] for k, p in enumerate(note.files) if p in wanted}
        with temporary_folder() as come:
            device = self._of.basis.settings.device
            job = RemoteJob(note, come, device=device)
            running = remote_events(
                job, bundle, self._wanted, self._say, lambda: self._keep(note)
            )
            with closing(running):
                for event in running:
                    number = names.get(_name_in(event), -1)
                    if isinstance(event, FileBegun):
                        if number in left:
                            path, done = str(left[number]), self._over + 1
                            yield FileBegun(path, done, len(self._files))
                    elif isinstance(event, FilePredicted):
                        if number in left:
                            file = left.pop(number)
                            yield self._placed(file, event, job.results_of(number))
                    else:
                        yield event
        remove(self._note)
        for file in left.values():
            yield self._done(file, problem=f"{file}: its results did not come.")

    def _placed(self, file: Path, event: FilePredicted, packed: Path) -> FilePredicted:
        """Put results of an image where they belong, and tell of it."""
        problem = event.problem
        if problem is not None:
            problem = problem.replace(event.path, str(file))
        try:
            if packed.exists():
                with self._of.folder.at_work(file):
                    place_results(
                        packed,
                        self._of.folder,
                        file,
                        self._kinds[file],
                        complete=problem is None,
                    )
                packed.unlink()
                self._precision_of(file)
            elif problem is None:
                problem = f"{file}: its results did not come."
        except (ValueError, OSError) as error:
            problem = problem_of(file, error)
        return self._done(file, event.cells, problem=problem, notes=event.notes)

    def _done(self, file: Path, cells: int = 0, **what: Any) -> FilePredicted:
        self._over += 1
        if what.get("problem") is not None:
            self.failed.add(file.absolute())
        return FilePredicted(str(file), cells, self._over / len(self._files), **what)

    def _precision_of(self, file: Path) -> str:
        """Return that of results that are there; empty if it was given, or none is."""
        if self._of.basis.settings.precision != "auto":
            return ""
        for path in self._of.folder.results(file):
            if (found := read_provenance(path)) is not None:
                precision = str(found.settings.get("precision"))
                self.settings = self.settings.replace(precision=precision)
                return precision
        return ""

    def _keep(self, note: RemoteNote) -> None:
        self._of.is_there = True
        write_text(self._note, note.model_dump_json())


def _name_in(event: Event | None) -> str:
    """Return the name of the image that an event is about, as it was sent."""
    if not isinstance(event, FileBegun | FilePredicted):
        return ""
    return sent_name(event.path)


def sent_name(path: str) -> str:
    """Return the name of an image by its path on a computer of any system."""
    return image_name(path.replace("\\", "/").rsplit("/", 1)[-1])
