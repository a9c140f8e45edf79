"""Corrections learnt at once, by a model that is kept from one to the next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import (
    FIRST_OBJECT,
    UNKNOWN,
    Annotation,
)
from napari_unet.core.cells.label_ids import distinct
from napari_unet.core.events import CorrectionsLearnt
from napari_unet.core.geometry.boxes import around
from napari_unet.core.images.image import Field
from napari_unet.core.images.rescaling import ScaledField, rescaling
from napari_unet.core.text import counted
from napari_unet.core.training.training_set import (
    at_scale,
    make_example,
    update_example,
)
from napari_unet.engine.training.corrections import note_record
from napari_unet.engine.training.learner import Learner
from napari_unet.engine.training.preparation import record_of
from napari_unet.io.model_file import SUFFIX, load_model, save_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.array_reference import ImageReference
    from napari_unet.core.images.image import Image
    from napari_unet.core.jobs import LearnJob, Place
    from napari_unet.core.model import ModelCard
    from napari_unet.engine.worker.model_cache import Context

# What tells a field from all others: files of its image, time point, slice.
Key = tuple["ImageReference", int, int | None]
# End of what the card of such a model says.
_NOTE = "learnt one by one, while its predictions were looked at."
# Pixels this much longer along one axis than along another are of another shape.
_ALIKE = 1.05


def run(job: LearnJob, context: Context) -> Iterator[Event | None]:
    """Learn the corrections, write the model, and say how many are in it.

    None comes after each field that is read and each step. If the model cannot learn,
    or an image is of another pixel size along one axis than along the others, it is a
    ValueError.
    """
    session, context.cache.corrected = context.cache.corrected, None
    if session is None or not session.serves(job):
        session = CorrectedModel(job)
    yield from session.read(job)
    if job.corrections:
        changed = session.correct(job)
        yield from session.learner.learn(changed)
        yield session.written(job)
    # only now: what broke off is half learnt
    context.cache.corrected = session


class CorrectedModel:
    """A model in use, from its first correction on."""

    def __init__(self, job: LearnJob) -> None:
        model = load_model(job.model)
        self.learner = Learner(model, job.device)
        self._before, self._output = job.model, job.output
        # of a model that goes on from its file
        self._learnt_before = job.learnt
        # when its file was written, where it has one of its own
        own = job.model == job.output
        self._written = _time(job.output) if own else None
        self._images: dict[ImageReference, Image] = {}
        # size of what the network sees of each image, as a share of its own
        self._scales: dict[ImageReference, float] = {}

    @property
    def count(self) -> int:
        """Number of corrections that are in the model."""
        return self._learnt_before + self.learner.count

    def serves(self, job: LearnJob) -> bool:
        """Whether it is the model that a job is for, whose file is as it was left."""
        if job.output != self._output:
            return False
        if self.count == 0:
            return job.model == self._before
        return job.model == job.output and _time(job.output) == self._written

    def read(self, job: LearnJob) -> Iterator[None]:
        """Read what was known of the fields of a job before its corrections.

        Of a field that is new nothing was, in the box that is corrected.
        """
        corrected = {_key(job, c.image, (c.t, c.z)): c for c in job.corrections}
        for number, places in enumerate(job.places):
            for place in places:
                key = _key(job, number, place)
                if self.learner.example(key) is None:
                    field, annotation = self._read(job, number, place)
                    if key in corrected:
                        annotation = _without(annotation, corrected[key].box)
                    self._know(key, field, annotation, None)
                    yield
        self.learner.begin()

    def correct(self, job: LearnJob) -> list[tuple[Key, Box]]:
        """Take note of what changed; return where it did, in pixels of the network."""
        changed: list[tuple[Key, Box]] = []
        for correction in job.corrections:
            place = correction.t, correction.z
            key = _key(job, correction.image, place)
            field, annotation = self._read(job, correction.image, place)
            box = self._changed(key, field, annotation, correction.box)
            if box is None and correction.box and not self.learner.has_learnt(key):
                # painted when the job before was on its way, which read it along
                without = _without(annotation, correction.box)
                self._know(key, field, without, correction.box)
                self.learner.begin_again(key)
                box = self._changed(key, field, annotation, correction.box)
            if box is not None:
                changed.append((key, box))
        return changed

    def _changed(
        self, key: Key, field: Field, annotation: Annotation, box: Box | None
    ) -> Box | None:
        """Know a field anew within a box; return where it is another, if anywhere."""
        before = self.learner.example(key)
        self._know(key, field, annotation, box)
        now = self.learner.example(key)
        if before is None or now is None:
            return None
        return around(before.classes != now.classes)

    def written(self, job: LearnJob) -> CorrectionsLearnt:
        """Write the model as it is now, unless that is the one it began with."""
        learner, output = self.learner, Path(job.output)
        if self.count:
            model = learner.model()
            save_model(replace(model, card=self._card(model.card, job)), output)
            self._written = _time(job.output)
        else:
            output.unlink(missing_ok=True)
        return CorrectionsLearnt(job.output, self.count, learner.steps)

    def _card(self, card: ModelCard, job: LearnJob) -> ModelCard:
        """Return the card of the model that has learnt: nothing has judged it."""
        count = counted(self.count, "correction was", "corrections were")
        note = f"{count} {_NOTE}"
        records = list(card.images)
        for example in self.learner.corrected:
            note_record(records, record_of(example))
        return card.replace(
            name=Path(job.output).name.removesuffix(SUFFIX),
            parent=card.parent if self._learnt_before else card.name,
            notes=(*(n for n in card.notes if not n.endswith(_NOTE)), note),
            images=tuple(records),
            score=None,
            segmentation=job.segmentation,
        )

    def _know(
        self, key: Key, field: Field, annotation: Annotation, box: Box | None
    ) -> None:
        """Make the example of a field, or that of before anew within a box."""
        card = self.learner.card
        field, annotation = at_scale(field, annotation, self._scales[key[0]])
        if box is not None and isinstance(field, ScaledField):
            box = field.scaled_box(box)
        border, before = card.training.border, self.learner.example(key)
        if before is None:
            example = make_example(field, annotation, border, card.normalisation)
        else:
            example = update_example(before, annotation, box, border)
        self.learner.know(key, example)

    def _read(
        self, job: LearnJob, number: int, place: Place
    ) -> tuple[Field, Annotation]:
        """Return a field and what is known of it, in the classes of the model."""
        reference, card = job.images[number], self.learner.card
        image = self._images.get(reference)
        if image is None:
            image = self._images[reference] = reference.open()
            self._scales[reference] = _scale(card, image)
        field, annotation = Field(image, *place), job.annotations[number]
        if annotation is None:
            return field, Annotation(np.zeros(field.shape, np.int32), card.classes)
        return field, with_classes(annotation.field(*place), card)


def _without(annotation: Annotation, box: Box | None) -> Annotation:
    """Return an annotation in which nothing is known in a box, or at all."""
    labels, finished = np.array(annotation.labels), annotation.finished
    where = ... if box is None else box
    labels[where] = UNKNOWN
    if finished is not None:
        finished = np.array(finished)
        finished[where] = False
    return replace(annotation, labels=labels, finished=finished)


def with_classes(annotation: Annotation, card: ModelCard) -> Annotation:
    """Return an annotation in the classes of a model, which are found by their names.

    A single class is the same thing under whatever name. Objects of a class that the
    model does not tell apart are as if not annotated.
    """
    numbers = {c.name: n for n, c in enumerate(card.classes, start=1)}
    names = [c.name for c in annotation.classes]
    known = [numbers.get(name, 0) for name in names]
    if len(names) == len(card.classes) == 1:
        known = [1]
    labels = annotation.labels
    ids = [i for i in distinct(labels).tolist() if i >= FIRST_OBJECT]
    class_of = {i: known[annotation.class_of.get(i, 1) - 1] for i in ids}
    other = [i for i, number in class_of.items() if not number]
    if other:
        labels = np.where(np.isin(labels, other), UNKNOWN, labels)
    class_of = {i: number for i, number in class_of.items() if number}
    return replace(annotation, labels=labels, classes=card.classes, class_of=class_of)


def _scale(card: ModelCard, image: Image) -> float:
    """Return the size at which the network sees an image, as a share of its own.

    As it was when it was predicted: an implausible pixel size does not count.
    """
    ndim, own = card.architecture.ndim, card.training.scale
    try:
        found = rescaling(card.spacing_um, image.known_um, ndim, image.name, own)
    except ValueError:
        return own
    if found is None:
        return 1.0
    if max(found) > _ALIKE * min(found):
        raise ValueError(
            f"{image.name}: its pixels have another shape than those that {card.name} "
            "was trained on, so that corrections cannot be learnt at once: train again."
        )
    return found[-1]


def _key(job: LearnJob, number: int, place: Place) -> Key:
    return job.images[number], *place


def _time(path: str) -> int | None:
    file = Path(path)
    return file.stat().st_mtime_ns if file.exists() else None
