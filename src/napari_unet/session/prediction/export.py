"""Export of results: label images, tables, probabilities, objects."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from psygnal import Signal

from napari_unet.core.annotation.annotations import plain_classes
from napari_unet.core.events import FileWritten
from napari_unet.core.geometry.boxes import axis_sizes
from napari_unet.core.jobs import ExportJob
from napari_unet.core.text import counted
from napari_unet.io.names import file_stem
from napari_unet.session.prediction.results import colour_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_unet.core.annotation.annotations import ClassKind
    from napari_unet.core.messages import Failed
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.prediction.segmentation import Segmenter
    from napari_unet.session.session import Session
    from napari_unet.session.worker.client import Handle

Format = Literal["tif", "ome.tif", "zarr"]

# Words in file names for kinds of content.
_WRITTEN = ("cells", "classes", "points", "probabilities")


@dataclass(slots=True, eq=False)
class _Export:
    """One export of several images, and its outcome.

    `files` counts the written files, `notes` has a sentence for each image that was
    exported in part, and `problems` one for each that was not exported.
    """

    folder: Path
    files: int = 0
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    cancelled: bool = False


@dataclass(slots=True, eq=False)
class _Part:
    """The export of one image.

    It waits until all cells are found, then its pixels are `copying` for the worker,
    then it has the `handle` of its job.
    """

    export: _Export
    job: ExportJob
    results: ResultLayers
    copying: bool = False
    handle: Handle | None = None


class Exporter:
    """Writes results of images into files, once their cells are up to date.

    `results` are the latest of each image, by its id.
    """

    changed = Signal()
    status = "Writing files …"

    def __init__(
        self,
        session: Session,
        results: dict[str, ResultLayers],
        segmenter: Segmenter,
    ) -> None:
        self._store, self._images = session.store, session.images
        self._worker, self.message = session.worker, session.message
        self._results, self._segmenter = results, segmenter
        self._parts: list[_Part] = []
        segmenter.changed.connect(self._go_on)
        segmenter.failed.connect(self._on_no_cells)

    @property
    def running(self) -> bool:
        """Whether files are being written, or wait for their cells."""
        return bool(self._parts)

    @property
    def progress(self) -> float:
        """Share of the first job that is done, 0 to 1."""
        handles = (part.handle for part in self._parts)
        return next((h.progress for h in handles if h is not None), 0.0)

    def existing_files(self, folder: Path, image_ids: Iterable[str]) -> list[Path]:
        """Return the files of a folder that may be overwritten."""
        if not folder.is_dir():
            return []
        wanted = set(image_ids)
        starts = tuple(
            f"{file_stem(image.name, 'image')}_{what}{sign}"
            for image in self._store.project.images
            if image.id in wanted
            for what in _WRITTEN
            for sign in "._"
        )
        return sorted(path for path in folder.iterdir() if path.name.startswith(starts))

    def kinds(self, image_ids: Iterable[str]) -> set[ClassKind]:
        """Return the kinds of classes in results: cells, regions or both."""
        found = [self._results[i] for i in image_ids if i in self._results]
        return {c.kind for results in found for c in results.classes}

    def export(
        self,
        folder: Path,
        image_ids: Iterable[str],
        *,
        masks: bool = True,
        probabilities: bool = False,
        table: bool = True,
        points: bool = False,
        format: Format = "tif",  # noqa: A002 - as in `ExportJob`
        objects: Sequence[str] = (),
    ) -> None:
        """Write the results of images; existing files are overwritten.

        `objects` are names of formats of other programs. Images that cannot be exported
        are left out; the last message names them.

        ValueError if there is no image that can be exported, or nothing is to be
        written.
        """
        if not (masks or probabilities or table or points or objects):
            raise ValueError(
                "Choose masks, probabilities, points or the table to be written, or a "
                "format of another program."
            )
        contents = {
            "masks": masks,
            "maps": probabilities,
            "table": table,
            "points": points,
            "format": format,
            "objects": tuple(objects),
        }
        export, parts = _Export(folder), []
        taken: dict[str, str] = {}
        for image_id in dict.fromkeys(image_ids):
            try:
                results = self._results_of(image_id)
                job = self._job(results, folder, contents)
                # as file systems without case distinction see them
                if (key := job.name.casefold()) in taken:
                    raise ValueError(
                        f"{results.image.name}: its files would have the names of "
                        f"those of {taken[key]}: export it into another folder."
                    )
                taken[key] = results.image.name
                parts.append(_Part(export, job, results))
            except (ValueError, OSError) as error:
                export.problems.append(str(error))
        if not parts:
            raise ValueError(" ".join(export.problems) or "Predict an image first.")
        self._parts += parts
        # cells that could not be found before are tried once more
        self._segmenter.wake()
        self._go_on()
        self.changed.emit()

    def cancel(self) -> None:
        """Stop writing; files that are complete stay."""
        for part in list(self._parts):
            if part.handle is not None:
                part.handle.cancel()
            else:
                part.export.cancelled = True
                self._end(part)

    def close(self) -> None:
        """Stop following the segmenter."""
        self._segmenter.changed.disconnect(self._go_on)
        self._segmenter.failed.disconnect(self._on_no_cells)

    def _results_of(self, image_id: str) -> ResultLayers:
        results = self._results.get(image_id)
        names = {image.id: image.name for image in self._store.project.images}
        if image_id not in names:
            name = results.image.name if results is not None else "An image"
            raise ValueError(f"{name} was removed from the project.")
        if results is None:
            raise ValueError(f"{names[image_id]} has not been predicted yet.")
        return results

    def _job(
        self, results: ResultLayers, folder: Path, contents: dict[str, Any]
    ) -> ExportJob:
        """Return the job; `contents` are its fields that say what is written."""
        image, files, masks = results.image, results.files, contents["masks"]
        if not (masks or contents["maps"] or results.has_cells):
            raise ValueError(
                f"{image.name} has regions but no cells, of which the table "
                "would be: choose masks or probabilities."
            )
        of_cells = (contents[name] for name in ("masks", "table", "points", "objects"))
        cells = results.has_cells and any(of_cells)
        regions = results.has_regions and masks
        return ExportJob(
            folder=str(folder),
            name=file_stem(self._store.project.image(image.id).name, "image"),
            image=self._images.reference(image.id),
            cells=files["cells"] if cells else None,
            probabilities=files["probability"],
            classes=plain_classes(results.classes),
            class_masks=files["classes"] if regions else None,
            colours=tuple(colour_of(c, k) for k, c in enumerate(results.classes)),
            **contents,
        )

    def _waiting(self) -> list[_Part]:
        return [p for p in self._parts if not p.copying and p.handle is None]

    def _go_on(self) -> None:
        """Begin to write once all cells are up to date with the settings."""
        if not self._segmenter.idle:
            return
        for part in self._waiting():
            part.copying = True
            try:
                # the table needs the grey values
                pixels = self._images.share_frames(part.results.image.id)
            except KeyError:
                self._end(part, f"{part.job.name} was removed from the project.")
            except (ValueError, OSError) as error:
                self._end(part, str(error))
            else:
                pixels.then(partial(self._submit, part), partial(self._end, part))

    def _on_no_cells(self, _why: str) -> None:
        """End exports that wait for cells that cannot be found, as a message said."""
        for part in self._waiting():
            self._end(part, f"{part.job.name}: its cells could not be found.")

    def _submit(self, part: _Part) -> None:
        if part not in self._parts:
            return  # cancelled while its pixels were copied
        # known only now that all cells are found
        part.job = replace(part.job, parents=part.results.cells.parents)
        part.export.notes += _missing(part.results)
        part.handle = self._worker.submit(part.job)
        # tiles that come from now on are not in the files
        part.results.unexported = False
        part.handle.event.connect(partial(self._on_event, part))
        part.handle.ended.connect(partial(self._on_ended, part))
        part.handle.failed.connect(partial(self._on_failed, part))
        self.changed.emit()

    def _on_event(self, part: _Part, event: object) -> None:
        if isinstance(event, FileWritten):
            part.export.files += 1
        self.changed.emit()

    def _on_ended(self, part: _Part, cancelled: bool) -> None:
        if cancelled:
            part.export.cancelled = part.results.unexported = True
        self._end(part)

    def _on_failed(self, part: _Part, failed: Failed) -> None:
        part.results.unexported = True
        self._end(part, f"{part.job.name}: {failed.sentence}")

    def _end(self, part: _Part, problem: str = "") -> None:
        """Record that an image is finished; report on all after the last one."""
        if part not in self._parts:
            return  # cancelled before
        self._parts.remove(part)
        export = part.export
        if problem:
            export.problems.append(problem)
        if not any(other.export is export for other in self._parts):
            self._report(export)
        self.changed.emit()

    def _report(self, export: _Export) -> None:
        """Report what was written where, and what was not."""
        what = counted(export.files, "file is", "files are")
        end = " (cancelled)." if export.cancelled else "."
        sentence = " ".join([f"{what} in {export.folder} now{end}", *export.notes])
        if export.problems:
            left_out = " ".join(export.problems)
            written = f"{sentence} Not exported: " if export.files else ""
            self.message.emit("error", written + left_out)
        elif export.files or not export.cancelled:
            self.message.emit("warning" if export.notes else "info", sentence)


def _missing(results: ResultLayers) -> list[str]:
    """Return which parts were not predicted, or by an older model, in a sentence."""
    image, done = results.image, len(results.cells.predicted)
    sizes = axis_sizes(image.annotation_axes, image.annotation_shape)
    volumes = results.cells.ndim == 3
    every = sizes["t"] * (1 if volumes else sizes["z"])
    what = "time points" if volumes or sizes["z"] == 1 else "slices"
    notes = []
    if done < every:
        notes.append(
            f"Predicted of {image.name}: {done} of {every} {what}; the others are "
            "empty."
        )
    if older := len(results.older()):
        notes.append(
            f"Predicted of {image.name} before the model learnt the last corrections: "
            f"{older} of {every} {what}; predict the whole image to renew them."
        )
    return notes
