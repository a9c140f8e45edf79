"""A training run that is going on: from Train to its end, or to an interruption."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core import events
from napari_unet.core.jobs import TrainJob
from napari_unet.session.training.corrections import Corrections
from napari_unet.session.training.learning_curve import LearningCurve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_unet.core.events import Event
    from napari_unet.core.images.array_reference import AnnotationReference
    from napari_unet.core.jobs import Correction
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.record import Project, ProjectImage
    from napari_unet.session.training.run_record import RunRecord
    from napari_unet.session.training.training_data import TrainingData
    from napari_unet.session.worker.client import Handle, Worker


class ActiveRun:
    """What a run in training has: its record, its job, its progress.

    Parameters
    ----------
    record : RunRecord
    images : ImageList
    training_data : TrainingData
    project : Project
        As it is when the run begins: its classes are those of the network.
    resume : bool
        Go on from the checkpoint.

    Attributes
    ----------
    handle : Handle or None
        None until the pixels are where the worker can read them.
    curve : LearningCurve
    comparison : ModelComparison or None
    saved : ModelSaved or None
    """

    happened = Signal(object)
    """An event of the job; what it says is in the attributes by then."""

    def __init__(
        self,
        record: RunRecord,
        images: ImageList,
        training_data: TrainingData,
        project: Project,
        *,
        resume: bool,
    ) -> None:
        self.record = record
        self.resumed = resume
        self.handle: Handle | None = None
        self.curve = LearningCurve()
        self.comparison: events.ModelComparison | None = None
        self.saved: events.ModelSaved | None = None
        self.validation = ""
        self.step = 0
        self.progress = 0.0
        self.seconds_left: float | None = None
        self.judging = False
        self.corrections = Corrections(
            images, record.images, record.settings.ndim, self._correct
        )
        self._images = images
        self._training_data = training_data
        self._classes = project.classes
        self._found = tuple(c.kind for c in project.classes)
        self._fits = True
        self._known = {i.id: i for i in project.images}
        self._began = monotonic()

    def when_ready(
        self, done: Callable[[], None], failed: Callable[[str], None]
    ) -> None:
        """Have the pixels copied where the worker can read them, then call back.

        Frames are wanted whole: grey values are normalised over all of a frame.

        Raises
        ------
        ValueError
            If an image is closed.
        """
        pairs = zip(self.record.images, self.record.places, strict=True)
        parts = [
            self._images.ensure(i, tuple({(t, None): None for t, _ in places}))
            for i, places in pairs
        ]
        left = len(parts)

        def one() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                done()

        for part in parts:
            part.then(one, failed)

    def job(self, folder: Path, device: str) -> TrainJob:
        """Describe the run to the worker.

        Raises
        ------
        ValueError
            If an image was closed, or its annotation removed, in the meantime.
        """
        record = self.record
        return TrainJob(
            images=tuple(self._images.stored(i) for i in record.images),
            annotations=tuple(self._annotation(i) for i in record.images),
            places=record.places,
            settings=record.settings,
            output=str(record.output(folder)),
            checkpoint=str(record.checkpoint(folder)),
            start=record.start,
            resume=self.resumed,
            device=device,
        )

    def submit(self, worker: Worker, job: TrainJob) -> Handle:
        """Hand the run to the worker."""
        handle = self.handle = worker.submit(job, f"Train {self.record.name}")
        handle.event.connect(self._on_event)
        return handle

    def follow(self, project: Project) -> str:
        """Take up what changed in the project; return what to tell people."""
        told = self._follow_classes(project)
        for image in project.images:
            before = self._known.get(image.id)
            if before is not None and before != image:
                for t, z in self._changed_planes(before, image):
                    self.corrections.add_place(image.id, t, z)
            self._known[image.id] = image
        return told

    def replaced(self, image_id: str) -> None:
        """All of an annotation changed at once: an import, or a step taken back."""
        if image_id not in self.record.images:
            return
        # where it was annotated before, the worker has to forget it
        before = self.record.places[self.record.images.index(image_id)]
        for t, z in {*before, *self._images.places(image_id)}:
            self.corrections.add_place(image_id, t, z)

    def close(self) -> None:
        """Send nothing any more."""
        self.corrections.close()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, events.StepDone):
            self.step = event.step
            self.progress, self.seconds_left = event.progress, event.seconds_left
            self.curve.add(event.step, monotonic() - self._began, event.loss)
            self.corrections.look()
        elif isinstance(event, events.Judging):
            self.judging, self.progress, self.seconds_left = True, 1.0, None
        elif isinstance(event, events.ValidationDone):
            self.curve.add_score(event.step, event.score.iou, event.score.loss)
        elif isinstance(event, events.TrainingStarted):
            self._begin(event)
        elif isinstance(event, events.ModelComparison):
            self.comparison = event
        elif isinstance(event, events.ModelSaved):
            self.saved = event
        self.happened.emit(event)

    def _begin(self, event: events.TrainingStarted) -> None:
        """Count the time from now, and hand over what was painted since it began."""
        self._began = monotonic()
        self.step, self.validation = event.step, event.validation
        for image_id, known in zip(self.record.images, self.record.places, strict=True):
            image = self._known[image_id]
            places = self._training_data.places(image, self.record.settings.ndim)
            for t, z in sorted(set(places) - set(known)):
                self.corrections.add_place(image_id, t, z)

    def _follow_classes(self, project: Project) -> str:
        """Look whether the network still knows the classes."""
        found = tuple(c.kind for c in project.classes)
        if found == self._found:
            return ""
        self._found = found
        kinds = tuple(c.kind for c in self._classes)
        self._fits = found[: len(kinds)] == kinds
        if not self._fits:
            return (
                "The classes changed: what is painted from now on is used from the "
                "next training on."
            )
        if len(found) > len(kinds):
            return (
                "The network in training has no place for the new class: it is learnt "
                "from the next training on."
            )
        return ""

    def _changed_planes(
        self, before: ProjectImage, now: ProjectImage
    ) -> set[tuple[int, int]]:
        """Return where parts were finished, or objects given another class."""
        parts = set(before.finished) ^ set(now.finished)
        ids = {i for i, _ in before.class_of.items() ^ now.class_of.items()}
        planes = {(part.t, part.z) for part in parts}
        return planes.union(self._training_data.planes_with(now.id, ids) if ids else ())

    def _correct(self, correction: Correction) -> None:
        """Send a correction; of objects of a new class the worker takes no notice."""
        if self.handle is not None and self._fits:
            self.handle.correct(correction)

    def _annotation(self, image_id: str) -> AnnotationReference:
        annotation = self._images.stored_annotation(image_id)
        if annotation is None:
            raise ValueError("The annotation of an image in training was removed.")
        return annotation


class ActiveRunView:
    """What the docks show of the run in training, or of the last one."""

    _active_run: ActiveRun | None = None

    @property
    def curve(self) -> list[tuple[int, float, float]]:
        """Step, seconds and smoothed loss, of the run in training or the last one."""
        return self._active_run.curve.points if self._active_run else []

    @property
    def scores(self) -> list[tuple[int, float, float]]:
        """Step, IoU and loss on held-out pixels."""
        return self._active_run.curve.scores if self._active_run else []

    @property
    def loss(self) -> float | None:
        """Smoothed loss of the latest step."""
        return self._active_run.curve.loss if self._active_run else None

    @property
    def comparison(self) -> events.ModelComparison | None:
        """How good the last model of this session is."""
        return self._active_run.comparison if self._active_run else None

    @property
    def step(self) -> int:
        """Steps done."""
        return self._active_run.step if self._active_run else 0

    @property
    def progress(self) -> float:
        """Share of the budget used, 0 to 1."""
        return self._active_run.progress if self._active_run else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimate; None where there is none yet."""
        return self._active_run.seconds_left if self._active_run else None

    @property
    def judging(self) -> bool:
        """Whether all steps are done, and the model is judged and saved."""
        return self._active_run is not None and self._active_run.judging

    @property
    def validation(self) -> str:
        """What is held out, in words; empty before a run."""
        return self._active_run.validation if self._active_run else ""
