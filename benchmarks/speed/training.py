"""A step of training against the network's part of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from benchmarks.speed.limit import finished
from benchmarks.speed.row import Row, interleaved, middle, ratio
from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.annotation.pairing import annotated_fields
from napari_unet.core.training.training_settings import PRESETS
from napari_unet.engine.device import dtype
from napari_unet.engine.training.preparation import RunOptions
from napari_unet.engine.training.run import TrainingRun
from napari_unet.io import samples

if TYPE_CHECKING:
    from napari_unet.engine.training.loop import TrainingLoop


def step_with_augmentation(preset: str, device: str, repeats: int) -> Row:
    """Compare a step with forward, backward and optimiser on a batch in memory."""
    settings = PRESETS[preset]().replace(minutes=0, steps=100_000, validation=0)
    images, labels = zip(*samples.nuclei(), strict=True)
    run = TrainingRun(
        annotated_fields(images, labels, 2, "instances"),
        settings,
        RunOptions(device=device),
    )
    for _ in run.prepare():
        pass
    loop: TrainingLoop = run.loop
    steps = loop.steps()
    next(steps)
    state, sampler = loop.prepared.state, loop.prepared.sampler
    seconds = interleaved(
        {
            "step": partial(next, steps),
            "bare": partial(_bare, _Batch(loop)),
            "draw": partial(sampler.draw, 1, settings.batch),
            "mean": partial(state.average, settings.averaging),
        },
        repeats,
    )
    return Row(
        f"training step with augmentation, {preset}",
        "forward, backward and optimiser on a batch in memory",
        ratio(seconds, "step", "bare"),
        "≤",
        1.10,
        " ×",
        f"{middle(seconds['step'])} and {middle(seconds['bare'])}; drawing "
        f"{middle(seconds['draw'])}, mean of the weights {middle(seconds['mean'])}",
    )


class _Batch:
    """The network of a run, and one batch that stays."""

    def __init__(self, loop: TrainingLoop) -> None:
        prepared = loop.prepared
        self.state = prepared.state
        self.device = prepared.device
        self.low = dtype(prepared.precision)
        drawn: Any = prepared.sampler.draw(0, self.state.card.training.batch)
        self.image = drawn.image
        self.classes = drawn.classes.long()


def _bare(batch: _Batch) -> None:
    state = batch.state
    state.optimiser.zero_grad(set_to_none=True)
    with torch.autocast(
        batch.device.type, batch.low, enabled=batch.low != torch.float32
    ):
        scores = state.module(batch.image)
    loss = F.cross_entropy(scores.float(), batch.classes, ignore_index=IGNORED)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimiser.step()
    finished(loss, batch.device)
