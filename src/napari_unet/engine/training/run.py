"""One training run: prepared, corrected while it goes on, and logged."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import torch

from napari_unet.core.events import (
    CheckpointWritten,
    Judging,
    TrainingFinished,
    TrainingStarted,
)
from napari_unet.core.images.rescaling import ScaledField
from napari_unet.core.training.resumption import changes, is_another_recipe
from napari_unet.core.training.run_log import Recorder, RunLog
from napari_unet.core.training.training_set import at_scale
from napari_unet.engine.network.network import prepare as make_ready
from napari_unet.engine.objectives.catalogue import objective_of
from napari_unet.engine.training.corrections import cells_of, field_key
from napari_unet.engine.training.loop import TrainingLoop
from napari_unet.engine.training.preparation import (
    RunOptions,
    prepare_training,
    with_network_of,
)
from napari_unet.engine.training.stopwatch import Stopwatch
from napari_unet.io.model_file import read_card

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import Annotation
    from napari_unet.core.events import Event
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.image import Field
    from napari_unet.core.images.normalisation import Normalisation
    from napari_unet.core.model import Model
    from napari_unet.core.training.common_parts import Part
    from napari_unet.core.training.folds import Fold
    from napari_unet.core.training.run_log import Timetable
    from napari_unet.core.training.training_set import Example, HeldOut
    from napari_unet.core.training.training_settings import Training
    from napari_unet.engine.network.network import Network
    from napari_unet.engine.objectives.objective import Pair
    from napari_unet.engine.training.corrections import FieldKey
    from napari_unet.engine.training.preparation import Prepared


# Behind the fingerprint of the data, if a part was learnt from other data or settings.
_HAD_OTHERS = b"+"
_USUAL = RunOptions()


class TrainingRun:
    """One training run, to be watched and corrected while it goes on.

    Time between two events, in which other jobs may run, does not count.

    Parameters
    ----------
    pairs : iterable of (Field, Annotation)
        Planes or volumes, and what is known of each; read one by one. For images to be
        made the second is a Field, and None to denoise.
    clock : Stopwatch, optional
        Shows the time already used up; then that of all runs.
    fold : Fold, optional
        Which network of several it trains; decides what is held out.
    parts : sequence of Part, optional
        What is held out, for it as for other networks.
    timetable : Timetable, optional
        That of a run which is repeated: it counts in place of the clock.
    """

    def __init__(
        self,
        pairs: Iterable[Pair],
        settings: Training,
        options: RunOptions = _USUAL,
        *,
        clock: Stopwatch | None = None,
        fold: Fold | None = None,
        parts: Sequence[Part] = (),
        timetable: Timetable | None = None,
    ) -> None:
        self._pairs, self._settings, self._options = pairs, settings, options
        self._fold, self._parts = fold, parts
        self._timetable = timetable
        self._recorder = Recorder()
        self._log_problem: str | None = None
        self._changes: tuple[str, ...] = ()  # since the checkpoint
        self._fingerprints: tuple[str, ...] = ()
        self.clock = clock or Stopwatch()
        self._loop: TrainingLoop | None = None
        self._finishing = False
        # size at which images are learnt, as a share of their own; annotation or target
        self._scale = 1.0
        self._known: dict[FieldKey, Any] = {}

    def prepare(self) -> Iterator[None]:
        """Prepare the run, field by field; `events` does it otherwise.

        If images and annotation do not go together or nothing is annotated, it is a
        ValueError.
        """
        if self._loop is not None:
            return
        rule = self._rule()
        settings = with_network_of(self._options.start, self._settings)
        self._scale, objective = settings.scale, objective_of(settings)
        pairs: list[Pair] = []
        examples: list[Example] = []
        for original, annotated in self._pairs:
            field, known = at_scale(original, annotated, self._scale)
            example = objective.example(field, known, rule)
            if example is not None:
                pairs.append((field, known))
                self._known[field_key(field)] = known
                self._recorder.add(original, annotated)
                examples.append(example)
            with self.clock.stopped():
                yield
        prepared = prepare_training(
            pairs, examples, objective, rule, self._options, self._fold, self._parts
        )
        self.clock.add(prepared.state.record.seconds)
        self._begin_log(prepared)
        prepared.team.check_alike(prepared.state.begun)
        self._loop = TrainingLoop(
            prepared, self._options.checkpoint, self.clock, self._timetable
        )

    def _begin_log(self, prepared: Prepared) -> None:
        """Record the data of the run, and whether that of a resumed run is the same.

        Then it can be replayed as if it had not been interrupted.
        """
        state, now = prepared.state, self._recorder.fingerprint()
        self._fingerprints = tuple(record.sha256 for record in state.card.images)
        begun, had_others = state.learnt[: len(now)], state.learnt[len(now) :]
        state.learnt = now
        if (before := prepared.resumed) is None:
            return
        # of a training that was corrected there is none
        other = begun != now if begun else None
        self._changes = changes(before, state.card, annotation=other)
        went_on = f"it was interrupted and went on after step {state.record.step}"
        if had_others:
            self._log_problem = f"{went_on}, and had had other annotation or settings"
        elif is_another_recipe(before.training, state.card.training):
            self._log_problem = f"{went_on} with other settings"
        elif begun != now or len(state.progress) != state.record.step:
            self._log_problem = (
                f"{went_on} with other annotation, or from a checkpoint without "
                "a record of its data"
            )
        elif before.parent is not None and self._options.start is None:
            named = f"when {before.parent}, its start, was not named"
            self._log_problem = f"{went_on}, {named}"
            return
        if self._log_problem is not None:
            state.learnt += _HAD_OTHERS  # nor if it is interrupted again

    @property
    def log(self) -> RunLog:
        """The log of the run so far; a RuntimeError before it is prepared."""
        return RunLog(
            known=tuple(self._recorder.known),
            corrections=tuple(self._recorder.corrections),
            timetables=(self.loop.prepared.state.timetable,),
            threads=torch.get_num_threads(),
            fingerprints=self._fingerprints,
            digest=self._recorder.fingerprint(),
            start=self._options.start,
            problem=self._log_problem,
        )

    def _rule(self) -> Normalisation:
        """Return the normalisation: that of the checkpoint or start model, if any."""
        options = self._options
        if options.resume is not None:
            return read_card(options.resume).normalisation
        if options.start is not None:
            return options.start.card.normalisation
        return "structure"

    @property
    def is_prepared(self) -> bool:
        """Whether it can be corrected."""
        return self._loop is not None

    @property
    def loop(self) -> TrainingLoop:
        """The loop of the run; a RuntimeError before it is prepared."""
        if self._loop is None:
            raise RuntimeError("the training has not begun: prepare it first.")
        return self._loop

    def events(self) -> Generator[Event, None, None]:
        """Train; the events are those of `train`, and `CorrectionUsed`.

        If the generator is closed, or an error ends it, a checkpoint is written.
        """
        for _ in self.prepare():
            pass
        with closing(self._run()) as run:
            for event in run:
                with self.clock.stopped():
                    yield event

    def correct(
        self, field: Field, annotation: Annotation, box: Box | None = None
    ) -> None:
        """Use changed annotation from the next step on of a run that is prepared.

        The field is one of the run, or another that has had no annotation; the
        annotation that of the whole field, with the classes of the run. The box holds
        what changed of it; anything may have unless given.
        """
        state = self.loop.prepared.state
        # if it is interrupted, its data cannot be compared with the annotation any more
        state.learnt = b""
        self._recorder.correct(state.record.step, field, annotation, box)
        seen, known = at_scale(field, annotation, self._scale)
        if box is not None and isinstance(seen, ScaledField):
            box = seen.scaled_box(box)
        self.loop.corrections.append((seen, known, box))
        self._known[field_key(seen)] = known

    def cells(self, part: HeldOut) -> NDArray[np.int32]:
        """Return the annotated cells of a part that is held out."""
        return cells_of(part, self._known)

    def finish(self) -> None:
        """Let the next step be the last; validation and result follow as usual."""
        self._finishing = True
        if self._loop is not None:
            self._loop.finishing = True

    def _run(self) -> Generator[Event, None, None]:
        loop = self.loop
        prepared = loop.prepared
        loop.finishing = self._finishing
        yield TrainingStarted(
            prepared.state.record.step,
            prepared.team.describe(prepared.device),
            prepared.precision,
            prepared.training_set.validation,
            (*prepared.state.card.notes, *self._changes),
            prepared.state.card.training.decisions,
            self._settings.ndim,
        )
        try:
            yield from loop.steps()
            if not prepared.team.is_first:
                return
            yield Judging(prepared.state.record.step)
            yield from loop.validation()
        except GeneratorExit:
            loop.write_checkpoint()
            raise
        except BaseException:
            # the first error is reported, not that of the checkpoint
            with suppress(OSError):
                loop.write_checkpoint()
            raise
        step = prepared.state.record.step
        if path := loop.write_checkpoint():
            yield CheckpointWritten(step, path)
        model = loop.result()
        problem = loop.problem
        if problem is None:
            # corrections may have replaced it
            prepared = loop.prepared
            model = yield from prepared.objective.finish(model, prepared, self._known)
            problem = loop.shortcoming(self._network(model))
        model, seconds = model.in_own_pixels(), self.clock.seconds()
        if self._timetable is not None:
            seconds = self._timetable.ended
        log = self.log.ended(seconds)
        yield TrainingFinished(model, step, seconds, problem, log)

    def _network(self, model: Model) -> Network:
        prepared = self.loop.prepared
        return make_ready(model, str(prepared.device), prepared.precision)
