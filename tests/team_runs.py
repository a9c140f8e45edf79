"""What two processes train together in the tests, each by calling the same functions.

The test is the first of them; this module, as a program, is the second.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_unet.core.events import StepDone, TrainingFinished
from napari_unet.core.torchrun import this_member
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.objectives.catalogue import all_pairs
from napari_unet.engine.training import stopwatch
from napari_unet.engine.training.preparation import RunOptions
from napari_unet.engine.training.run import TrainingRun
from napari_unet.engine.training.team import joined

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.engine.training.team import Alone

SMALL = Training.quick(2).replace(
    steps=20,
    minutes=0.0,
    width=4,
    depth=1,
    patch=36,
    batch=3,
    validation=0.0,
    precision="fp32",
)
VOLUMES = Training.quick(3).replace(
    steps=4,
    minutes=0.0,
    width=4,
    depth=1,
    patch=12,
    batch=2,
    validation=0.0,
    precision="fp32",
)


def data(shape: tuple[int, ...]) -> tuple[list[Any], list[Any]]:
    """Return three images, of which strokes of two sizes are known."""
    rng = np.random.default_rng(0)
    images = [rng.normal(100, 10, shape).astype(np.float32) for _ in range(3)]
    labels = [np.zeros(shape, np.uint8) for _ in images]
    for number, (image, known) in enumerate(zip(images, labels, strict=True)):
        image[..., 10:30, 10:30] += 60
        known[..., 15:18, 12 : 20 + 3 * number] = 2
        known[..., 40:43, 5 : 40 + 3 * number] = 1
    return images, labels


def begun(settings: Training, team: Alone, **rest: Any) -> TrainingRun:
    images, labels = data((8, 48, 48) if settings.ndim == 3 else (56, 56))
    if settings.task == "denoise":
        labels = []
    elif settings.validation:
        labels = [np.where(image > 130, 2, 1) for image in images]
    pairs = all_pairs(settings, images, labels, "annotation")(settings.ndim)
    return TrainingRun(pairs, settings, RunOptions(device="cpu", team=team, **rest))


def exactly(settings: Training, team: Alone) -> dict[str, np.ndarray]:
    """Train in double precision; return the weights."""
    run = begun(settings, team)
    for _ in run.prepare():
        pass
    prepared = run.loop.prepared
    state, draw = prepared.state, prepared.sampler.draw
    state.module.double()
    state.mean = {n: t.double() for n, t in state.mean.items()}

    def in_double(step: int, size: int) -> Any:
        batch = draw(step, size)
        object.__setattr__(batch, "image", batch.image.double())
        return batch

    prepared.sampler.draw = in_double
    for _ in run.events():
        if state.record.step == settings.steps:
            break  # what follows predicts in single precision
    return {n: t.numpy().copy() for n, t in state.module.state_dict().items()}


def ends(settings: Training, team: Alone, **rest: Any) -> tuple[int, Any]:
    """Train; return the steps done, and the last event."""
    event, step = None, 0
    for event in begun(settings, team, **rest).events():
        if isinstance(event, StepDone):
            step = event.step
    return step, event if isinstance(event, TrainingFinished) else None


def stops(checkpoint: Path, team: Alone) -> None:
    """Train half, and be interrupted."""
    steady = SMALL.replace(optimiser="sgd", momentum=0.9, steps=8)
    events = begun(steady, team, checkpoint=checkpoint).events()
    for event in events:
        if isinstance(event, StepDone) and event.step == 4:
            events.close()


def goes_on(checkpoint: Path | None, team: Alone) -> TrainingFinished | None:
    """Train to the end, perhaps from a checkpoint."""
    steady = SMALL.replace(optimiser="sgd", momentum=0.9, steps=8)
    return ends(steady, team, resume=checkpoint)[1]


def together(team: Alone, folder: Path, clock: Callable[[], float]) -> dict[str, Any]:
    """Do all that both processes do."""
    found: dict[str, Any] = {
        name: exactly(settings, team) for name, settings in EXACT.items()
    }
    stopwatch.perf_counter = clock
    timed = SMALL.replace(steps=0, minutes=1.0, validation=0.2)
    found["minutes"] = ends(timed, team)
    wild = SMALL.replace(learning_rate=1e4, optimiser="sgd", steps=200)
    found["diverged"] = ends(wild, team)
    stops(folder / "of-two.safetensors", team)
    found["resumed"] = goes_on(folder / "of-one.safetensors", team)
    other = SMALL.replace(seed=team.rank)
    try:
        ends(other, team)
    except ValueError as error:
        found["other"] = str(error)
    return found


EXACT = {
    "strokes": SMALL,
    "volumes": VOLUMES,
    "denoise": SMALL.with_task("denoise").replace(steps=3, patch=36),
}


def _second() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    with joined(this_member(), "cpu") as (team, _):
        # its own clock stands still
        found = together(team, folder, lambda: 0.0)
    told = {name: found[name][0] for name in ("minutes", "diverged")}
    told |= {"other": found["other"], "result": found["minutes"][1] is not None}
    threads = Path("/proc/self/task").glob("*/comm")
    told["threads"] = [name for path in threads if "gloo" in (name := path.read_text())]
    (folder / "second.json").write_text(json.dumps(told))


if __name__ == "__main__":
    _second()
