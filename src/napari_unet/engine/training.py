"""Training as a generator of events.

Each yield is a tick of progress and a point where the run can be cancelled by closing
the generator; a checkpoint is then written. With a budget in steps, a resumed run ends
with the same weights as an uninterrupted one.
"""

from __future__ import annotations

from math import cos, isfinite, pi
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import torch

from napari_unet.core.events import (
    CheckpointWritten,
    StepDone,
    TrainingFinished,
    TrainingStarted,
    ValidationDone,
    ValidationTile,
)
from napari_unet.core.model import Progress, Score
from napari_unet.core.recipe import Training
from napari_unet.engine.device import describe, dtype, is_out_of_memory
from napari_unet.engine.losses import weighted_cross_entropy
from napari_unet.engine.network import frozen_copy, layout_of
from napari_unet.engine.preparation import prepare_training
from napari_unet.engine.validation import validate
from napari_unet.io.model_file import save_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from napari_unet.core.annotations import Annotation, Kind
    from napari_unet.core.events import Event
    from napari_unet.core.image import ArrayLike, Image
    from napari_unet.core.model import Model
    from napari_unet.engine.preparation import Prepared

_WARM_UP = 20
_VALIDATIONS = 10
_CHECKPOINT_SECONDS = 20.0
# Steps between two looks at whether the weights are worth keeping.
_LOOK = 25


def train(
    images: Sequence[Image | ArrayLike],
    labels: Sequence[Annotation | Image | ArrayLike],
    settings: Training | None = None,
    *,
    kind: Kind | None = None,
    start: Model | None = None,
    resume: str | Path | None = None,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    head_start: float = 0.0,
) -> Iterator[Event]:
    """Train a network.

    Parameters
    ----------
    images : sequence of Image or array-like
        Arrays without axes are yx, zyx, czyx or tczyx. Sizes may differ.
    labels : sequence of Annotation, Image or array-like
        One for each image, of its size, without channels.
    settings : Training, optional
        The recipe; `Training.quick()` by default.
    kind : {"instances", "binary", "semantic", "annotation"}, optional
        What the values in the labels mean; guessed if not given.
    start : Model, optional
        Weights to start from; its levels replace those of the settings. It may have
        other classes and another number of channels.
    resume : str or Path, optional
        Checkpoint to go on from, with the same images, labels and settings.
    checkpoint : str or Path, optional
        Where to write checkpoints: about every 20 s, when cancelled and at the end.
    device : str
        auto, cpu, cuda, cuda:N or mps.
    head_start : float
        Seconds of a budget in minutes that are already used up.

    Yields
    ------
    Event
        `TrainingStarted`, `StepDone` for each step, `ValidationDone`,
        `CheckpointWritten`, and at last `TrainingFinished` with the model.

    Raises
    ------
    ValueError
        If images and labels do not go together or nothing is annotated.
    """
    began = perf_counter() - head_start
    prepared = prepare_training(
        images,
        labels,
        settings or Training.quick(),
        kind=kind,
        start=start,
        resume=resume,
        device=device,
    )
    place = Path(checkpoint) if checkpoint else None
    run = _Run(prepared, place, began)
    yield TrainingStarted(
        prepared.state.record.step,
        describe(prepared.device),
        prepared.precision,
        prepared.training_set.validation,
    )
    try:
        yield from run.steps()
        yield from run.validation()
    except GeneratorExit:
        run.write_checkpoint()
        raise
    if place and run.write_checkpoint():
        yield CheckpointWritten(prepared.state.record.step, place)
    yield TrainingFinished(
        run.result(), prepared.state.record.step, run.seconds(), run.problem
    )


class _Run:
    """One training run: its clock, its loop and its guards."""

    def __init__(
        self, prepared: Prepared, checkpoint: Path | None, began: float
    ) -> None:
        self.problem: str | None = None
        self._prepared = prepared
        self._settings = prepared.state.card.training
        self._state = prepared.state
        self._checkpoint = checkpoint
        self._began = began - prepared.state.record.seconds
        self._written = self._validated = self._first = perf_counter()
        self._first_step = self._state.record.step
        self._reserve = 0.0
        self._good = self._state.record.step, self._snapshot()
        self._table = torch.as_tensor(prepared.table, device=prepared.device)
        self._scaler = torch.amp.GradScaler(
            prepared.device.type, enabled=prepared.precision == "fp16"
        )

    def seconds(self) -> float:
        """Return the time used so far, in all sittings."""
        return perf_counter() - self._began

    def steps(self) -> Iterator[Event]:
        """Step until the budget is used up or something goes wrong."""
        while (progress := self._progress()) < 1:
            loss = self._step(progress)
            if not self._healthy(loss):
                return
            step = self._state.record.step
            yield StepDone(step, loss, self._progress(), self._seconds_left())
            if self._validation_is_due():
                yield from self.validation()
            if self._checkpoint and self._checkpoint_is_due():
                self.write_checkpoint()
                yield CheckpointWritten(step, self._checkpoint)

    def validation(self) -> Iterator[Event]:
        """Predict the held-out parts with the running mean of the weights."""
        prepared, state = self._prepared, self._state
        if not prepared.training_set.held_out or self.problem:
            return
        began = perf_counter()
        network = frozen_copy(state.module, state.mean, prepared.precision)
        score: Score | None = None
        for score in validate(network, prepared.training_set.held_out):
            if score is None:
                yield ValidationTile()
        if score is not None:
            better = state.keep_best(score)
            self._log(score)
            yield ValidationDone(state.record.step, score, better)
        self._validated = perf_counter()
        # a budget in minutes has to end with one more validation
        self._reserve = 1.2 * (self._validated - began)

    def write_checkpoint(self) -> bool:
        """Write all that is needed to go on, if there is a place to."""
        if self._checkpoint is None:
            return False
        state = self._state
        state.record = state.record.replace(seconds=self.seconds())
        save_checkpoint(state.checkpoint(), self._checkpoint)
        self._written = perf_counter()
        return True

    def result(self) -> Model:
        """Return the best model; without validation the last, or the last good one."""
        if self._state.best is not None:
            return self._state.model(self._state.best)
        return self._state.model(self._good[1] if self.problem else None)

    def _step(self, progress: float) -> float:
        state, prepared = self._state, self._prepared
        step = state.record.step
        batch = prepared.sampler.draw(step, self._settings.batch)
        for group in state.optimiser.param_groups:
            group["lr"] = self._learning_rate(step, progress)
        state.optimiser.zero_grad(set_to_none=True)
        try:
            loss = self._loss(batch.image, batch.classes, batch.border, step)
            self._scaler.scale(loss).backward()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise MemoryError(
                f"training does not fit into the memory of {prepared.device}: take "
                f"smaller patches than {self._settings.patch} pixels or fewer than "
                f"{self._settings.batch} per step."
            ) from error
        value = float(loss.detach())
        if isfinite(value):
            self._scaler.step(state.optimiser)
            self._scaler.update()
            state.record = state.record.replace(step=step + 1)
            state.average(self._settings.averaging)
        return value

    def _loss(
        self, image: Tensor, classes: Tensor, border: Tensor, step: int
    ) -> Tensor:
        module, prepared = self._state.module, self._prepared
        image = image.contiguous(memory_format=layout_of(module))
        low = dtype(prepared.precision)
        # dropout draws from torch's global generator: give it this step's own, so that
        # a resumed run, or one with previews in between, drops the same values
        devices = [prepared.device] if prepared.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(self._settings.seed * 1_000_003 + step)
            with torch.autocast(
                prepared.device.type, low, enabled=low != torch.float32
            ):
                scores = module(image)
        return weighted_cross_entropy(scores, classes, border, self._table)

    def _learning_rate(self, step: int, progress: float) -> float:
        rate = self._settings.learning_rate * min(1.0, (step + 1) / _WARM_UP)
        if self._settings.schedule == "cosine":
            rate *= 0.5 * (1 + cos(pi * min(progress, 1.0)))
        return rate

    def _progress(self) -> float:
        if self._settings.steps:
            return self._state.record.step / self._settings.steps
        budget = 60 * self._settings.minutes - self._reserve
        return min((self.seconds() + self._step_seconds()) / max(budget, 1e-9), 1.0)

    def _step_seconds(self) -> float:
        done = self._state.record.step - self._first_step
        return (perf_counter() - self._first) / done if done else 0.0

    def _seconds_left(self) -> float:
        if self._settings.steps:
            left = self._settings.steps - self._state.record.step
            return left * self._step_seconds()
        return max(60 * self._settings.minutes - self.seconds(), 0.0)

    def _validation_is_due(self) -> bool:
        if self._settings.steps:
            interval = max(self._settings.steps // _VALIDATIONS, 1)
            step = self._state.record.step
            return step % interval == 0 and step < self._settings.steps
        interval_seconds = 60 * self._settings.minutes / _VALIDATIONS
        wait = max(interval_seconds, _VALIDATIONS * self._reserve)
        return perf_counter() - self._validated > wait

    def _checkpoint_is_due(self) -> bool:
        return perf_counter() - self._written > _CHECKPOINT_SECONDS

    def _healthy(self, loss: float) -> bool:
        """Follow the loss, keep good weights, and stop a run that has gone wrong."""
        record = self._state.record
        if not isfinite(loss):
            self._stop("the loss is no longer a number")
            return False
        smoothed = loss if record.smoothed is None else record.smoothed
        smoothed += (loss - smoothed) / min(record.step, _LOOK)
        lowest = smoothed if record.lowest is None else min(record.lowest, smoothed)
        self._state.record = record.replace(smoothed=smoothed, lowest=lowest)
        if record.step > _LOOK and smoothed > 3 * lowest + 1:
            self._stop(f"the loss grew from {lowest:.2g} to {smoothed:.2g}")
            return False
        if record.step % _LOOK == 0:
            if smoothed < 1.5 * lowest + 0.1:
                self._good = record.step, self._snapshot()
            self._log(None)
        return True

    def _stop(self, what: str) -> None:
        rate = self._settings.learning_rate
        self.problem = (
            f"{what} after step {self._state.record.step}; the last good weights, of "
            f"step {self._good[0]}, are kept. Try a learning rate below {rate:g}, such "
            f"as {rate / 5:g}, or the precision fp32."
        )

    def _snapshot(self) -> dict[str, Tensor]:
        return {name: t.clone() for name, t in self._state.mean.items()}

    def _log(self, score: Score | None) -> None:
        record = self._state.record
        row = Progress(
            step=record.step,
            seconds=self.seconds(),
            loss=record.smoothed or 0.0,
            score=score,
        )
        self._state.record = record.replace(history=(*record.history, row))
