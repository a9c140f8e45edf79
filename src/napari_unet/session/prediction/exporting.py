"""Results into files, and whole folders of images into files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from psygnal import Signal

from napari_unet.core.annotations import ClassInfo
from napari_unet.core.events import FilePredicted, FileWritten
from napari_unet.core.jobs import ExportJob, PredictFolderJob
from napari_unet.core.text import counted
from napari_unet.session.prediction.folder_outcome import FolderOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_unet.core.annotations import ClassKind
    from napari_unet.core.messages import Failed
    from napari_unet.core.settings import Prediction, Segmentation
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.prediction.model_results import ModelResults
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.prediction.segmenting import Segmenting
    from napari_unet.session.project.store import ProjectStore
    from napari_unet.session.worker.client import Death, Handle, Worker

Format = Literal["tif", "ome.tif", "zarr"]

# What names of files say of what is in them.
_WRITTEN = ("cells", "classes", "probabilities")

# What no system allows in the name of a file.
_FORBIDDEN = str.maketrans(dict.fromkeys('<>:"/\\|?*', "_"))


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
        self._waiting: list[tuple[ExportJob, str]] = []
        # their pixels are being copied to where the worker can read them
        self._preparing: list[ExportJob] = []
        self._handles: list[Handle] = []
        self._written: list[str] = []
        self._folder_job: Handle | None = None
        self.outcome: FolderOutcome | None = None
        """What became of the images of the last folder that was predicted."""
        segmenting.changed.connect(self._go_on)

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
        name = self._store.project.image(image_id).name.translate(_FORBIDDEN)
        return name.strip(" .") or "image"

    def in_the_way(self, folder: Path, image_ids: Iterable[str]) -> list[Path]:
        """Return the files of a folder that may be overwritten."""
        if not folder.is_dir():
            return []
        names = [self.name_of(i) for i in image_ids]
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

        Raises
        ------
        ValueError
            If an image has no results or is closed, or nothing is to be written.
        """
        if not (masks or probabilities or table):
            raise ValueError("Choose masks, probabilities or the table to be written.")
        for image_id in image_ids:
            results = self._results_of(image_id)
            if not (masks or probabilities or results.has_cells):
                raise ValueError(
                    f"{results.image.name} has regions but no cells, of which the "
                    "table would be: choose masks or probabilities."
                )
            cells = results.has_cells and (masks or table)
            regions = results.has_regions and masks
            job = ExportJob(
                folder=str(folder),
                name=self.name_of(image_id),
                image=self._images.stored(image_id),
                cells=results.files["cells"] if cells else None,
                probabilities=results.files["probability"],
                classes=tuple(
                    ClassInfo(name=c.name, kind=c.kind) for c in results.classes
                ),
                masks=masks,
                table=table,
                maps=probabilities,
                class_masks=results.files["classes"] if regions else None,
                format=format,
            )
            self._waiting.append((job, image_id))
        self._go_on()
        self.changed.emit()

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
        self._waiting.clear()
        self._preparing.clear()
        for handle in self._handles:
            handle.cancel()

    def on_death(self, death: Death) -> None:
        """Forget the jobs of a worker that died."""
        dead = [h for h in self._handles if any(h is j for j in death.jobs)]
        self._handles = [h for h in self._handles if h not in dead]
        if any(h is self._folder_job for h in dead):
            self._end_folder("The worker ended: other images were not looked at.")
        self.changed.emit()

    def close(self) -> None:
        """Stop, at the end of the workspace."""
        self.cancel()
        self._segmenting.changed.disconnect(self._go_on)

    def _results_of(self, image_id: str) -> ResultLayers:
        results = self._made.latest.get(image_id)
        if results is None:
            name = self._store.project.image(image_id).name
            raise ValueError(f"{name} has not been predicted yet.")
        return results

    def _go_on(self) -> None:
        """Begin to write when all cells are those of the settings."""
        if not self._waiting or not self._segmenting.idle:
            return
        waiting, self._waiting = self._waiting, []
        for job, image_id in waiting:
            try:
                # the table needs the grey values
                ready = self._images.ensure(image_id, None)
            except (ValueError, KeyError) as error:
                self.message.emit("error", str(error))
                continue
            self._preparing.append(job)
            ready.then(partial(self._begin, job), partial(self._on_no_pixels, job))

    def _begin(self, job: ExportJob) -> None:
        if job in self._preparing:
            self._preparing.remove(job)
            self._submit(job)

    def _on_no_pixels(self, job: ExportJob, why: str) -> None:
        if job in self._preparing:
            self._preparing.remove(job)
            self.message.emit("error", why)
            self.changed.emit()

    def _submit(self, job: ExportJob) -> None:
        handle = self._worker.submit(job, f"Export {job.name}")
        self._handles.append(handle)
        handle.event.connect(self._on_event)
        handle.ended.connect(partial(self._on_ended, handle, Path(job.folder)))
        handle.failed.connect(partial(self._on_failed, handle))
        self.changed.emit()

    def _on_event(self, event: object) -> None:
        if isinstance(event, FileWritten):
            self._written.append(event.path)
        elif isinstance(event, FilePredicted) and self.outcome is not None:
            self.outcome.note(event)
        self.changed.emit()

    def _on_ended(self, handle: Handle, folder: Path, cancelled: bool) -> None:
        self._handles.remove(handle)
        if all(handle is self._folder_job for handle in self._handles):
            self._tell(folder, cancelled)
        self.changed.emit()

    def _on_failed(self, handle: Handle, failed: Failed) -> None:
        self._handles.remove(handle)
        self._written.clear()
        self.message.emit("error", failed.sentence)
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

    def _tell(self, folder: Path, cancelled: bool) -> None:
        """Say what was written where."""
        number, self._written = len(self._written), []
        what = counted(number, "file is", "files are")
        sentence = f"{what} in {folder} now" + (" (cancelled)." if cancelled else ".")
        self.message.emit("info", sentence)
