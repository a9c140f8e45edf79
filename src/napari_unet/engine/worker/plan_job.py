"""Planning of the settings of a training from the annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.events import TrainingPlanned
from napari_unet.core.images.image import Field
from napari_unet.core.training.fingerprint import Observer
from napari_unet.engine.training.planning import planned
from napari_unet.io.model_file import read_card

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import PlanJob
    from napari_unet.engine.worker.model_cache import Context


def run(job: PlanJob, _: Context) -> Iterator[Event | None]:
    """Read all annotation and plan; None after each plane, at last the plan."""
    observer = Observer()
    for reference, annotation, places in zip(
        job.images, job.annotations, job.places, strict=True
    ):
        image = reference.open()
        for t, z in places:
            observer.add(Field(image, t, z), annotation.field(t, z))
            yield None
    start = read_card(job.start) if job.start else None
    found = observer.fingerprint()
    yield TrainingPlanned(planned(found, job.settings, start, job.device))
