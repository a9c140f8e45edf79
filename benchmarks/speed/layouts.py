"""A step of training in the layout that is chosen for it, and channels last.

On the processor as it is, or as on an older one: `as_on_avx2` starts this file again,
`python -m benchmarks.speed.layouts PRESET REPEATS`, which prints the seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.speed.row import Row, interleaved, middle, ratio
from napari_unet.core.annotation.pairing import annotated_fields
from napari_unet.core.training.training_settings import PRESETS
from napari_unet.engine.network.layered import LAYOUT
from napari_unet.engine.training.preparation import RunOptions
from napari_unet.engine.training.run import TrainingRun
from napari_unet.io import samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event

# What oneDNN and torch are told in order to compute as on a processor without AVX-512.
_AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}


def as_on_avx2(preset: str, target: float, repeats: int) -> Row:
    """Compare steps of a preset in 32 bits, on a processor that has AVX2 only."""
    command = [sys.executable, "-m", "benchmarks.speed.layouts", preset, str(repeats)]
    done = subprocess.run(
        command, env={**os.environ, **_AVX2}, check=True, stdout=subprocess.PIPE
    )
    seconds = json.loads(done.stdout)
    return Row(
        f"training step as on AVX2, fp32, {preset}",
        "the same with channels last",
        ratio(seconds, "last", "chosen"),
        "≥",
        target,
        " ×",
        f"{middle(seconds['chosen'])} and {middle(seconds['last'])}",
    )


def main() -> None:
    """Print the seconds of each step, as JSON."""
    preset, repeats = sys.argv[1:]
    works = {
        name: partial(next, _steps(preset, channels_last=name == "last"))
        for name in ("chosen", "last")
    }
    for work in works.values():
        work()  # the first step takes longer
    print(json.dumps(interleaved(works, int(repeats))))


def _steps(preset: str, *, channels_last: bool) -> Iterator[Event]:
    """Return the steps of a training on the samples of nuclei."""
    settings = PRESETS[preset]().replace(
        minutes=0, steps=100_000, validation=0, precision="fp32"
    )
    images, labels = zip(*samples.nuclei(), strict=True)
    pairs = annotated_fields(images, labels, 2, "instances")
    run = TrainingRun(pairs, settings, RunOptions(device="cpu"))
    for _ in run.prepare():
        pass
    if channels_last:
        state = run.loop.prepared.state
        state.module.layout = LAYOUT[2]
        state.module.to(memory_format=LAYOUT[2])  # type: ignore[call-overload]
        now = state.module.state_dict()
        state.mean = {name: weight.clone() for name, weight in now.items()}
    return run.loop.steps()


if __name__ == "__main__":
    main()
