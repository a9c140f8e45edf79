"""Results into files, and whole folders of images into files."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

from psygnal import Signal

from napari_unet.core.annotation.annotations import plain_classes
from napari_unet.core.events import FilePredicted, FileWritten
from napari_unet.core.jobs import ExportJob, PredictFolderJob
from napari_unet.core.text import counted
from napari_unet.io.names import file_stem
from napari_unet.session.prediction.folder_outcome import FolderOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_unet.core.annotation.annotations import ClassKind
    from napari_unet.core.messages import Failed
    from napari_unet.core.settings import Prediction, Segmentation
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.prediction.model_results import ModelResults
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.prediction.segmenting import Segmenting
    from napari_unet.session.project.store import ProjectStore
    from napari_unet.session.worker.client import Handle, Worker

Format = Literal["tif", "ome.tif", "zarr"]

# What names of files say of what is in them.
_WRITTEN = ("cells", "classes", "probabilities")


@dataclass(slots=True, eq=False)
class _Export:
    """All that was asked for at once, and what has become of it.

    Attributes
    ----------
    folder : Path
    left : int
        Images that are not over.
    files : int
        Those that were written.
    problems : list of str
        A sentence for each image that was not exported.
    cancelled : bool
    """

    folder: Path
    left: int
    files: int = 0
    problems: list[str] = field(default_factory=list)
    cancelled: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What is written of one image."""

    of: _Export
    job: ExportJob
    results: ResultLayers


class Exporting:
    """Writes results of images into files, when their cells are up to date.

    Parameters
    ----------
    store : ProjectStore
    images : ImageList
    worker : Worker
    made : ModelResults
    segmenting : Segmenting
    """

    message = Signal(str, str)
    """A level and a sentence."""
    changed = Signal()

    def __init__(
        self,
        store: ProjectStore,
        images: ImageList,
        worker: Worker,
        made: ModelResults,
        segmenting: Segmenting,
    ) -> None:
        self._store, self._images, self._worker = store, images, worker
        self._made, self._segmenting = made, segmenting
        self._waiting: list[_Part] = []
        # their pixels are being copied to where the worker can read them
        self._preparing: list[_Part] = []
        self._handles: list[Handle] = []
        self._folder_job: Handle | None = None
        self.outcome: FolderOutcome | None = None
        """What became of the images of the last folder that was predicted."""
        segmenting.changed.connect(self._go_on)
        segmenting.failed.connect(self._on_no_cells)

    @property
    def running(self) -> bool:
        """Whether files are being written, or wait for their cells."""
        return bool(self._waiting or self._preparing or self._handles)

    @property
    def status(self) -> str:
        """What goes on, in a few words; empty if nothing does."""
        if self._folder_job is not None:
            return f"{self._folder_job.title.replace('Predict', 'Predicting', 1)} …"
        return "Writing files …" if self.running else ""

    @property
    def progress(self) -> float:
        """Share of the job that is done, 0 to 1."""
        return self._handles[0].progress if self._handles else 0.0

    def name_of(self, image_id: str) -> str:
        """Return the first part of the names of an image's files."""
        return file_stem(self._store.project.image(image_id).name, "image")

    def in_the_way(self, folder: Path, image_ids: Iterable[str]) -> list[Path]:
        """Return the files of a folder that may be overwritten."""
        if not folder.is_dir():
            return []
        known = {image.id for image in self._store.project.images}
        names = [self.name_of(i) for i in image_ids if i in known]
        return sorted(
            path
            for path in folder.iterdir()
            for name in names
            if path.name.startswith(tuple(f"{name}_{what}." for what in _WRITTEN))
        )

    def kinds(self, image_ids: Iterable[str]) -> set[ClassKind]:
        """Return what was found in images: cells, regions or both."""
        found = [r for i in image_ids if (r := self._made.latest.get(i)) is not None]
        return {c.kind for results in found for c in results.classes}

    def export(
        self,
        folder: Path,
        image_ids: Iterable[str],
        *,
        masks: bool = True,
        probabilities: bool = False,
        table: bool = True,
        format: Format = "tif",  # noqa: A002 - as in `ExportJob`
    ) -> None:
        """Write the results of images; what is in the way is overwritten.

        Images that cannot be exported are left out; the last message names them.

        Raises
        ------
        ValueError
            If there is no image that can be exported, or nothing is to be written.
        """
        if not (masks or probabilities or table):
            raise ValueError("Choose masks, probabilities or the table to be written.")
        what = {"masks": masks, "table": table, "maps": probabilities}
        export, parts = _Export(folder, 0), []
        for image_id in dict.fromkeys(image_ids):
            try:
                results = self._results_of(image_id)
                job = self._job(results, folder, format, **what)
            except (ValueError, OSError) as error:
                export.problems.append(str(error))
            else:
                parts.append(_Part(export, job, results))
        if not parts:
            raise ValueError(" ".join(export.problems) or "Predict an image first.")
        export.left = len(parts)
        self._waiting += parts
        # cells that could not be found before are tried once more
        self._segmenting.wake()
        self._go_on()
        self.changed.emit()

    def _results_of(self, image_id: str) -> ResultLayers:
        results = self._made.latest.get(image_id)
        images = {image.id: image.name for image in self._store.project.images}
        if image_id not in images:
            name = results.image.name if results is not None else "An image"
            raise ValueError(f"{name} was removed from the project.")
        if results is None:
            raise ValueError(f"{images[image_id]} has not been predicted yet.")
        return results

    def _job(
        self,
        results: ResultLayers,
        folder: Path,
        format: Format,  # noqa: A002 - as in `ExportJob`
        *,
        masks: bool,
        table: bool,
        maps: bool,
    ) -> ExportJob:
        if not (masks or maps or results.has_cells):
            raise ValueError(
                f"{results.image.name} has regions but no cells, of which the table "
                "would be: choose masks or probabilities."
            )
        cells = results.has_cells and (masks or table)
        regions = results.has_regions and masks
        return ExportJob(
            folder=str(folder),
            name=self.name_of(results.image.id),
            image=self._images.stored(results.image.id),
            cells=results.files["cells"] if cells else None,
            probabilities=results.files["probability"],
            classes=plain_classes(results.classes),
            masks=masks,
            table=table,
            maps=maps,
            class_masks=results.files["classes"] if regions else None,
            format=format,
        )

    def predict_folder(
        self,
        model: Path,
        source: Path,
        target: Path,
        settings: Prediction,
        segmentation: Segmentation,
    ) -> None:
        """Predict all images of a folder into another one, by the worker."""
        if self.outcome is not None and self.outcome.running:
            self.message.emit("error", "A folder is being predicted: cancel it first.")
            return
        job = PredictFolderJob(
            str(model), str(source), str(target), settings, segmentation
        )
        self.outcome = FolderOutcome(target)
        handle = self._worker.submit(job, f"Predict the images in {source.name}")
        self._folder_job = handle
        self._handles.append(handle)
        handle.event.connect(self._on_event)
        handle.ended.connect(partial(self._on_folder_ended, handle))
        handle.failed.connect(partial(self._on_folder_failed, handle))
        self.changed.emit()

    def dismiss_outcome(self) -> None:
        """Forget what became of a folder, if that is over."""
        if self.outcome is not None and not self.outcome.running:
            self.outcome = None
            self.changed.emit()

    def cancel(self) -> None:
        """Stop writing; files that are complete stay."""
        for part in self._waiting + self._preparing:
            part.of.cancelled = True
            self._over(part)
        self._waiting.clear()
        self._preparing.clear()
        for handle in self._handles:
            handle.cancel()

    def close(self) -> None:
        """Stop, at the end of the workspace."""
        self._segmenting.changed.disconnect(self._go_on)
        self._segmenting.failed.disconnect(self._on_no_cells)
        self.cancel()

    def _go_on(self) -> None:
        """Begin to write when all cells are those of the settings."""
        if not self._waiting or not self._segmenting.idle:
            return
        waiting, self._waiting = self._waiting, []
        for part in waiting:
            try:
                # the table needs the grey values
                ready = self._images.ensure(part.results.image.id, None)
            except KeyError:
                self._over(part, f"{part.job.name} was removed from the project.")
                continue
            except (ValueError, OSError) as error:
                self._over(part, str(error))
                continue
            self._preparing.append(part)
            ready.then(partial(self._begin, part), partial(self._on_no_pixels, part))

    def _begin(self, part: _Part) -> None:
        if part in self._preparing:
            self._preparing.remove(part)
            self._submit(part)

    def _on_no_pixels(self, part: _Part, why: str) -> None:
        if part in self._preparing:
            self._preparing.remove(part)
            self._over(part, why)

    def _on_no_cells(self, _why: str) -> None:
        """Give up what waits for cells, which do not come; why has been told."""
        waiting, self._waiting = self._waiting, []
        for part in waiting:
            self._over(part, f"{part.job.name}: its cells could not be found.")

    def _submit(self, part: _Part) -> None:
        handle = self._worker.submit(part.job, f"Export {part.job.name}")
        self._handles.append(handle)
        # tiles that come from now on are not in the files
        part.results.unexported = False
        handle.event.connect(partial(self._on_written, part))
        handle.ended.connect(partial(self._on_ended, handle, part))
        handle.failed.connect(partial(self._on_failed, handle, part))
        self.changed.emit()

    def _on_written(self, part: _Part, event: object) -> None:
        if isinstance(event, FileWritten):
            part.of.files += 1
        self.changed.emit()

    def _on_ended(self, handle: Handle, part: _Part, cancelled: bool) -> None:
        self._handles.remove(handle)
        if cancelled:
            part.of.cancelled = part.results.unexported = True
        self._over(part)

    def _on_failed(self, handle: Handle, part: _Part, failed: Failed) -> None:
        self._handles.remove(handle)
        part.results.unexported = True
        self._over(part, f"{part.job.name}: {failed.sentence}")

    def _over(self, part: _Part, problem: str = "") -> None:
        """Note that an image is done with; tell of all when it was the last one."""
        if problem:
            part.of.problems.append(problem)
        part.of.left -= 1
        if not part.of.left:
            self._tell(part.of)
        self.changed.emit()

    def _on_event(self, event: object) -> None:
        if isinstance(event, FilePredicted) and self.outcome is not None:
            self.outcome.note(event)
        self.changed.emit()

    def _on_folder_ended(self, handle: Handle, cancelled: bool) -> None:
        self._handles.remove(handle)
        self._end_folder(
            "It was cancelled: other images were not looked at." if cancelled else ""
        )

    def _on_folder_failed(self, handle: Handle, failed: Failed) -> None:
        self._handles.remove(handle)
        self._end_folder(failed.sentence)

    def _end_folder(self, why: str) -> None:
        self._folder_job = None
        if self.outcome is not None:
            self.outcome.end = why
            level = "info" if self.outcome.good else "warning"
            self.message.emit(level, self.outcome.sentence)
        self.changed.emit()

    def _tell(self, export: _Export) -> None:
        """Say what was written where, and what was not."""
        number = export.files
        what = counted(number, "file is", "files are")
        end = " (cancelled)." if export.cancelled else "."
        sentence = f"{what} in {export.folder} now{end}"
        if export.problems:
            left_out = " ".join(export.problems)
            told = f"{sentence} Not exported: {left_out}" if number else left_out
            self.message.emit("error", told)
        elif number or not export.cancelled:
            self.message.emit("info", sentence)
