"""The data check: asked of the worker, and its remedies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.annotation.components import remove_specks, split_components
from napari_unet.core.events import Checked
from napari_unet.core.jobs import CheckJob

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import Annotation
    from napari_unet.core.annotation.data_check import CheckReport, Finding
    from napari_unet.core.messages import Failed
    from napari_unet.session.annotating.control import Annotating
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.record import ProjectImage
    from napari_unet.session.project.store import ProjectStore
    from napari_unet.session.worker.client import Handle, Worker

RING_WIDTH = 5.0
"""Pixels of background that are taken around each cell."""


class DataCheck:
    """Counts what is annotated and finds what is wrong, on the CPU worker.

    Parameters
    ----------
    store : ProjectStore
    images : ImageList
    annotating : Annotating
    worker : Worker
    """

    changed = Signal()
    """Another report, or a check began or ended."""
    failed = Signal(str)
    """Why a check could not be made, in a sentence."""

    def __init__(
        self,
        store: ProjectStore,
        images: ImageList,
        annotating: Annotating,
        worker: Worker,
    ) -> None:
        self._store = store
        self._images = images
        self._annotating = annotating
        self._worker = worker
        self._handle: Handle | None = None
        self._ids: tuple[str, ...] = ()
        self._asked: tuple[str, ...] = ()
        self.report: CheckReport | None = None

    @property
    def running(self) -> bool:
        """Whether a check is under way."""
        return self._handle is not None

    def check(self) -> None:
        """Check all open images of the project anew."""
        self.close()
        images = [i for i in self._store.project.images if self._images.layers(i.id)]
        if not images:
            self.report = None
            self.changed.emit()
            return
        self._asked = tuple(image.id for image in images)
        try:
            job = self._job(images[0])
        except (OSError, ValueError) as error:
            self.failed.emit(f"The check cannot begin: {error}")
            self.changed.emit()
            return
        handle = self._handle = self._worker.submit(job, "Check annotation")
        handle.event.connect(self._on_event)
        handle.ended.connect(self._on_end)
        handle.failed.connect(self._on_failed)
        self.changed.emit()

    def _job(self, first: ProjectImage) -> CheckJob:
        return CheckJob(
            images=tuple(self._images.stored(id_) for id_ in self._asked),
            annotations=tuple(self._images.stored_annotation(i) for i in self._asked),
            places=tuple(self._images.places(id_) for id_ in self._asked),
            halo=self._halo(first),
        )

    def close(self) -> None:
        """Give up a check that is under way."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            handle.event.disconnect(self._on_event)
            handle.ended.disconnect(self._on_end)
            handle.failed.disconnect(self._on_failed)
            handle.cancel()

    def name_of(self, number: int) -> str:
        """Return the name of an image by its number in the report."""
        return self._store.project.image(self._ids[number]).name

    def go_to(self, finding: Finding) -> None:
        """Show the place of a finding; ValueError if its image is gone."""
        image_id = self._image_of(finding)
        self._annotating.go_to(image_id, finding.t, finding.z or 0, finding.position)

    def fix(self, finding: Finding) -> None:
        """Apply the remedy of a finding; napari's own undo takes it back.

        Raises
        ------
        ValueError
            If the place has changed since the check.
        """
        image_id = self._image_of(finding)
        t, z = finding.t, finding.z or 0
        if finding.fix == "ring":
            self._annotating.add_background_ring(image_id, t, z, RING_WIDTH)
        elif finding.fix == "split" and finding.label is not None:
            self._split(image_id, t, z, finding.label)
        elif finding.fix == "remove-specks":
            self._annotating.repair(image_id, t, z, self._without_specks)
        elif finding.fix == "new-annotation":
            self._annotating.new_annotation(image_id)
        self.check()

    def _split(self, image_id: str, t: int, z: int, label: int) -> None:
        free = self._annotating.brush.fresh_id(image_id)

        def change(annotation: Annotation) -> NDArray[np.integer]:
            return split_components(annotation.labels, label, free)

        self._annotating.repair(image_id, t, z, change)
        number = self._store.project.image(image_id).class_of.get(label, 1)
        if number > 1:
            new = range(free, self._annotating.brush.free_id(image_id))
            self._annotating.record_classes(image_id, dict.fromkeys(new, number))

    def _without_specks(self, annotation: Annotation) -> NDArray[np.integer]:
        regions = {
            number
            for number, info in enumerate(annotation.classes, start=1)
            if info.kind == "regions"
        }
        spared = [i for i, k in annotation.class_of.items() if k in regions]
        return remove_specks(annotation.labels, spared=spared)

    def _image_of(self, finding: Finding) -> str:
        image_id = self._ids[finding.image]
        if image_id not in [image.id for image in self._store.project.images]:
            raise ValueError("This image is no longer in the project.")
        return image_id

    def _halo(self, image: ProjectImage) -> tuple[int, ...]:
        project = self._store.project
        size = dict(zip(image.axes, image.shape, strict=True))
        channels = image.channels
        classes = len(project.classes) + 1
        network = project.training.architecture(channels, classes, size.get("z", 1))
        return network.halo

    def _on_event(self, event: object) -> None:
        if isinstance(event, Checked):
            self._ids, self.report = self._asked, event.report
            self.changed.emit()

    def _on_failed(self, failed: Failed) -> None:
        self._on_end(failed)
        self.failed.emit(f"The check stopped: {failed.sentence}")

    def _on_end(self, _: object) -> None:
        self._handle = None
        self.changed.emit()
