"""A training from its start to its model: of one network, or of several.

Several are trained one after the other, each with an equal share of the budget: the
folds of an ensemble, or recipes of which the best is kept. Finished networks lie beside
the checkpoint, so that an interrupted training resumes where it was.
"""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_unet.core.events import Judging, StepDone, TrainingFinished, TrainingStarted
from napari_unet.core.text import reason
from napari_unet.core.training.fingerprint import Observer
from napari_unet.core.training.folds import Fold
from napari_unet.core.training.planner import shrunk
from napari_unet.core.training.run_log import RunLog
from napari_unet.core.training.training_settings import AUTO
from napari_unet.engine.training.contest import Contest, name_of
from napari_unet.engine.training.ensemble import joined
from napari_unet.engine.training.run import TrainingRun
from napari_unet.engine.training.stopwatch import Stopwatch
from napari_unet.io.model_file import (
    load_model,
    member_file,
    read_card,
    remove_members,
    save_model,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from napari_unet.core.annotation.annotations import Annotation
    from napari_unet.core.events import Event
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.image import Field
    from napari_unet.core.model import Model, ModelCard
    from napari_unet.core.training.common_parts import Part
    from napari_unet.core.training.training_settings import Training
    from napari_unet.engine.network.network import Network
    from napari_unet.engine.objectives.objective import Pair
    from napari_unet.engine.training.preparation import RunOptions


# Share of the budget from which on a network that was stopped early counts as trained.
_NEARLY = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Leg:
    """One network of several: its own seed, its share of the budget."""

    recipe: Training
    name: str  # for people
    # what is held out, by one or the other
    fold: Fold | None = None
    parts: tuple[Part, ...] = ()


class Course:
    """A training, to be watched and corrected while it goes on.

    Parameters
    ----------
    pairs : callable
        Takes 2 or 3, and returns planes or volumes with what is known of each; asked
        again for each network.
    settings : Training
        Those that were to be planned are planned.
    clock : Stopwatch, optional
        Shows the time already used up.
    begin : callable
        Makes the run of one network.
    as_given : bool
        Choose no image size by the cells: the settings are those of a training before.
    """

    def __init__(
        self,
        pairs: Callable[[int], Iterable[Pair]],
        settings: Training,
        options: RunOptions,
        *,
        clock: Stopwatch | None = None,
        begin: Callable[..., TrainingRun] = TrainingRun,
        as_given: bool = False,
    ) -> None:
        self._begin, self._pairs, self._settings = begin, pairs, settings
        self._as_given = as_given
        self._options = options
        self._clock = clock or Stopwatch()
        self._contest: Contest | None = None
        self._legs: list[Leg] = []
        self._members: list[Model] = []
        self._run: TrainingRun | None = None
        self._finishing = self._told = False
        self._waiting: list[tuple[Field, Annotation, Box | None]] = []

    @property
    def several(self) -> bool:
        """Whether there is more than one network; known when the first is prepared."""
        return len(self._legs) > 1

    @property
    def run(self) -> TrainingRun:
        """The network in training, or the last; a RuntimeError before the first."""
        if self._run is None:
            raise RuntimeError("the training has not begun: prepare it first.")
        return self._run

    @property
    def ndim(self) -> int:
        """Of the network in training."""
        leg = self._legs[min(len(self._members), len(self._legs) - 1)]
        return leg.recipe.ndim

    def network(self) -> Network:
        """Return the network in training; a RuntimeError if there is none yet."""
        return self.run.loop.network()

    def prepare(self) -> Iterator[None]:
        """Get the first network ready, field by field."""
        if self._legs:
            return
        yield from self._find_legs()
        if self.several:
            self._find_members()
        yield from self._next_run()

    def events(self) -> Generator[Event | None, None, None]:
        """Train; the events are those of `TrainingRun`, None while one is prepared.

        Progress is that of all networks; the steps are those of the one in training.
        If the generator is closed, or an error ends it, a checkpoint is written.
        """
        yield from self.prepare()
        if not self.several:
            with closing(self.run.events()) as events:
                yield from events
            return
        done: list[TrainingFinished] = []
        while len(self._members) < len(self._legs) and not self._finishing:
            if done:
                yield from self._next_run()
                if len(self._members) == len(self._legs):
                    break  # what was left cannot be tried
            number = len(self._members)
            with closing(self.run.events()) as events:
                ended = yield from self._of_all(events, number)
            if self._members and not _is_complete(ended, self._legs[number].recipe):
                break  # half trained: the finished ones are kept
            done.append(ended)
            self._members.append(ended.model)
            if self._options.checkpoint is not None:
                save_model(ended.model, member_file(self._options.checkpoint, number))
        yield from self._result(done)

    def correct(
        self, field: Field, annotation: Annotation, box: Box | None = None
    ) -> None:
        """As `TrainingRun.correct`; the field has the axes of the network."""
        if self._run is not None and self._run.is_prepared:
            self._run.correct(field, annotation, box)
        else:
            self._waiting.append((field, annotation, box))

    def finish(self) -> None:
        """Let the next step be the last, and begin no other network."""
        self._finishing = True
        if self._run is not None:
            self._run.finish()

    def _fit_size(self) -> Iterator[None]:
        """Choose the size of the images, if that is left to the program."""
        settings, options = self._settings, self._options
        planned = settings.preset == AUTO or settings.try_both
        if self._as_given or not settings.shrink or settings.scale != 1 or planned:
            return
        if settings.task != "segment" or settings.ndim == 3 or options.start:
            return
        if (begun := self._begun()) is not None:
            size, decisions = begun.scale, begun.decisions
            self._settings = settings.replace(scale=size, decisions=decisions)
            return
        observer = Observer()
        for field, known in self._pairs(2):
            observer.add(field, known)
            yield
        with suppress(ValueError):  # nothing is annotated: the run says it
            self._settings = shrunk(observer.fingerprint(), settings)

    def _begun(self) -> Training | None:
        """Return the settings with which the training to resume was begun."""
        resume = self._options.resume
        if resume is None:
            return None
        files = (resume, member_file(resume, 0))
        return next((read_card(f).training for f in files if f.exists()), None)

    def _find_legs(self) -> Iterator[None]:
        yield from self._fit_size()
        settings = self._settings
        if settings.try_both:
            options = self._options
            contest = self._contest = Contest(
                self._pairs, settings, options.start_card, options.device
            )
            yield from contest.prepare()
            total = len(contest.candidates)
            self._legs = [
                Leg(_share_of(recipe, k, total), name_of(recipe), parts=contest.parts)
                for k, recipe in enumerate(contest.candidates)
            ]
        elif settings.folds > 1:
            folds = [
                Fold(k, settings.folds, settings.seed) for k in range(settings.folds)
            ]
            self._legs = [
                Leg(_share_of(settings, fold.number, fold.total), fold.name, fold)
                for fold in folds
            ]
        else:
            self._legs = [Leg(settings, "")]

    def _find_members(self) -> None:
        """Find the networks that an interrupted training has finished."""
        resume, legs = self._options.resume, self._legs
        if resume is None:
            if self._options.checkpoint is not None:
                remove_members(self._options.checkpoint)
            return
        for number, leg in enumerate(legs):
            legs[number] = _as_begun(leg, member_file(resume, number), resume)
        while len(self._members) < len(legs):
            number = len(self._members)
            file = member_file(resume, number)
            if not file.exists():
                break
            model = load_model(file)
            if model.card.training != legs[number].recipe:
                raise ValueError(
                    f"{file} was trained with other settings, or is one of another "
                    "number of networks: go on with the same, or begin anew without "
                    "--resume."
                )
            self._members.append(model)
        finished = len(self._members)
        possible = legs[max(finished - 1, 0) : finished + 1]
        if not any(_belongs(resume, leg.recipe) for leg in possible):
            raise ValueError(
                f"{resume} belongs to none of the networks to go on with, of which "
                f"number {finished + 1} of {len(legs)} is next: go on with what it was "
                "trained with, or begin anew without --resume."
            )

    def _next_run(self) -> Iterator[None]:
        """Prepare the next network, unless all are finished.

        A candidate beside the planner's choice is skipped if it does not fit into
        memory or leaves a class without training data.
        """
        while (number := len(self._members)) < len(self._legs):
            leg = self._legs[number]
            try:
                yield from self._begin_leg(leg)
            except (MemoryError, ValueError) as error:
                if self._contest is None or not number:
                    raise
                self._contest.refused[leg.name] = reason(error)
                del self._legs[number]
            else:
                return

    def _begin_leg(self, leg: Leg) -> Iterator[None]:
        first = self._run is None
        resume = self._options.resume if first else None
        if resume and self.several and not _belongs(resume, leg.recipe):
            resume = None
        run = self._run = self._begin(
            self._pairs(leg.recipe.ndim),
            leg.recipe,
            replace(self._options, resume=resume),
            clock=self._clock if first else Stopwatch(),
            fold=leg.fold,
            parts=leg.parts,
        )
        yield from run.prepare()
        if first:
            _check_data(run, self._members)
        waiting, self._waiting = self._waiting, []
        for correction in waiting:
            run.correct(*correction)
        if self._finishing:
            run.finish()

    def _of_all(
        self, events: Iterator[Event], number: int
    ) -> Generator[Event | None, None, TrainingFinished]:
        """Pass on the events of one network, but its last, with the progress of all."""
        total, name = len(self._legs), self._legs[number].name
        later, each = total - number - 1, 0.0
        for event in events:
            if isinstance(event, TrainingFinished):
                problem = event.problem and f"Of {name}: {event.problem}"
                return replace(event, problem=problem)
            if isinstance(event, StepDone):
                if event.progress < 1:
                    each = event.seconds_left / (1 - event.progress)
                yield replace(
                    event,
                    progress=(number + event.progress) / total,
                    seconds_left=event.seconds_left + later * each,
                )
            elif isinstance(event, TrainingStarted):
                again, self._told = self._told, True  # shown once
                yield replace(
                    event,
                    notes=() if again else event.notes,
                    decisions=() if again else event.decisions,
                )
            elif not isinstance(event, Judging) or not later:
                yield event
        raise RuntimeError("a training ended without a result")

    def _result(self, done: Sequence[TrainingFinished]) -> Iterator[Event | None]:
        """Join the networks, or keep the best."""
        if self._contest is None:
            model = joined(self._members, self._settings)
        else:
            model = yield from self._contest.best(self._members)
        problems = [ended.problem for ended in done if ended.problem]
        log = RunLog.joined([e.log for e in done if e.log is not None], len(self._legs))
        if self._contest is not None and log is not None:
            why = "it is the best of several networks that were tried"
            log = replace(log, problem=why)
        yield TrainingFinished(
            model,
            sum(member.card.steps for member in self._members),
            sum(ended.seconds for ended in done),
            " ".join(problems) or None,
            log,
        )


def _share_of(settings: Training, number: int, total: int) -> Training:
    """Return the recipe of one network: its own seed, its share of the budget."""
    return settings.replace(
        seed=(settings.seed + number) % 2**31,
        steps=-(-settings.steps // total),
        minutes=settings.minutes / total,
    )


def _is_complete(ended: TrainingFinished, recipe: Training) -> bool:
    """Whether a network was not stopped early, or its training went wrong."""
    if ended.problem:
        return True
    if recipe.steps:
        return ended.model.card.steps >= recipe.steps
    return ended.seconds >= _NEARLY * 60 * recipe.minutes


def _as_begun(leg: Leg, *files: Path) -> Leg:
    """Return a planned network as it was begun: plans depend on free memory."""
    same = ("preset", "seed", "steps", "minutes", "ndim", "scale")
    if leg.recipe.preset != AUTO:
        return leg
    for file in files:
        own = read_card(file).training if file.exists() else None
        if own and all(getattr(own, n) == getattr(leg.recipe, n) for n in same):
            return replace(leg, recipe=own)
    return leg


def _belongs(checkpoint: Path, recipe: Training) -> bool:
    """Whether a checkpoint is that of this network, and not of one that is finished."""
    return checkpoint.exists() and read_card(checkpoint).training.seed == recipe.seed


def _check_data(run: TrainingRun, members: Sequence[Model]) -> None:
    """Refuse networks of other images: each learns what others are validated with.

    Of other targets, too: what networks make is on the scale of these. Images may have
    been annotated since.
    """
    now = run.loop.prepared.state.card
    for card in (member.card for member in members):
        # pixels are others at another size
        alike = all(
            getattr(card.training, name) == getattr(now.training, name)
            for name in ("ndim", "scale")
        )
        if card.outputs != now.outputs or (alike and not _images(card) <= _images(now)):
            raise ValueError(
                "the networks that are finished have learnt other images: go on with "
                "the same, or begin anew without --resume."
            )


def _images(card: ModelCard) -> set[str]:
    return {record.sha256 for record in card.images}
