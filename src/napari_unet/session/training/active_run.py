"""A training run in progress, from Train to its end or interruption."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.core import events
from napari_unet.core.jobs import RemoteTrainJob, TrainJob
from napari_unet.session.future import all_of
from napari_unet.session.training.corrections import Corrections
from napari_unet.session.training.run_progress import RunProgress

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.events import Event
    from napari_unet.core.images.array_reference import AnnotationReference
    from napari_unet.core.jobs import Correction
    from napari_unet.io.project_record import Project, ProjectImage
    from napari_unet.session.future import Future
    from napari_unet.session.session import Session
    from napari_unet.session.training.run_record import RunRecord
    from napari_unet.session.training.training_data import TrainingData
    from napari_unet.session.worker.client import Handle


class ActiveRun:
    """The record, the job and the progress of a run in training.

    It follows the project, whose classes at the beginning are those of the network.

    With `resume` it goes on from the checkpoint. `handle` is None until the pixels are
    where the worker can read them.
    """

    def __init__(
        self,
        record: RunRecord,
        session: Session,
        training_data: TrainingData,
        *,
        resume: bool,
    ) -> None:
        self.record = record
        self.resumed = resume
        # of the network in training, of which there may be several
        self.ndim = record.settings.ndim
        self.handle: Handle | None = None
        self.progress = RunProgress()
        self._told_of_remote = False
        images, store = session.images, session.store
        self.corrections = Corrections(images, record.images, self.ndim, self._correct)
        self._images, self._worker = images, session.worker
        self._message = session.message
        self._training_data = training_data
        self._object_index = session.annotating.object_index
        project = store.project
        self._network_kinds = self._kinds = tuple(c.kind for c in project.classes)
        self._known = {image.id: image for image in project.images}
        self._connections: list[tuple[Any, Any]] = [
            (session.annotating.edited, self.corrections.add),
            (store.replaced, self._on_replaced),
            (store.changed, self._on_project),
        ]
        for signal, slot in self._connections:
            signal.connect(slot)

    def close(self) -> None:
        """Stop following the project."""
        for signal, slot in self._connections:
            signal.disconnect(slot, missing_ok=True)
        self.corrections.close()

    def share_pixels(self) -> Future:
        """Have the pixels copied where the worker can read them."""
        each = zip(self.record.images, self.record.places, strict=True)
        share = self._images.share_frames
        return all_of([share(id_, [t for t, _ in places]) for id_, places in each])

    def submit(self, folder: Path, device: str) -> Handle:
        """Write the run down in the folder of the runs, and hand it to the worker.

        ValueError or KeyError if an image was closed or removed, or its annotation, in
        the meantime; OSError if the record cannot be written.
        """
        record, start = self.record, self.record.start_file(folder)
        if self.resumed and start is not None and not start.exists():
            self._message.emit(
                "warning",
                f"{start.name}, which this training started from, is gone: it goes on "
                "from its checkpoint, and is not compared with that model.",
            )
            start = None
        kind: type[TrainJob] = TrainJob
        more: dict[str, Any] = {}
        if record.far is not None:
            kind, more = RemoteTrainJob, {"remote": record.far}
        job = kind(
            images=tuple(self._images.reference(i) for i in record.images),
            annotations=tuple(self._annotation(i) for i in record.images),
            places=record.places,
            settings=record.settings,
            output=str(record.output(folder)),
            checkpoint=str(record.checkpoint(folder)),
            start=None if start is None else str(start),
            resume=self.resumed,
            device=device,
            **more,
        )
        record.write(folder)
        self.handle = self._worker.submit(job)
        self.handle.event.connect(self._on_event)
        return self.handle

    def _on_project(self, project: Project) -> None:
        self._follow_classes(project)
        for image in project.images:
            before = self._known.get(image.id)
            if before is not None and before != image:
                for t, z in self._changed_planes(before, image):
                    self.corrections.add_plane(image.id, t, z)
            self._known[image.id] = image

    def _on_replaced(self, image_id: str) -> None:
        """All of an annotation changed at once: an import, or a step undone."""
        if image_id not in self.record.images:
            return
        # where it was annotated before, the worker has to forget it
        before = self.record.places[self.record.images.index(image_id)]
        for t, z in {*before, *self._images.places(image_id)}:
            self.corrections.add_plane(image_id, t, z)

    def _on_event(self, event: Event) -> None:
        self.progress.add(event)
        if isinstance(event, events.Notice):
            self._message.emit("info", event.sentence)
        if isinstance(event, events.TrainingStarted):
            if not self.record.settings.decisions:
                # of settings that were not planned: what the cells asked for
                for decision in event.decisions:
                    self._message.emit("info", decision.reason)
            self.ndim = self.corrections.ndim = event.ndim
            self._add_new_planes()

    def _add_new_planes(self) -> None:
        """Hand over what was painted since the planes of the job were listed."""
        if self.ndim != self.record.settings.ndim:
            return  # done with the first of several networks
        for image_id, known in zip(self.record.images, self.record.places, strict=True):
            image = self._known[image_id]
            places = self._training_data.places(image, self.ndim)
            for t, z in sorted(set(places) - set(known)):
                self.corrections.add_plane(image_id, t, z)

    def _follow_classes(self, project: Project) -> None:
        """Look whether the network still knows the classes."""
        kinds = tuple(c.kind for c in project.classes)
        if kinds == self._kinds:
            return
        self._kinds = kinds
        if not self._fits:
            self._message.emit(
                "info",
                "The classes changed: what is painted from now on is used from the "
                "next training on.",
            )
        elif len(kinds) > len(self._network_kinds):
            self._message.emit(
                "info",
                "The network in training has no place for the new class: it is learnt "
                "from the next training on.",
            )

    @property
    def _fits(self) -> bool:
        """Whether the classes of the network still mean the same."""
        return self._kinds[: len(self._network_kinds)] == self._network_kinds

    def _changed_planes(
        self, before: ProjectImage, now: ProjectImage
    ) -> set[tuple[int, int]]:
        """Return where parts were finished, or objects given another class."""
        parts = set(before.finished) ^ set(now.finished)
        ids = {i for i, _ in before.class_of.items() ^ now.class_of.items()}
        planes = {(part.t, part.z) for part in parts}
        return planes.union(self._object_index.planes_with(now.id, ids) if ids else ())

    def _correct(self, correction: Correction) -> None:
        """Send a correction; the worker ignores objects of a class that is new."""
        if self.record.far is not None:
            if not self._told_of_remote:
                self._told_of_remote = True
                self._message.emit(
                    "info",
                    "The training on another computer does not see what is painted "
                    "now: it is used from the next training on.",
                )
        elif self.handle is not None and self._fits:
            self.handle.correct(correction)

    def _annotation(self, image_id: str) -> AnnotationReference:
        annotation = self._images.annotation_reference(image_id)
        if annotation is None:
            raise ValueError("The annotation of an image in training was removed.")
        return annotation
