"""The loop of one training run: steps, validation, divergence, checkpoints."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from itertools import count
from math import cos, isfinite, pi, prod
from typing import TYPE_CHECKING

import torch

from napari_unet.core.events import (
    CheckpointWritten,
    CorrectionUsed,
    StepDone,
    ValidationDone,
    ValidationTile,
)
from napari_unet.core.model import AnyScore, Progress
from napari_unet.core.text import capitalised, counted
from napari_unet.engine.device import dtype, is_out_of_memory
from napari_unet.engine.network.network import frozen_copy
from napari_unet.engine.training import divergence
from napari_unet.engine.training.corrections import corrected
from napari_unet.engine.training.memory import no_memory
from napari_unet.engine.training.team import ALONE
from napari_unet.io.model_file import save_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

    from napari_unet.core.events import Event
    from napari_unet.core.model import Model
    from napari_unet.core.training.run_log import Timetable
    from napari_unet.engine.network.network import Network
    from napari_unet.engine.training.corrections import Correction
    from napari_unet.engine.training.preparation import Prepared
    from napari_unet.engine.training.stopwatch import Stopwatch

_WARM_UP = 20
_VALIDATIONS = 10
_CHECKPOINT_SECONDS = 12.0
# A prediction takes about a third of a step with as many pixels; then there are cells.
_SEEING = 0.6
# Seconds for each held-out pixel to find cells with some settings and compare them.
_CHOOSING_SECONDS = 1e-6


class TrainingLoop:
    """The steps of one training run, and the checks between them.

    `clock` shows the time used in all runs; a `timetable`, if given, counts instead.
    """

    def __init__(
        self,
        prepared: Prepared,
        checkpoint: Path | None,
        clock: Stopwatch,
        timetable: Timetable | None = None,
    ) -> None:
        # why it stopped early and what to try
        self.problem: str | None = None
        # set to make the next step the last
        self.finishing = False
        # used before the next step
        self.corrections: list[Correction] = []
        self.prepared = prepared
        self._settings = prepared.state.card.training
        self._state = prepared.state
        self._checkpoint = checkpoint
        self._team = prepared.team
        self._clock = clock
        self._timetable = timetable
        self._written = self._validated = self._first = clock.seconds()
        self._first_step = self._state.record.step
        self._reserve = 0.0
        # whether a step is under way, in which weights and record do not match
        self._stepping = False
        self._to_see = prepared.objective.pixels_to_see(prepared)
        self._good = self._state.record.step, self._snapshot()
        network = prepared.state.card.architecture
        self._drops = any(layer.op == "dropout" for layer in network.trace.layers)
        # positions of its coarser outputs in a patch
        self._places = [
            network.trace.targets(number, prepared.sampler.output)
            for number in network.drawing.supervised
        ]
        self._scaler = torch.amp.GradScaler(
            prepared.device.type, enabled=prepared.precision == "fp16"
        )

    def network(self) -> Network:
        """Return a copy of the running mean of the weights that can predict."""
        state = self._state
        return frozen_copy(state.card, state.mean, self.prepared.precision)

    def steps(self) -> Iterator[Event]:
        """Train until the budget is used up or the training diverges."""
        while (progress := self._agreed()) < 1:
            if self.corrections:
                waiting, self.corrections = self.corrections, []
                self.prepared = corrected(self.prepared, waiting)
                yield CorrectionUsed(self._state.record.step)
            # a step that was not finite did not count
            del self._state.progress[self._state.record.step :]
            self._state.progress.append(progress)
            loss = self._step(progress)
            if not self._healthy(loss):
                continue
            step = self._state.record.step
            yield StepDone(step, loss, self._progress(), self._seconds_left())
            if self._team.is_first and self._validation_is_due():
                self._state.validated.append(step)
                yield from self.validation()
            late = self._clock.seconds() - self._written > _CHECKPOINT_SECONDS
            if late and (path := self.write_checkpoint()):
                yield CheckpointWritten(step, path)

    def validation(self) -> Iterator[Event]:
        """Predict the held-out parts with the running mean of the weights."""
        held_out = self.prepared.training_set.held_out
        if self._weights_fail() or not held_out or self.problem:
            return
        began = self._clock.seconds()
        score: AnyScore | None = None
        for score in self.prepared.objective.validate(self.network(), held_out):
            if score is None:
                yield ValidationTile()
        if score is not None:
            better = self._state.keep_best(score)
            self._log(score)
            yield ValidationDone(self._state.record.step, score, better)
        self._validated = self._clock.seconds()
        # a budget in minutes has to end with one more validation, and one more to
        # choose how cells are found
        pixels = score.pixels if score is not None else 0
        took = self._validated - began
        self._reserve = 1.2 * (2 * took + _CHOOSING_SECONDS * pixels)

    def write_checkpoint(self) -> Path | None:
        """Write a checkpoint, if there is a path for it; return the path.

        Weights that are not finite, or of a step that broke off, do not replace the
        last checkpoint.
        """
        state = self._state
        if self._checkpoint is None or self._stepping or not self._team.is_first:
            return None
        if not state.is_finite:
            return None
        state.record = state.record.replace(seconds=self._clock.seconds())
        save_checkpoint(state.checkpoint(), self._checkpoint)
        self._written = self._clock.seconds()
        return self._checkpoint

    def result(self) -> Model:
        """Return the last model; after a divergence, the best or the last good one.

        The held-out part is small: by its score alone a run would often end with the
        weights of an early step.
        """
        state = self._state
        best, last = state.record.best, state.last_score
        # after a divergence from the start even the best may be useless
        if best is not None and state.best is not None and best.quality > 0:
            worse = last is not None and last.quality < best.quality - best.chance
            if self.problem is not None or worse:
                return state.model(state.best)
        return state.model(self._good[1] if self.problem else None)

    def shortcoming(self, network: Network) -> str | None:
        """Return why a model is useless though nothing diverged, None if it is not."""
        step = self._state.record.step
        if not self.finishing and (few := divergence.too_few(step, self._settings)):
            return few
        if step < divergence.FEW:
            return None  # so few steps were requested on purpose
        # the other processes have ended
        self.prepared.sampler.team = ALONE
        draw = self.prepared.sampler.draw
        batches = (draw(k, self._settings.batch) for k in count(step))
        short = self.prepared.objective.shortcoming(network, batches)
        if short is None:
            return None
        what, remedy = short
        return (
            f"The model {what}, after {counted(step, 'step')}: train for longer, "
            f"{remedy}."
        )

    def _step(self, progress: float) -> float:
        state, prepared = self._state, self.prepared
        step = state.record.step
        batch = prepared.sampler.draw(step, self._settings.batch)
        for group in state.optimiser.param_groups:
            group["lr"] = group["share"] * self._learning_rate(step, progress)
        state.optimiser.zero_grad(set_to_none=True)
        try:
            with self._team.connection_errors():
                scores = self._scores(batch.image, step)
                loss = prepared.objective.loss(scores, self._places, batch)
                self._scaler.scale(loss).backward()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise no_memory(prepared.device, self._settings) from error
        value = float(self._team.all_reduce(loss.detach()))
        if isfinite(value):
            self._team.all_reduce_gradients(state.module)
            self._stepping = True
            self._scaler.step(state.optimiser)
            self._scaler.update()
            state.record = state.record.replace(step=step + 1)
            state.average(self._settings.averaging)
            self._stepping = False
            self._follow(value)
            if step % divergence.CLASS_CHECK_STEPS == 0:
                smoothed = state.record.smoothed or 0.0
                trouble = prepared.objective.trouble(
                    scores[0].detach(), batch, smoothed
                )
                if trouble is not None:
                    self._stop(*trouble)
        return value

    def _scores(self, image: Tensor, step: int) -> list[Tensor]:
        module, prepared = self._state.module, self.prepared
        low = dtype(prepared.precision)
        # not switched off by an argument: of fp32, older torch on Apple's GPUs warns
        full = low == torch.float32
        cast = nullcontext() if full else torch.autocast(prepared.device.type, low)
        with self._dropout_of(step), cast:
            if self._places:
                return module.supervised(image)
            return [module(image)]

    @contextmanager
    def _dropout_of(self, step: int) -> Iterator[None]:
        """Seed dropout, which draws from torch's global generator, by the step.

        A resumed run, or one with previews in between, then drops the same values.
        """
        if not self._drops:
            yield
            return
        device = self.prepared.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            # the patches of each process lose other values
            own = 1_000_000_007 * self._team.rank
            torch.manual_seed(self._settings.seed * 1_000_003 + step + own)
            yield

    def _learning_rate(self, step: int, progress: float) -> float:
        rate = self._settings.learning_rate * min(1.0, (step + 1) / _WARM_UP)
        if self._settings.schedule == "cosine":
            rate *= 0.5 * (1 + cos(pi * min(progress, 1.0)))
        return rate

    def _agreed(self) -> float:
        """Return the share of the budget used before the next step; 1 for none."""
        over = self.finishing or self.problem is not None
        return self._team.broadcast_number(1.0 if over else self._progress())

    def _progress(self) -> float:
        if self._timetable is not None:
            table, step = self._timetable.progress, self._state.record.step
            return table[step] if step < len(table) else 1.0
        if self._settings.steps:
            return self._state.record.step / self._settings.steps
        budget = 60 * self._settings.minutes - self._reserve - self._seeing_seconds()
        used = self._clock.seconds() + self._step_seconds()
        return min(used / max(budget, 1e-9), 1.0)

    def _step_seconds(self) -> float:
        done = self._state.record.step - self._first_step
        return (self._clock.seconds() - self._first) / done if done else 0.0

    def _seeing_seconds(self) -> float:
        """Estimate the time for predicting parts, see `prior_correction`."""
        pixels = self._settings.batch * prod(self.prepared.sampler.output)
        return _SEEING * self._step_seconds() * self._to_see / pixels

    def _seconds_left(self) -> float:
        if self._settings.steps:
            left = self._settings.steps - self._state.record.step
            return left * self._step_seconds()
        return max(60 * self._settings.minutes - self._clock.seconds(), 0.0)

    def _validation_is_due(self) -> bool:
        if self._timetable is not None:
            return self._state.record.step in self._timetable.validated
        if self._settings.steps:
            interval = max(self._settings.steps // _VALIDATIONS, 1)
            step = self._state.record.step
            return step % interval == 0 and step < self._settings.steps
        interval_seconds = 60 * self._settings.minutes / _VALIDATIONS
        wait = max(interval_seconds, _VALIDATIONS * self._reserve / 2)
        return self._clock.seconds() - self._validated > wait

    def _follow(self, loss: float) -> None:
        record = self._state.record
        smoothed = loss if record.smoothed is None else record.smoothed
        smoothed += (loss - smoothed) / min(record.step, divergence.SNAPSHOT_STEPS)
        lowest = smoothed if record.lowest is None else min(record.lowest, smoothed)
        self._state.record = record.replace(smoothed=smoothed, lowest=lowest)

    def _healthy(self, loss: float) -> bool:
        """Keep good weights, and stop a run that has diverged."""
        record = self._state.record
        trouble = divergence.loss_trouble(
            loss, record.step, record.smoothed, record.lowest
        )
        if trouble is not None:
            self._stop(trouble, "or the precision fp32")
        if self.problem is not None:
            return False
        if record.step % divergence.SNAPSHOT_STEPS == 0 and not self._weights_fail():
            smoothed, lowest = record.smoothed or 0.0, record.lowest or 0.0
            doubtful = self.prepared.objective.doubtful_steps
            if smoothed < 1.5 * lowest + 0.1 and doubtful < divergence.SNAPSHOT_STEPS:
                self._good = record.step, self._snapshot()
            self._log(None)
        return self.problem is None

    def _weights_fail(self) -> bool:
        """Stop a run whose last step led to weights that are not finite."""
        if self.problem is None and not self._state.is_finite:
            self._stop("the weights are no longer numbers", "or the precision fp32")
            return True
        return False

    def _stop(self, what: str, remedy: str) -> None:
        advice = divergence.advice(self._settings)
        self.problem = (
            f"{capitalised(what)} after step {self._state.record.step}; the last good "
            f"weights, of step {self._good[0]}, are kept. {advice}, {remedy}."
        )

    def _snapshot(self) -> dict[str, Tensor]:
        return {name: t.clone() for name, t in self._state.mean.items()}

    def _log(self, score: AnyScore | None) -> None:
        record = self._state.record
        seconds, row_number = self._clock.seconds(), len(record.history)
        if self._timetable is not None and row_number < len(self._timetable.seconds):
            seconds = self._timetable.seconds[row_number]
        row = Progress(
            step=record.step,
            seconds=seconds,
            loss=record.smoothed or 0.0,
            score=score,
        )
        self._state.record = record.replace(history=(*record.history, row))
