"""Cells from probabilities, kept up to date while settings move.

What is in view comes first and alone: one plane at a time, always with the newest
settings. The other slices follow when the settings have come to rest.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from psygnal import Signal

from napari_unet.core.annotation.annotations import plain_classes
from napari_unet.core.events import (
    CellsFound,
    CellsLinked,
    CellsRenumbered,
    NeighboursFound,
)
from napari_unet.core.jobs import SegmentJob
from napari_unet.session.throttle import Throttle
from napari_unet.session.worker.client import WORKER_ENDED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_unet.core.images.array_reference import (
        AnnotationReference,
        ArrayReference,
    )
    from napari_unet.core.jobs import Place
    from napari_unet.core.messages import Failed
    from napari_unet.core.settings import Segmentation
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.session import Session
    from napari_unet.session.worker.client import Handle

    _Kind = Literal["visible", "background"]

# Settings that did not move for this long have come to rest.
_REST_S = 0.4


class Segmenter:
    """Finds the cells of predicted planes, in the worker process without networks.

    `results` are the latest of each image; those of the last one come first. `edits`
    returns what people edited in an image, by its id, and `painted` the annotation that
    is to be put over its cells.
    """

    changed = Signal()
    """Cells were found, or there is nothing left to do."""
    failed = Signal(str)
    """Why cells could not be found, in a sentence."""

    def __init__(
        self,
        session: Session,
        results: dict[str, ResultLayers],
        settings: Segmentation,
        edits: Callable[[str], ArrayReference | None],
        painted: Callable[[str], AnnotationReference | None],
    ) -> None:
        self.settings = settings
        self._edits_of, self._painted_on = edits, painted
        self._worker, self._message = session.worker, session.message
        self._results = results
        self._version = 0
        self._predictions = 0
        self._rest = Throttle(_REST_S)
        # at most one job each: for the plane in view, and for all others
        self._jobs: dict[_Kind, Handle] = {}
        self._stopped = False
        # the worker died, and nothing was found since
        self._worker_died = False

    @property
    def idle(self) -> bool:
        """Whether all cells are those of the settings."""
        return not self._jobs and not any(
            r.cells.stale(self._version) or self._to_be_linked(r)
            for r in self._results.values()
        )

    def predicted(self, results: ResultLayers, place: Place) -> None:
        """Find the cells of a plane or volume that was predicted."""
        self._predictions += 1
        results.cells.note_prediction(place, self._predictions)
        self.wake()

    def edited(
        self, results: ResultLayers, place: Place, *, again: bool = False
    ) -> None:
        """Go on from cells that were edited, or find them `again`, with the edits.

        A job that is under way may not know of the change, and write over it.
        """
        self._predictions += 1
        again = again or bool(self._jobs)
        results.cells.edited(place, self._predictions, again=again)
        self._rest.restart()
        self.changed.emit()
        self.wake()

    def find_again(self) -> None:
        """Find all cells again, as the annotation to put over them has changed."""
        self._version += 1
        self._rest.restart()
        if "background" in self._jobs:
            self._jobs["background"].cancel()
        self.wake()

    def set_settings(self, settings: Segmentation) -> None:
        """Find all cells again, those in view at once."""
        if settings != self.settings:
            self.settings = settings
            if not settings.track:
                for results in self._results.values():
                    results.show_tracks(None)
            self.find_again()

    def wake(self) -> None:
        """Go on, also after cells could not be found."""
        self._stopped = False
        self.go_on()

    def go_on(self) -> None:
        """Begin the next job, if there is one; cheap, called often."""
        if self._stopped:
            return
        if "visible" not in self._jobs:
            for results in reversed(self._results.values()):
                if seen := results.in_view(results.cells.stale(self._version)):
                    self._submit("visible", results, seen[:1])
                    break
        if "background" not in self._jobs and self._rest.due:
            self._go_on_in_background()

    def stop(self) -> None:
        """Do nothing until there is something new: after a failure, or at the end."""
        self._stopped = True
        jobs, self._jobs = self._jobs, {}
        for handle in jobs.values():
            handle.cancel()

    def _go_on_in_background(self) -> None:
        for results in reversed(self._results.values()):
            # those in view have a job of their own, which may still be under way
            stale = results.cells.stale(self._version)
            seen = results.in_view(stale)
            if places := [place for place in stale if place not in seen]:
                self._submit("background", results, places)
                return
            if self._to_be_linked(results):
                self._submit("background", results, (), link=True)
                return

    def _to_be_linked(self, results: ResultLayers) -> bool:
        cells, track = results.cells, self.settings.track
        return results.has_cells and cells.to_be_linked(self._version, track=track)

    def _submit(
        self,
        kind: _Kind,
        results: ResultLayers,
        places: Iterable[Place],
        *,
        link: bool = False,
    ) -> None:
        job = SegmentJob(
            probabilities=results.files["probability"],
            axes=results.axes,
            spacing_um=results.image.spacing_um,
            cells=results.files["cells"],
            ndim=results.cells.ndim,
            settings=self.settings.for_pixels(results.cells.scale),
            classes=plain_classes(results.classes),
            places=tuple(places),
            link=link,
            class_map=results.files["classes"] if results.has_regions else None,
            image=results.pixels if self.settings.edge_smoothing else None,
            name=results.image.name,
            edits=self._edits_of(results.image.id),
            painted=self._painted_on(results.image.id),
        )
        handle = self._jobs[kind] = self._worker.submit(job)
        asked = self._version, self._predictions
        handle.event.connect(partial(self._on_event, results, *asked))
        handle.ended.connect(partial(self._on_ended, kind, handle))
        handle.failed.connect(partial(self._on_failed, kind, handle, results))

    def _on_event(
        self, results: ResultLayers, version: int, predictions: int, event: object
    ) -> None:
        """Note what was found for a version, after a number of predictions."""
        if not self._is_latest(results):
            return
        cells = results.cells
        self._worker_died = False
        if isinstance(event, CellsRenumbered):
            results.colours.rename(event.was)
            return
        if isinstance(event, CellsFound | CellsLinked):
            cells.found += 1
        if isinstance(event, CellsFound):
            place = event.t, event.z
            # else predicted once more in the meantime: these may be cells of before
            if cells.predicted[place] <= predictions:
                cells.version[place] = version
            if results.has_cells:
                cells.counts[place] = event.count
                cells.highest = max(cells.highest, event.count)
            results.cells_found(place)
        elif isinstance(event, NeighboursFound):
            results.neighbours_found((event.t, event.z), event.pairs)
            return
        elif isinstance(event, CellsLinked):
            cells.highest = max(cells.highest, event.count)
            if max(cells.predicted.values(), default=0) <= predictions:
                cells.linked = version
            results.show_tracks(event.tracks)
            results.cells_linked(event.neighbours)
        self.changed.emit()

    def _on_ended(self, kind: _Kind, handle: Handle, _cancelled: bool) -> None:
        if self._jobs.get(kind) is handle:
            del self._jobs[kind]
        self.go_on()
        if self.idle:
            self.changed.emit()

    def _on_failed(
        self, kind: _Kind, handle: Handle, results: ResultLayers, failure: Failed
    ) -> None:
        """Say why, once, and wait: the same settings would fail again."""
        if self._jobs.get(kind) is not handle:
            return  # given up before
        del self._jobs[kind]
        if failure.error == WORKER_ENDED and not self._worker_died:
            # perhaps ended from outside, whatever the settings: once more
            self._worker_died = True
            if isinstance(handle.job, SegmentJob) and handle.job.link:
                results.cells.forget()
            self._jobs.clear()  # the other died with it
            self._message.emit("error", failure.sentence)
            self.go_on()
        elif self._is_latest(results):
            self.stop()
            self.failed.emit(failure.sentence)

    def _is_latest(self, results: ResultLayers) -> bool:
        """Whether results were not deleted, nor replaced by those of another model."""
        return self._results.get(results.image.id) is results
