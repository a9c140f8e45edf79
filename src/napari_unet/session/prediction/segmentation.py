"""Cells from probabilities, kept up to date while settings move.

What is in view comes first and alone: one plane at a time, always with the newest
settings. The other slices follow when the settings have come to rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

from psygnal import Signal

from napari_unet.core.annotation.annotations import plain_classes
from napari_unet.core.events import CellsFound, CellsLinked
from napari_unet.core.jobs import SegmentJob
from napari_unet.session.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_unet.core.jobs import Place
    from napari_unet.core.messages import Failed
    from napari_unet.core.settings import Segmentation
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.worker.client import Handle, Worker

    _Kind = Literal["visible", "background"]

# Settings that did not move for this long have come to rest.
_REST_S = 0.4
_NEVER = -1


@dataclass(slots=True, eq=False)
class ImageCells:
    """The cells in the results of an image, and how old those of each plane are.

    Attributes
    ----------
    ndim : {2, 3}
        Of the network.
    scale : tuple of float or None
        By how much the image was resampled for the network: the settings are in pixels
        of the network.
    growing : bool
        Whether more planes are being predicted.
    shown : bool
        Whether the results are the latest of their image.
    version : dict of (t, z) to int
        For each plane or volume that is predicted, the version of the settings that
        its cells were found with.
    predicted : dict of (t, z) to int
        When each was predicted, counted in predictions.
    counts : dict of (t, z) to int
        Number of its cells.
    linked : int
        Version of the settings of which all cells were linked through z.
    """

    results: ResultLayers
    ndim: Literal[2, 3]
    scale: tuple[float, ...] | None = None
    growing: bool = False
    shown: bool = True
    version: dict[Place, int] = field(default_factory=dict)
    predicted: dict[Place, int] = field(default_factory=dict)
    counts: dict[Place, int] = field(default_factory=dict)
    linked: int = _NEVER

    def stale(self, version: int) -> list[Place]:
        """Return the planes whose cells are to be found anew."""
        if not self.shown:
            return []
        return [place for place, v in self.version.items() if v != version]

    def to_be_linked(self, version: int) -> bool:
        """Whether a frame has several slices that were done one by one, and all are."""
        if self.growing or not self.shown or self.linked == version or self.ndim == 3:
            return False
        frames = [t for t, z in self.version if z is not None]
        return len(frames) > len(set(frames)) and "z" in self.results.axes


class Segmenter:
    """Finds the cells of predicted planes, in the worker process without networks."""

    changed = Signal()
    """Cells were found, or there is nothing left to do."""
    failed = Signal(str)
    """Why cells could not be found, in a sentence."""

    def __init__(self, worker: Worker, settings: Segmentation) -> None:
        self.settings = settings
        self._worker = worker
        self._version = 0
        self._predictions = 0
        self._rest = Throttle(_REST_S)
        # the last one added comes first
        self._images: list[ImageCells] = []
        # at most one job each: for the plane in view, and for all others
        self._jobs: dict[_Kind, Handle] = {}
        self._stopped = False

    @property
    def idle(self) -> bool:
        """Whether all cells are those of the settings."""
        return not self._jobs and not any(i.stale(self._version) for i in self._images)

    def add(
        self,
        results: ResultLayers,
        ndim: Literal[2, 3],
        scale: tuple[float, ...] | None = None,
    ) -> ImageCells:
        """Find the cells of some results; those of another model stay as they are."""
        cells = self._cells_of(results) or ImageCells(results, ndim)
        cells.shown, cells.scale = True, scale
        others = [other for other in self._images if other is not cells]
        for other in others:
            if other.results.image.id == results.image.id:
                other.shown = False
        self._images = [cells, *others]
        return cells

    def forget(self, results: ResultLayers) -> None:
        """Do nothing more for some results."""
        self._images = [cells for cells in self._images if cells.results is not results]

    def predicted(self, cells: ImageCells, place: Place) -> None:
        """Find the cells of a plane or volume that was predicted."""
        if cells in self._images:
            self._predictions += 1
            cells.version[place] = cells.linked = _NEVER
            cells.predicted[place] = self._predictions
            self.wake()

    def set_settings(self, settings: Segmentation) -> None:
        """Find all cells again, those in view at once."""
        if settings != self.settings:
            self.settings = settings
            self._version += 1
            self._rest.restart()
            if "background" in self._jobs:
                self._jobs["background"].cancel()
            self.wake()

    def wake(self) -> None:
        """Go on also where cells could not be found before: somebody asks for them."""
        self._stopped = False
        self.go_on()

    def go_on(self) -> None:
        """Begin what is to be done next, if anything; cheap, called often."""
        if self._stopped:
            return
        if "visible" not in self._jobs:
            for cells in self._images:
                if seen := cells.results.in_view(cells.stale(self._version)):
                    self._submit("visible", cells, seen[:1])
                    break
        if "background" not in self._jobs and self._rest.due:
            self._go_on_in_background()

    def stop(self) -> None:
        """Do nothing until there is something new: after a failure, or at the end."""
        self._stopped = True
        jobs, self._jobs = self._jobs, {}
        for handle in jobs.values():
            handle.cancel()

    def count_in_view(self, results: ResultLayers) -> int | None:
        """Return how many cells the slice in view has; None if that is not known."""
        cells, place = self._cells_of(results), results.place_in_view()
        if cells is None or place is None:
            return None
        return cells.counts.get(place, cells.counts.get((place[0], None)))

    def _cells_of(self, results: ResultLayers) -> ImageCells | None:
        return next((c for c in self._images if c.results is results), None)

    def _go_on_in_background(self) -> None:
        for cells in self._images:
            # those in view have a job of their own, which may still be under way
            stale = cells.stale(self._version)
            seen = cells.results.in_view(stale)
            if places := [place for place in stale if place not in seen]:
                self._submit("background", cells, places)
                return
            if not stale and cells.to_be_linked(self._version):
                self._submit("background", cells, (), link=True)
                return

    def _submit(
        self,
        kind: _Kind,
        cells: ImageCells,
        places: Iterable[Place],
        *,
        link: bool = False,
    ) -> None:
        results = cells.results
        job = SegmentJob(
            probabilities=results.files["probability"],
            axes=results.axes,
            spacing_um=results.image.spacing_um,
            cells=results.files["cells"],
            ndim=cells.ndim,
            settings=self.settings.for_pixels(cells.scale),
            classes=plain_classes(results.classes),
            places=tuple(places),
            link=link,
        )
        handle = self._worker.submit(job, f"Cells of {results.image.name}")
        self._jobs[kind] = handle
        asked = self._version, self._predictions
        handle.event.connect(partial(self._on_event, cells, *asked))
        handle.ended.connect(partial(self._on_ended, kind, handle))
        handle.failed.connect(partial(self._on_failed, kind, handle, cells))

    def _on_event(
        self, cells: ImageCells, version: int, predictions: int, event: object
    ) -> None:
        """Note what was found for a version, after a number of predictions."""
        if cells not in self._images:
            return
        if isinstance(event, CellsFound):
            place = event.t, event.z
            # else predicted once more in the meantime: these may be cells of before
            if cells.predicted[place] <= predictions:
                cells.version[place] = version
            cells.counts[place] = event.count
            cells.results.cells_found(place)
        elif isinstance(event, CellsLinked):
            cells.linked = version
            for t in {t for t, _ in cells.version}:
                cells.results.refresh(t, None, "cells")
        self.changed.emit()

    def _on_ended(self, kind: _Kind, handle: Handle, _cancelled: bool) -> None:
        if self._jobs.get(kind) is handle:
            del self._jobs[kind]
        self.go_on()
        if self.idle:
            self.changed.emit()

    def _on_failed(
        self, kind: _Kind, handle: Handle, cells: ImageCells, failure: Failed
    ) -> None:
        """Say why, once, and wait: the same settings would fail again."""
        if self._jobs.get(kind) is not handle:
            return  # given up before
        del self._jobs[kind]
        if cells in self._images:
            self.stop()
            self.failed.emit(failure.sentence)
