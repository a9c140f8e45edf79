"""Cells from probabilities, kept up to date while settings move.

What is in view comes first and alone: one plane at a time, always with the newest
settings. The other slices follow when the settings have come to rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.annotation.annotations import plain_classes
from napari_unet.core.events import CellsFound, CellsLinked
from napari_unet.core.jobs import SegmentJob

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    from napari_unet.core.jobs import Place
    from napari_unet.core.settings import Segmentation
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.worker.client import Handle, Worker

# Settings that did not move for this long have come to rest.
_REST_S = 0.4
_NEVER = -1


@dataclass(slots=True, eq=False)
class Subject:
    """The results of an image, and how old the cells of each plane are.

    Attributes
    ----------
    results : ResultLayers
    ndim : {2, 3}
        Of the network.
    spacing_um : tuple of float or None
    scale : tuple of float or None
        By how much the image was resampled for the network: the settings are in pixels
        of the network.
    growing : bool
        Whether more planes are being predicted.
    shown : bool
        Whether they are the latest of their image.
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
    spacing_um: tuple[float, ...] | None
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

    @property
    def has_slices_to_link(self) -> bool:
        """Whether a frame has several slices that were done one by one."""
        frames = [t for t, z in self.version if z is not None]
        several = len(frames) > len(set(frames))
        return self.ndim == 2 and several and "z" in self.results.axes


class Segmenting:
    """Finds the cells of predicted planes, on the worker's CPU worker.

    Parameters
    ----------
    worker : Worker
    settings : Segmentation
    """

    changed = Signal()
    """Cells were found, or there is nothing left to do."""
    failed = Signal(str)
    """Why cells could not be found, in a sentence."""

    def __init__(self, worker: Worker, settings: Segmentation) -> None:
        self.settings = settings
        self._worker = worker
        self._version = 0
        self._predictions = 0
        self._moved = float("-inf")
        self._subjects: list[Subject] = []
        # at most one job each: for the plane in view, and for all others
        self._front: Handle | None = None
        self._back: Handle | None = None
        self._stopped = False

    def subject(self, results: ResultLayers) -> Subject | None:
        """Return what is known of the cells of some results."""
        return next((s for s in self._subjects if s.results is results), None)

    def add(
        self,
        results: ResultLayers,
        ndim: Literal[2, 3],
        spacing_um: tuple[float, ...] | None,
        scale: tuple[float, ...] | None = None,
    ) -> Subject:
        """Take care of some results; the last one added comes first.

        Those of another model on the same image stay as they are.
        """
        found = self.subject(results) or Subject(results, ndim, spacing_um)
        found.shown, found.scale = True, scale
        others = [s for s in self._subjects if s is not found]
        for other in others:
            if other.results.image.id == results.image.id:
                other.shown = False
        self._subjects = [found, *others]
        return found

    def forget(self, results: ResultLayers) -> None:
        """Do nothing more for some results."""
        self._subjects = [s for s in self._subjects if s.results is not results]

    def predicted(self, results: ResultLayers, place: Place) -> None:
        """Find the cells of a plane or volume that was predicted."""
        subject = self.subject(results)
        if subject is not None:
            self._predictions += 1
            subject.version[place] = _NEVER
            subject.predicted[place] = self._predictions
            subject.linked = _NEVER
            self._stopped = False
            self.go_on()

    def set_settings(self, settings: Segmentation) -> None:
        """Find all cells again, those in view at once."""
        if settings == self.settings:
            return
        self.settings = settings
        self._version += 1
        self._moved = monotonic()
        self._stopped = False
        if self._back is not None:
            self._back.cancel()
        self.go_on()

    @property
    def idle(self) -> bool:
        """Whether all cells are those of the settings."""
        return self._front is None and self._back is None and not self._stale()

    def go_on(self) -> None:
        """Begin what is to be done next, if anything; cheap, called often."""
        if self._stopped:
            return
        if self._front is None:
            for subject in self._subjects:
                stale = subject.stale(self._version)
                seen = subject.results.in_view(stale)
                if seen:
                    self._front = self._submit(subject, seen[:1])
                    break
        resting = monotonic() - self._moved >= _REST_S
        if self._back is None and resting:
            self._go_on_behind()

    def stop(self) -> None:
        """Do nothing until there is something new: after a failure, or at the end."""
        self._stopped = True
        for handle in (self._front, self._back):
            if handle is not None and handle.running:
                handle.cancel()
        self._front = self._back = None

    def wake(self) -> None:
        """Go on also where cells could not be found before: somebody asks for them."""
        self._stopped = False
        self.go_on()

    def count_in_view(self, results: ResultLayers) -> int | None:
        """Return how many cells the slice in view has; None if that is not known."""
        subject, place = self.subject(results), results.place_in_view()
        if subject is None or place is None:
            return None
        return subject.counts.get(place, subject.counts.get((place[0], None)))

    def _stale(self) -> bool:
        return any(s.stale(self._version) for s in self._subjects)

    def _go_on_behind(self) -> None:
        for subject in self._subjects:
            # the one in view is done in front; its job may still be under way
            stale = subject.stale(self._version)
            seen = set(subject.results.in_view(stale))
            places = [place for place in stale if place not in seen]
            if places:
                self._back = self._submit(subject, places)
                return
            done = subject.shown and not subject.growing and not stale
            unlinked = subject.linked != self._version and subject.has_slices_to_link
            if done and unlinked:
                self._back = self._submit(subject, (), link=True)
                return

    def _submit(
        self, subject: Subject, places: Iterable[Place], *, link: bool = False
    ) -> Handle:
        results = subject.results
        job = SegmentJob(
            probabilities=results.files["probability"],
            axes=results.axes,
            spacing_um=subject.spacing_um,
            cells=results.files["cells"],
            ndim=subject.ndim,
            settings=self.settings.for_pixels(subject.scale),
            classes=plain_classes(results.classes),
            places=tuple(places),
            link=link,
        )
        handle = self._worker.submit(job, f"Cells of {results.image.name}")
        asked = self._version, self._predictions
        handle.event.connect(partial(self._on_event, subject, asked))
        handle.ended.connect(partial(self._on_ended, handle))
        handle.failed.connect(partial(self._on_failed, handle, subject))
        return handle

    def _on_event(
        self, subject: Subject, asked: tuple[int, int], event: object
    ) -> None:
        """Take in what was found for a version, after a number of predictions."""
        if subject not in self._subjects:
            return
        version, predictions = asked
        if isinstance(event, CellsFound):
            place = event.t, event.z
            # else predicted once more in the meantime: these may be cells of before
            if subject.predicted[place] <= predictions:
                subject.version[place] = version
            subject.counts[place] = event.count
            subject.results.cells_found(place)
        elif isinstance(event, CellsLinked):
            subject.linked = version
            for t in {t for t, _ in subject.version}:
                subject.results.refresh(t, None, "cells")
        self.changed.emit()

    def _on_ended(self, handle: Handle, _cancelled: bool) -> None:
        self._let_go(handle)
        self.go_on()
        if self.idle:
            self.changed.emit()

    def _on_failed(self, handle: Handle, subject: Subject, failure: object) -> None:
        """Say why, once, and wait: the same settings would fail again."""
        given_up = handle not in (self._front, self._back)
        self._let_go(handle)
        if given_up or subject not in self._subjects:
            return
        self.stop()
        self.failed.emit(getattr(failure, "sentence", str(failure)))

    def _let_go(self, handle: Handle) -> None:
        if handle is self._front:
            self._front = None
        if handle is self._back:
            self._back = None
