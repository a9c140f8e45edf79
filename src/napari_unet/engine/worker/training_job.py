"""Training on shared images and annotation, corrected while it goes on."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import (
    BACKGROUND,
    FIRST_OBJECT,
    UNKNOWN,
    Annotation,
)
from napari_unet.core.events import ModelComparison, ModelSaved, TrainingFinished
from napari_unet.core.images.image import Field, Image
from napari_unet.core.settings import BorderWeights
from napari_unet.core.text import reason
from napari_unet.core.training.training_set import make_example
from napari_unet.engine.network.network import prepare
from napari_unet.engine.training.run import TrainingRun
from napari_unet.engine.worker import model_comparison
from napari_unet.io.model_file import load_model, save_model

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray

    from napari_unet.core.events import Event
    from napari_unet.core.images.array_reference import AnnotationReference
    from napari_unet.core.jobs import Correction, TrainJob
    from napari_unet.core.model import Model
    from napari_unet.core.training.training_set import HeldOut, TrainingSet
    from napari_unet.engine.worker.inbox import Task
    from napari_unet.engine.worker.model_cache import Context


def run(job: TrainJob, context: Context) -> Iterator[Event | None]:
    """Train, save the model, and say how good it is.

    The events are those of `training.run.train`, but in place of the last one come
    `ModelComparison` and `ModelSaved`. If nothing is annotated, or images and
    annotation do not go together, it is a ValueError.
    """
    data = _TrainingData(job)
    start = load_model(job.start) if job.start else None
    training = TrainingRun(
        data.pairs(),
        job.settings,
        start=start,
        resume=job.checkpoint if job.resume else None,
        checkpoint=job.checkpoint,
        device=job.device,
    )
    for _ in training.prepare():
        yield None
    context.cache.live = training
    try:
        with closing(training.events()) as events:
            _take_in(context.task, training, data)
            for event in events:
                if isinstance(event, TrainingFinished):
                    save_model(event.model, job.output)
                    parts = training.loop.prepared.training_set
                    yield (yield from _judged(event.model, start, parts, data))
                    card = event.model.card
                    yield ModelSaved(
                        job.output, card, event.steps, event.seconds, event.problem
                    )
                else:
                    yield event
                _take_in(context.task, training, data)
    finally:
        context.cache.live = None


def warm_up() -> None:
    """Load or compile what the first step of a training would wait for.

    It takes about two seconds, on a new installation some more.
    """
    # torch's optimisers import it when the first one is made
    import_module("torch._dynamo")
    labels = np.zeros((32, 32), np.int32)
    labels[4:12, 4:28], labels[14:28, 4:28] = FIRST_OBJECT, FIRST_OBJECT + 1
    labels[12:14] = BACKGROUND
    image = Image(np.zeros((32, 32), np.float32), "yx")
    make_example(Field(image, 0, 0), Annotation(labels), BorderWeights())


class _TrainingData:
    """Fields and annotation of a job, each image opened once."""

    def __init__(self, job: TrainJob) -> None:
        self.job = job
        self.images: list[Image] = [reference.open() for reference in job.images]
        self.annotations: list[AnnotationReference] = list(job.annotations)

    def pairs(self) -> Iterator[tuple[Field, Annotation | None]]:
        """Yield what is to be learnt from; the fields alone without annotation."""
        for number, places in enumerate(self.job.places):
            for t, z in places:
                field = Field(self.images[number], t, z)
                known = (
                    self.annotations[number].field(t, z) if self.annotations else None
                )
                yield field, known

    def corrected(self, correction: Correction) -> tuple[Field, Annotation]:
        """Return the corrected field, and what is known of it now.

        The network keeps its classes: objects of others are as if not annotated.
        """
        annotation = correction.annotation
        self.annotations[correction.image] = annotation
        field = Field(self.images[correction.image], correction.t, correction.z)
        return field, self._with_classes(annotation.field(correction.t, correction.z))

    def cells(self, part: HeldOut) -> NDArray[np.int32]:
        """Return the annotated cells of a part that is held out."""
        field = part.example.field
        number = next(k for k, i in enumerate(self.images) if i is field.image)
        known = self.annotations[number].field(field.t, field.z, part.box)
        return self._with_classes(known).targets().instances

    def _with_classes(self, annotation: Annotation) -> Annotation:
        classes = self.job.annotations[0].classes
        other = [i for i, k in annotation.class_of.items() if k > len(classes)]
        labels = annotation.labels
        if other:
            labels = np.where(np.isin(labels, other), UNKNOWN, labels)
        class_of = {i: k for i, k in annotation.class_of.items() if k <= len(classes)}
        return replace(annotation, labels=labels, classes=classes, class_of=class_of)


def _take_in(task: Task, training: TrainingRun, data: _TrainingData) -> None:
    """Pass on what napari has sent meanwhile: corrections, and to finish."""
    while task.corrections:
        correction = task.corrections.popleft()
        training.correct(*data.corrected(correction), correction.box)
    if task.finishing:
        training.finish()


def _judged(
    model: Model, start: Model | None, parts: TrainingSet, data: _TrainingData
) -> Generator[Event | None, None, ModelComparison]:
    """Compare with the model that the training started from."""
    if not parts.held_out:
        return model_comparison.unknown(as_asked=not data.job.settings.validation)
    settings = data.job.settings

    def figures(
        which: Model,
    ) -> Generator[Event | None, None, model_comparison.Figures]:
        network = prepare(which, data.job.device, settings.precision)
        # both find cells in the same way, that of the new model
        card = model.card.replace(architecture=which.card.architecture)
        return (yield from model_comparison.judge(network, card, parts.held_out, cells))

    try:
        cells = [data.cells(part) for part in parts.held_out]
        before = None
        if start is not None and model_comparison.comparable(model.card, start.card):
            before = yield from figures(start)
        return model_comparison.compare(
            (yield from figures(model)), before, parts.validation
        )
    except MemoryError:
        return ModelComparison(
            "unknown", "The model is saved, but there was no memory to judge it."
        )
    except (OSError, RuntimeError, ValueError) as error:
        return ModelComparison(
            "unknown", f"The model is saved, but it cannot be judged: {reason(error)}."
        )
