"""Training on shared images and annotation, corrected while it goes on."""

from __future__ import annotations

from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import (
    BACKGROUND,
    FIRST_OBJECT,
    Annotation,
)
from napari_unet.core.events import ModelComparison, ModelSaved, TrainingFinished
from napari_unet.core.images.image import Field, Image
from napari_unet.core.settings import BorderWeights
from napari_unet.core.text import reason
from napari_unet.core.training.training_set import make_example
from napari_unet.engine.network.network import prepare
from napari_unet.engine.training.course import Course
from napari_unet.engine.training.preparation import RunOptions
from napari_unet.engine.worker import model_comparison
from napari_unet.engine.worker.training_data import TrainingData
from napari_unet.io.model_file import load_model, save_model
from napari_unet.io.run_folder import save_run

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import TrainJob
    from napari_unet.core.model import Model
    from napari_unet.engine.training.run import TrainingRun
    from napari_unet.engine.worker.inbox import Task
    from napari_unet.engine.worker.model_cache import Context


def run(job: TrainJob, context: Context) -> Iterator[Event | None]:
    """Train, save the model, and compare it with the one before.

    The events are those of `training.train.train`, but in place of the last one come
    `ModelComparison` and `ModelSaved`. If nothing is annotated, or images and
    annotation do not go together, it is a ValueError.
    """
    data = TrainingData(job)
    start = load_model(job.start) if job.start else None
    checkpoint = Path(job.checkpoint)
    resume = checkpoint if job.resume else None
    options = RunOptions(start, resume, checkpoint, job.device)
    course = Course(data.pairs, job.settings, options)
    for _ in course.prepare():
        yield None
    if job.annotations:
        # a denoiser, which has none, may be learnt beside it, and is not shown
        context.cache.live = course
    try:
        with closing(course.events()) as events:
            _take_in(context.task, course, data)
            for event in events:
                if isinstance(event, TrainingFinished):
                    save_model(event.model, job.output)
                    lost = _keep(event, Path(job.output))
                    if course.several:
                        yield model_comparison.of_several(event.model.card)
                    else:
                        run = course.run
                        yield (yield from _judged(event.model, start, run, job))
                    card = event.model.card
                    problem = event.problem or lost
                    yield ModelSaved(
                        job.output, card, event.steps, event.seconds, problem
                    )
                else:
                    yield event
                _take_in(context.task, course, data)
    finally:
        if context.cache.live is course:
            context.cache.live = None


def _keep(finished: TrainingFinished, model: Path) -> str | None:
    """Keep what a replay takes; say why if it cannot be, as the model is no worse."""
    try:
        save_run(finished, model)
    except (OSError, ValueError) as error:
        return f"The model is saved, but how it was trained is not kept: {error}"
    return None


def warm_up() -> None:
    """Load or compile what would delay the first step of a training.

    It takes about two seconds, on a new installation some more.
    """
    # torch's optimisers import it when the first one is made
    import_module("torch._dynamo")
    labels = np.zeros((32, 32), np.int32)
    labels[4:12, 4:28], labels[14:28, 4:28] = FIRST_OBJECT, FIRST_OBJECT + 1
    labels[12:14] = BACKGROUND
    image = Image(np.zeros((32, 32), np.float32), "yx")
    make_example(Field(image, 0, 0), Annotation(labels), BorderWeights())


def _take_in(task: Task, course: Course, data: TrainingData) -> None:
    """Pass on messages from napari: corrections, and to finish."""
    while task.corrections:
        for changed in data.corrected(task.corrections.popleft(), course.ndim):
            course.correct(*changed)
    if task.finishing:
        course.finish()


def _judged(
    model: Model, start: Model | None, training: TrainingRun, job: TrainJob
) -> Generator[Event | None, None, ModelComparison]:
    """Compare the model with the one that the training started from."""
    parts, settings = training.loop.prepared.training_set, job.settings
    if not parts.held_out:
        return model_comparison.unknown(requested=not settings.validation)

    def figures(
        which: Model,
    ) -> Generator[Event | None, None, model_comparison.Figures]:
        network = prepare(which, job.device, settings.precision)
        # both with the settings for cells of the new model, at the size they see
        card = model.card.replace(
            architecture=which.card.architecture, segmentation=seen
        )
        return (yield from model_comparison.judge(network, card, parts.held_out, cells))

    ndim = model.card.architecture.ndim
    seen = model.card.segmentation.for_pixels([1 / model.card.training.scale] * ndim)
    try:
        cells = [training.cells(part) for part in parts.held_out]
        before = None
        if start is not None and model_comparison.comparable(model.card, start.card):
            before = yield from figures(start)
        return model_comparison.compare(
            (yield from figures(model)), before, parts.validation
        )
    except MemoryError:
        return ModelComparison(
            "unknown",
            "The model is saved, but memory was too short for its validation.",
        )
    except (OSError, RuntimeError, ValueError) as error:
        return ModelComparison(
            "unknown",
            f"The model is saved, but its validation failed: {reason(error)}.",
        )
