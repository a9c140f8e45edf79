"""Settings that the worker chooses by what is annotated, before a training begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.events import TrainingPlanned
from napari_unet.core.jobs import PlanJob

if TYPE_CHECKING:
    from napari_unet.core.annotation.annotations import ClassInfo
    from napari_unet.core.messages import Failed
    from napari_unet.core.training.training_settings import Training
    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.session import Session
    from napari_unet.session.training.training_data import TrainingData
    from napari_unet.session.worker.client import Handle


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a plan depends on beside what is painted."""

    settings: Training
    start: str | None
    device: str
    images: tuple[ProjectImage, ...]
    classes: tuple[ClassInfo, ...]


class Automatic:
    """Has the next training planned, and keeps the plan until something changes."""

    changed = Signal()
    """It is being planned, there is a plan, or the one there was is out of date."""
    failed = Signal(str)
    """Why nothing could be planned, in a sentence."""

    def __init__(self, session: Session, training_data: TrainingData) -> None:
        self._session, self._training_data = session, training_data
        self._store, self._images = session.store, session.images
        self._handle: Handle | None = None
        self._asked: _Asked | None = None
        self._plan: Training | None = None
        # whether nothing was painted since
        self._fresh = False
        self._sources = (session.annotating.edited, session.store.replaced)
        for source in self._sources:
            source.connect(self._on_edited)

    @property
    def planning(self) -> bool:
        """Whether the worker is planning."""
        return self._handle is not None

    def plan_for(self, settings: Training, start: str | None) -> Training | None:
        """Return the last plan for such settings, possibly before the last strokes."""
        asked = self._asked
        if asked is None or (asked.settings, asked.start) != (settings, start):
            return None
        return self._plan

    def is_fresh(self, settings: Training, start: str | None) -> bool:
        """Whether there is a plan for what is annotated now."""
        there = self._plan is not None and self._fresh
        return there and self._asked == self._question(settings, start)

    def ask(self, settings: Training, start: str | None) -> None:
        """Have a training planned, unless this was requested before.

        `start` is the model file that it starts from.
        """
        question = self._question(settings, start)
        if self._fresh and question == self._asked:
            return
        self.cancel()
        if not question.images:
            return
        ids = [image.id for image in question.images]
        try:
            annotations = tuple(self._images.annotation_reference(i) for i in ids)
            job = PlanJob(
                images=tuple(self._images.reference(i) for i in ids),
                annotations=tuple(a for a in annotations if a is not None),
                places=tuple(self._training_data.places(i, 2) for i in question.images),
                settings=settings,
                start=start,
                device=question.device,
            )
        except (OSError, ValueError) as error:
            self.failed.emit(str(error))
            return
        self._asked, self._plan, self._fresh = question, None, True
        handle = self._handle = self._session.worker.submit(job)
        handle.event.connect(self._on_event)
        handle.failed.connect(self._on_failed)
        self.changed.emit()

    def cancel(self) -> None:
        """Cancel the planning."""
        if self._handle is not None:
            self._handle.abandon()
            self._handle = self._asked = None

    def close(self) -> None:
        """Stop following the annotation."""
        self.cancel()
        for source in self._sources:
            source.disconnect(self._on_edited)

    def _question(self, settings: Training, start: str | None) -> _Asked:
        chosen, classes = self._training_data.chosen(), self._store.project.classes
        return _Asked(
            settings, start, self._session.preferences.device, chosen, tuple(classes)
        )

    def _on_edited(self, *_: object) -> None:
        if self._fresh:
            self._fresh = False
            self.changed.emit()

    def _on_event(self, event: object) -> None:
        if isinstance(event, TrainingPlanned):
            self._handle, self._plan = None, event.settings
            self.changed.emit()

    def _on_failed(self, failed: Failed) -> None:
        self._handle = self._asked = None
        self.failed.emit(failed.sentence)
