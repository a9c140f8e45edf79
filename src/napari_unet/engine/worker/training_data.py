"""The data of a training job: shared arrays of images and annotation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import UNKNOWN, Annotation
from napari_unet.core.images.image import Field, Image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.array_reference import AnnotationReference
    from napari_unet.core.jobs import Correction, Place, TrainJob


class TrainingData:
    """Fields and annotation of a job, each image opened once."""

    def __init__(self, job: TrainJob) -> None:
        self.job = job
        self.images: list[Image] = [reference.open() for reference in job.images]
        self.annotations: list[AnnotationReference] = list(job.annotations)
        # of each image, in their order
        self.places = [dict.fromkeys(places) for places in job.places]

    def pairs(self, ndim: int) -> Iterator[tuple[Field, Annotation | None]]:
        """Yield fields with their annotation; without any, the fields alone."""
        for number in range(len(self.images)):
            for t, z in self._as_fields(number, self.places[number], ndim):
                known: Annotation | None = None
                if self.annotations:
                    known = self._with_classes(self.annotations[number].field(t, z))
                yield Field(self.images[number], t, z), known

    def corrected(
        self, correction: Correction, ndim: int
    ) -> Iterator[tuple[Field, Annotation, Box | None]]:
        """Yield the corrected fields, their annotation now, and the changed boxes.

        The network keeps its classes: objects of new classes count as unannotated.
        """
        annotation, number = correction.annotation, correction.image
        self.annotations[number] = annotation
        place = correction.t, correction.z
        self.places[number].setdefault(place)
        fields = self._as_fields(number, [place], ndim)
        for t, z in fields:
            box = correction.box if [place] == fields else None
            known = self._with_classes(annotation.field(t, z))
            yield Field(self.images[number], t, z), known, box

    def _as_fields(
        self, number: int, places: Iterable[Place], ndim: int
    ) -> list[Place]:
        """Convert places between planes and volumes."""
        found: dict[Place, None] = {}
        for t, z in places:
            if ndim == 3:
                found.setdefault((t, None))
            elif z is not None:
                found.setdefault((t, z))
            else:
                slices = range(self.images[number].size("z"))
                found.update(dict.fromkeys((t, k) for k in slices))
        return list(found)

    def _with_classes(self, annotation: Annotation) -> Annotation:
        classes = self.job.annotations[0].classes
        other = [i for i, k in annotation.class_of.items() if k > len(classes)]
        labels = annotation.labels
        if other:
            labels = np.where(np.isin(labels, other), UNKNOWN, labels)
        class_of = {i: k for i, k in annotation.class_of.items() if k <= len(classes)}
        return replace(annotation, labels=labels, classes=classes, class_of=class_of)
