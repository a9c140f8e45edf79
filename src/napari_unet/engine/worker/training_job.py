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
from napari_unet.engine.worker.model_comparison import (
    Figures,
    comparable,
    compare,
    judge,
    unknown,
)
from napari_unet.io.model_file import load_model, save_model

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray

    from napari_unet.core.events import Event
    from napari_unet.core.images.array_reference import AnnotationReference
    from napari_unet.core.jobs import Correction, TrainJob
    from napari_unet.core.model import Model, ModelCard
    from napari_unet.core.training.training_set import HeldOut, TrainingSet
    from napari_unet.engine.worker.model_cache import Context


def run(job: TrainJob, context: Context) -> Iterator[Event | None]:
    """Train, save the model, and say how good it is.

    Yields
    ------
    Event
        As `training.run.train`, but in place of the last one `ModelComparison` and
        `ModelSaved`.

    Raises
    ------
    ValueError
        If nothing is annotated, or images and annotation do not go together.
    """
    source = _Source(job)
    start = load_model(job.start) if job.start else None
    training = TrainingRun(
        source.pairs(),
        job.settings,
        start=start,
        resume=job.checkpoint if job.resume else None,
        checkpoint=job.checkpoint,
        device=job.device,
    )
    for _ in training.prepare():
        yield None
    context.bench.live = training
    try:
        with closing(_followed(training, source, context)) as events:
            for event in events:
                if isinstance(event, TrainingFinished):
                    save_model(event.model, job.output)
                    yield (yield from _judged(event.model, start, training, source))
                    yield _saved(job, event)
                else:
                    yield event
    finally:
        context.bench.live = None


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


def _saved(job: TrainJob, event: TrainingFinished) -> ModelSaved:
    return ModelSaved(
        job.output, event.model.card, event.steps, event.seconds, event.problem
    )


class _Source:
    """Fields and annotation of a job, each image opened once."""

    def __init__(self, job: TrainJob) -> None:
        self.job = job
        self.images: list[Image] = [stored.open() for stored in job.images]
        self.annotations: list[AnnotationReference] = list(job.annotations)

    def pairs(self) -> Iterator[tuple[Field, Annotation]]:
        """Yield what is to be learnt from."""
        for number, places in enumerate(self.job.places):
            for t, z in places:
                field = Field(self.images[number], t, z)
                yield field, self.annotations[number].field(t, z)

    def changed(self, correction: Correction) -> tuple[Field, Annotation]:
        """Take up a correction.

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


def _followed(
    training: TrainingRun, source: _Source, context: Context
) -> Generator[Event, None, None]:
    """Train with the wishes that come in: corrections, and to finish."""
    task = context.task
    with closing(training.events()) as events:
        while True:
            while task.corrections:
                correction = task.corrections.popleft()
                training.correct(*source.changed(correction), correction.box)
            if task.finishing:
                training.finish()
            event = next(events, None)
            if event is None:
                return
            yield event


def _judged(
    model: Model, start: Model | None, training: TrainingRun, source: _Source
) -> Generator[Event | None, None, ModelComparison]:
    """Compare with the model that the training started from."""
    parts = training.training_set
    if not parts.held_out:
        return unknown(parts.validation)
    try:
        return (yield from _compared(model, start, parts, source))
    except MemoryError:
        return ModelComparison(
            "unknown", "The model is saved, but there was no memory to judge it."
        )
    except (OSError, RuntimeError, ValueError) as error:
        return ModelComparison(
            "unknown", f"The model is saved, but it cannot be judged: {reason(error)}."
        )


def _compared(
    model: Model, start: Model | None, parts: TrainingSet, source: _Source
) -> Generator[Event | None, None, ModelComparison]:
    cells = [source.cells(part) for part in parts.held_out]
    card = model.card

    def figures(
        which: Model,
    ) -> Generator[Event | None, None, Figures]:
        network = prepare(which, source.job.device, source.job.settings.precision)
        # both find cells in the same way, that of the new model
        return (yield from judge(network, _as(card, which), parts.held_out, cells))

    before = None
    if start is not None and comparable(card, start.card):
        before = yield from figures(start)
    return compare((yield from figures(model)), before, parts.validation)


def _as(card: ModelCard, model: Model) -> ModelCard:
    return card.replace(architecture=model.card.architecture)
