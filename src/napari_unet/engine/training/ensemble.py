"""Several networks of one training set, saved as one model: the mean of what they say.

Each learns all but another part of what is annotated and is judged by it, one after the
other, with an equal share of the budget. What is finished lies beside the checkpoint,
so a run that was interrupted goes on where it was.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from napari_unet.core.events import Judging, StepDone, TrainingFinished, TrainingStarted
from napari_unet.core.model import MOST_MEMBERS, Model
from napari_unet.core.training.folds import Fold
from napari_unet.engine.training.stopwatch import Stopwatch
from napari_unet.io.model_file import (
    CHECKPOINT_SUFFIX,
    load_model,
    read_card,
    save_model,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

    from napari_unet.core.events import Event
    from napari_unet.core.images.image_outputs import ImageOutputs
    from napari_unet.core.model import AnyScore, ModelCard
    from napari_unet.core.settings import Segmentation
    from napari_unet.core.training.training_settings import Training
    from napari_unet.engine.training.run import TrainingRun


def train_ensemble(
    begin: Callable[..., TrainingRun],
    settings: Training,
    folds: int,
    resume: Path | None,
    checkpoint: Path | None,
    clock: Stopwatch,
) -> Generator[Event, None, None]:
    """Train a network for each fold, with the events of `train`.

    `begin` makes the run of one of them: it takes settings, what to resume, a clock and
    the fold. Progress is that of all; the steps counted are those of the network in
    training. A ValueError says that there is too little to hold out, or that what is
    to be gone on with belongs to another training.
    """
    members: list[Model] = []
    if resume is not None:
        members = _finished(settings, folds, resume)
        _check_checkpoint(resume, settings, folds, len(members))
    elif checkpoint is not None:
        remove_members(checkpoint)
    done: list[TrainingFinished] = []
    for number in range(len(members), folds):
        fold = Fold(number, folds, settings.seed)
        recipe = _share_of(settings, number, folds)
        goes_on = resume is not None and _belongs(resume, recipe)
        run = begin(
            recipe,
            resume=resume if goes_on else None,
            clock=Stopwatch() if done else clock,
            fold=fold,
        )
        for _ in run.prepare():
            pass
        _check_data(run, members)
        with closing(run.events()) as events:
            done.append((yield from _as_one_of(events, fold)))
        members.append(done[-1].model)
        if checkpoint is not None:
            save_model(members[-1], member_file(checkpoint, number))
    problems = [f.problem for f in done if f.problem]
    yield TrainingFinished(
        joined(members, settings),
        sum(model.card.steps for model in members),
        sum(f.seconds for f in done),
        " ".join(problems) or None,
    )


def joined(members: Sequence[Model], settings: Training) -> Model:
    """Return the model of several networks; the settings are those of all together.

    Its score is the mean of theirs, each judged by what it has not learnt: the mean of
    their answers is not judged, as there is nothing that none has learnt. How cells are
    found is the middle of what was best for each.
    """
    cards = [member.card for member in members]
    card = cards[0].replace(
        members=len(members),
        training=settings.with_network_of(cards[0].training),
        segmentation=_middle([c.segmentation for c in cards]),
        history=(),
        score=_mean([c.score for c in cards if c.score is not None]),
        steps=sum(c.steps for c in cards),
    )
    weights = {
        f"{number}/{name}": weight
        for number, member in enumerate(members)
        for name, weight in member.weights.items()
    }
    return Model(card, weights)


def member_file(checkpoint: Path, number: int) -> Path:
    """Return where a finished network lies until all are."""
    stem = checkpoint.name.removesuffix(CHECKPOINT_SUFFIX)
    return checkpoint.with_name(f"{stem}.network{number + 1}{CHECKPOINT_SUFFIX}")


def remove_members(checkpoint: Path) -> None:
    """Remove the finished networks of a model that is saved, or begun anew."""
    for number in range(MOST_MEMBERS):
        member_file(checkpoint, number).unlink(missing_ok=True)


def _share_of(settings: Training, number: int, folds: int) -> Training:
    """Return the recipe of one network: its own seed, its share of the budget."""
    return settings.replace(
        seed=(settings.seed + number) % 2**31,
        steps=-(-settings.steps // folds),
        minutes=settings.minutes / folds,
    )


def _finished(settings: Training, folds: int, checkpoint: Path) -> list[Model]:
    """Return the networks that an interrupted run has finished."""
    found: list[Model] = []
    while len(found) < folds:
        file = member_file(checkpoint, len(found))
        if not file.exists():
            break
        model = load_model(file)
        if model.card.training != _share_of(settings, len(found), folds):
            raise ValueError(
                f"{file} was trained with other settings, or is one of another number "
                "of networks: go on with the same, or begin anew without --resume."
            )
        found.append(model)
    return found


def _check_checkpoint(
    checkpoint: Path, settings: Training, folds: int, finished: int
) -> None:
    """Refuse a checkpoint that is neither of the next network nor of the one before."""
    possible = range(max(finished - 1, 0), min(finished + 1, folds))
    if not any(_belongs(checkpoint, _share_of(settings, n, folds)) for n in possible):
        raise ValueError(
            f"{checkpoint} belongs to none of the networks to go on with, of which "
            f"number {finished + 1} of {folds} is next: go on with what it was trained "
            "with, or begin anew without --resume."
        )


def _belongs(checkpoint: Path, recipe: Training) -> bool:
    """Whether a checkpoint is that of this network, and not of one that is finished."""
    return checkpoint.exists() and read_card(checkpoint).training.seed == recipe.seed


def _check_data(run: TrainingRun, members: Sequence[Model]) -> None:
    """Refuse networks of other images: each has to learn what others are judged by.

    Of other targets, too: what networks make is on the scale of these.
    """
    now = _data(run.loop.prepared.state.card)
    for member in members:
        if _data(member.card) != now:
            raise ValueError(
                "the networks that are finished have learnt other images: go on with "
                "the same, or begin anew without --resume."
            )


def _data(card: ModelCard) -> tuple[set[str], ImageOutputs | None]:
    return {record.sha256 for record in card.images}, card.outputs


def _as_one_of(
    events: Iterator[Event], fold: Fold
) -> Generator[Event, None, TrainingFinished]:
    """Pass on the events of one run as those of several, but for its last."""
    later, each = fold.total - fold.number - 1, 0.0
    for event in events:
        if isinstance(event, TrainingFinished):
            problem = event.problem and f"Of {fold.name}: {event.problem}"
            return replace(event, problem=problem)
        if isinstance(event, StepDone):
            if event.progress < 1:
                each = event.seconds_left / (1 - event.progress)
            yield replace(
                event,
                progress=(fold.number + event.progress) / fold.total,
                seconds_left=event.seconds_left + later * each,
            )
        elif isinstance(event, TrainingStarted) and fold.number > 0:
            # said once
            yield replace(event, notes=(), decisions=())
        elif not isinstance(event, Judging) or not later:
            yield event
    raise RuntimeError("a training ended without a result")


def _middle(chosen: Sequence[Segmentation]) -> Segmentation:
    return chosen[0].replace(
        threshold=median(c.threshold for c in chosen),
        min_distance=median(c.min_distance for c in chosen),
        neck=median(c.neck for c in chosen),
        min_size=round(median(c.min_size for c in chosen)),
    )


def _mean(scores: Sequence[AnyScore]) -> AnyScore | None:
    """Return the mean of each figure by pixels; one that is missing stays so."""
    pixels = sum(score.pixels for score in scores)
    if not pixels:
        return None
    means: dict[str, float | None] = {}
    for name in type(scores[0]).model_fields.keys() - {"pixels"}:
        values = [(getattr(score, name), score.pixels) for score in scores]
        known = [value * count for value, count in values if value is not None]
        means[name] = sum(known) / pixels if len(known) == len(values) else None
    return type(scores[0]).model_validate({**means, "pixels": pixels})
