"""Training as a generator of events.

Each yield is a tick of progress and a point where the training can be cancelled by
closing the generator; a checkpoint is then written. With a budget in steps, a training
that is resumed ends with the same weights as an uninterrupted one.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from napari_unet.core.training.fingerprint import fingerprint
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.objectives.catalogue import all_pairs
from napari_unet.engine.training.course import Course
from napari_unet.engine.training.planning import planned, planned_before
from napari_unet.engine.training.preparation import RunOptions
from napari_unet.engine.training.stopwatch import Stopwatch
from napari_unet.engine.training.team import ALONE
from napari_unet.io.model_file import read_card

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from napari_unet.core.annotation.annotations import Annotation, Kind
    from napari_unet.core.cells.objects import Objects
    from napari_unet.core.events import Event
    from napari_unet.core.images.image import ArrayLike, Image
    from napari_unet.core.model import Model
    from napari_unet.engine.objectives.objective import Pair
    from napari_unet.engine.training.team import Alone


def train(
    images: Sequence[Image | ArrayLike],
    labels: Sequence[Annotation | Objects | Image | ArrayLike] = (),
    settings: Training | None = None,
    *,
    kind: Kind | None = None,
    regions: Collection[int] | None = (),
    start: Model | None = None,
    resume: str | Path | None = None,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    head_start: float = 0.0,
    team: Alone = ALONE,
) -> Iterator[Event]:
    """Train a network.

    Parameters
    ----------
    images : sequence of Image or array-like
        Arrays without axes are yx, zyx, czyx or tczyx. Sizes may differ.
    labels : sequence of Annotation, Objects, Image or array-like
        One for each image, of its size, without channels. For the task "regress" of the
        settings the images to be made, with any channels; none for "denoise".
    settings : Training, optional
        `Training.quick()` by default, or the recipe that the model to start from
        brings. Those of `Training.automatic` are planned first.
    kind : {"instances", "binary", "semantic", "annotation", "sparse"}, optional
        What the values in the labels mean; guessed if not given.
    regions : collection of int, optional
        Numbers of the classes that are areas without objects, None for all.
    start : Model, optional
        Weights to start from; its levels replace those of the settings. It may have
        other classes and another number of channels.
    resume : str or Path, optional
        Checkpoint to go on from, with the same images, labels and settings.
    checkpoint : str or Path, optional
        Where to write checkpoints: about every 20 s, at the end, and when the run is
        cancelled or an error ends it.
    device : str
        auto, cpu, cuda, cuda:N or mps.
    head_start : float
        Seconds of a budget in minutes that are already used up.
    team : Alone
        Processes that train together, each of which calls this alike.

    Yields
    ------
    Event
        `TrainingStarted`, `StepDone` for each step, `ValidationDone`,
        `CheckpointWritten`, `Judging` after the last step, and at last
        `TrainingFinished` with the model; that only of the first of a team.

    Raises
    ------
    ValueError
        If images and labels do not go together or nothing is annotated.
    """
    clock = Stopwatch(head_start)
    if settings is None:
        settings = Training.quick()
        if start is not None:
            settings = settings.with_recipe_of(start.card.training)
    yield from train_pairs(
        all_pairs(settings, images, labels, kind, regions),
        settings,
        RunOptions(
            start,
            None if resume is None else Path(resume),
            None if checkpoint is None else Path(checkpoint),
            device,
            team,
        ),
        clock=clock,
    )


def train_pairs(
    pairs: Callable[[Any], Iterable[Pair]],
    settings: Training,
    options: RunOptions,
    *,
    clock: Stopwatch | None = None,
    steer: Callable[[Course], None] = lambda _: None,
) -> Iterator[Event]:
    """Train on planes or volumes, with what is known of each; else as `train`.

    `pairs` takes 2 or 3 and returns them; `clock` shows the time already used up;
    `steer` is called with the training after each event.
    """
    settings = _planned(pairs, settings, options)
    options.team.check(settings)
    course = Course(pairs, settings, options, clock=clock)
    with closing(course.events()) as events:
        for event in events:
            if event is not None:
                yield event
            steer(course)


def _planned(
    pairs: Callable[[Any], Iterable[Pair]], settings: Training, options: RunOptions
) -> Training:
    """Return the settings, planned if a planner is to choose some of them."""
    resume, team = options.resume, options.team
    if settings.is_unplanned and resume is not None and not settings.try_both:
        before = planned_before(read_card(resume), settings)
        if before.folds > 1:
            # each of several networks has its own budget and seed
            own = {n: getattr(settings, n) for n in ("seed", "steps", "minutes")}
            before = before.replace(**own)
        settings = before
    if not settings.is_unplanned:
        return settings
    found = fingerprint(pairs(settings.ndim))
    settings = planned(found, settings, options.start_card, options.device)
    if team is ALONE:
        return settings
    # memory may differ, and with it the plan
    return TypeAdapter(Training).validate_json(
        team.broadcast_text(settings.model_dump_json())
    )
