"""The data check, computed by the worker, and the remedies of its findings."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_unet.core.annotation.annotations import cell_classes
from napari_unet.core.annotation.components import remove_specks, split_components
from napari_unet.core.events import Checked
from napari_unet.core.jobs import CheckJob
from napari_unet.core.network.blended import reach_of
from napari_unet.session.annotating.classes import record_classes
from napari_unet.session.annotating.label_range import values_in

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import Annotation
    from napari_unet.core.annotation.data_check import CheckReport, Finding
    from napari_unet.core.messages import Failed
    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.session import Session
    from napari_unet.session.worker.client import Handle

RING_WIDTH = 5.0
"""Pixels of background that are painted around each cell."""


class DataCheck:
    """Counts the annotation and finds faults, on the CPU worker."""

    changed = Signal()
    """Another report, or a check began or ended."""

    def __init__(self, session: Session) -> None:
        self._store, self._images = session.store, session.images
        self._annotating, self._worker = session.annotating, session.worker
        self._message = session.message
        self._handle: Handle | None = None
        # Ids of the images of the report, and of the check under way.
        self._ids: tuple[str, ...] = ()
        self._checking: tuple[str, ...] = ()
        self.report: CheckReport | None = None

    @property
    def running(self) -> bool:
        """Whether a check is under way."""
        return self._handle is not None

    def check(self) -> None:
        """Check all open images of the project anew."""
        self.close()
        images = self._images.opened()
        if not images:
            self.report = None
            self.changed.emit()
            return
        ids = self._checking = tuple(image.id for image in images)
        try:
            job = CheckJob(
                images=tuple(self._images.reference(id_) for id_ in ids),
                annotations=tuple(
                    self._images.annotation_reference(id_) for id_ in ids
                ),
                places=tuple(self._images.places(id_) for id_ in ids),
                halo=self._halo(images[0]),
            )
        except (OSError, ValueError) as error:
            self._message.emit("warning", f"The check cannot begin: {error}")
        else:
            handle = self._handle = self._worker.submit(job)
            handle.event.connect(self._on_event)
            handle.ended.connect(self._on_end)
            handle.failed.connect(self._on_failed)
        self.changed.emit()

    def close(self) -> None:
        """Cancel a running check."""
        if self._handle is not None:
            self._handle.abandon()
            self._handle = None

    def name_of(self, number: int) -> str:
        """Return the name of an image by its number in the report."""
        return self._store.project.image(self._ids[number]).name

    def go_to(self, finding: Finding) -> None:
        """Show where a finding is; ValueError if its image is gone."""
        image_id = self._image_of(finding)
        self._annotating.go_to(image_id, finding.t, finding.z or 0, finding.position)

    def fix(self, finding: Finding) -> None:
        """Apply the remedy of a finding; napari's own undo reverts it.

        ValueError if the slice has changed since the check.
        """
        image_id = self._image_of(finding)
        t, z, edits = finding.t, finding.z or 0, self._annotating.label_edits
        if finding.fix == "ring":
            edits.add_background_ring(image_id, t, z, RING_WIDTH)
        elif finding.fix == "split" and finding.label is not None:
            self._split(image_id, t, z, finding.label)
        elif finding.fix == "remove-specks":
            edits.change_plane(image_id, t, z, _without_specks)
        elif finding.fix == "new-annotation":
            self._annotating.layers.show(image_id)
        self.check()

    def _split(self, image_id: str, t: int, z: int, label: int) -> None:
        brush = self._annotating.brush
        free = brush.fresh_id(image_id)
        self._annotating.label_edits.change_plane(
            image_id,
            t,
            z,
            lambda painted: split_components(painted.labels, label, free),
        )
        number = self._store.project.image(image_id).class_of.get(label, 1)
        if number > 1:
            new = range(free, brush.free_id(image_id))
            record_classes(self._store, image_id, dict.fromkeys(new, number))

    def _image_of(self, finding: Finding) -> str:
        image_id = self._ids[finding.image]
        if image_id not in self._store.project.ids:
            raise ValueError("This image is no longer in the project.")
        return image_id

    def _halo(self, image: ProjectImage) -> tuple[int, ...]:
        project = self._store.project
        sizes = image.channels, len(project.classes) + 1, image.sizes["z"]
        try:
            network = project.training.architecture(*sizes)
        except ValueError:
            # reported in the Train dock; the annotation can be checked anyway
            network = project.training.with_network("unet").architecture(*sizes)
        # in pixels of the image
        return tuple(ceil(n / project.training.scale) for n in reach_of(network))

    def _on_event(self, event: object) -> None:
        if isinstance(event, Checked):
            self._ids, self.report = self._checking, event.report
            self.changed.emit()

    def _on_failed(self, failed: Failed) -> None:
        self._on_end(failed)
        self._message.emit("warning", f"The check stopped: {failed.sentence}")

    def _on_end(self, _: object) -> None:
        self._handle = None
        self.changed.emit()


def _without_specks(annotation: Annotation) -> NDArray[np.integer]:
    cells = cell_classes(annotation.classes)
    ids = values_in(annotation.labels).tolist()
    regions = [i for i in ids if annotation.class_of.get(i, 1) not in cells]
    return remove_specks(annotation.labels, spared=regions)
