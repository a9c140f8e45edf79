"""One of the processes of `teams`: trains, and says how long a step took.

`python -m benchmarks.speed.team_member PRESET STEPS PRECISION FILE`; the first writes
the weights, and seconds of each step, into a file.
"""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any

import numpy as np
import torch

from napari_unet.core.annotation.pairing import annotated_fields
from napari_unet.core.events import StepDone
from napari_unet.core.torchrun import this_member
from napari_unet.core.training.training_settings import PRESETS
from napari_unet.engine.training.preparation import RunOptions
from napari_unet.engine.training.run import TrainingRun
from napari_unet.engine.training.team import joined
from napari_unet.io import samples


def main() -> None:
    """Train on the samples of nuclei, four patches a step."""
    preset, steps, precision, file = sys.argv[1:]
    torch.set_num_threads(1)
    images, labels = zip(*samples.nuclei(), strict=True)
    settings = PRESETS[preset]().replace(
        steps=int(steps), minutes=0.0, batch=4, validation=0.0, precision="fp32"
    )
    with joined(this_member(), "cpu") as (team, device):
        pairs = annotated_fields(images[:3], labels[:3], 2, "instances")
        run = TrainingRun(pairs, settings, RunOptions(device=device, team=team))
        for _ in run.prepare():
            pass
        state = run.loop.prepared.state
        if precision == "double":
            _in_double(run)
        began, seconds = perf_counter(), []
        for event in run.events():
            if isinstance(event, StepDone):
                seconds.append(perf_counter() - began)
                began = perf_counter()
            if state.record.step == int(steps):
                break
        if team.is_first:
            weights = {n: t.numpy() for n, t in state.module.state_dict().items()}
            np.savez(file, seconds=seconds, **weights)


def _in_double(run: TrainingRun) -> None:
    """Compute in double precision, where rounding hides nothing."""
    prepared = run.loop.prepared
    state, draw = prepared.state, prepared.sampler.draw
    state.module.double()
    state.mean = {n: t.double() for n, t in state.mean.items()}

    def drawn(step: int, size: int) -> Any:
        batch = draw(step, size)
        object.__setattr__(batch, "image", batch.image.double())
        return batch

    prepared.sampler.draw = drawn  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
