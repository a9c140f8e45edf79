"""kill -9 of the command line, of the worker and of napari, at any moment.

A moment is a share of the time that an undisturbed run takes, or lies just before one
of the changes that it makes on the disk: so every phase is met on any machine.
"""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load_file

from benchmarks.reliability import outlive
from benchmarks.reliability.trial import Fuse, command, group_of, tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.reliability.material import Material
    from benchmarks.reliability.trial import Trial

# By the clock of the training: the promise, and the step or the validation at work.
LOST_S, _STEP_S = 20.0, 4.0
_BLOCK = 64


def prepare(material: Material) -> None:
    """Run undisturbed what will be killed."""
    for name, work in _UNDISTURBED.items():
        material.reference(name, partial(work, material))


def train(trial: Trial) -> None:
    """Kill a training, go on with it: little is lost, and the weights are the same."""
    fuse, until = _moment(trial, "train")
    work = partial(_train, trial.material, trial.work, fuse)
    trial.judge(trial.run(work, until=until))
    lost = fuse.lost_seconds
    trial.figure("seconds of training lost", lost)
    trial.expect(lost <= LOST_S + _STEP_S, "lost", f"{lost:.1f} s of training are lost")
    _go_on(trial, "train")


def stop(trial: Trial) -> None:
    """End a training by Ctrl-C, or as a cluster and a closed terminal do."""
    number = trial.rng.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    seconds, fuse = trial.rng.uniform(0, 60), Fuse(trial.work)
    ended = trial.run(
        partial(_train, trial.material, trial.work, fuse),
        until=lambda: fuse.seconds > seconds,
        number=number,
    )
    promised = "--resume" in ended.words
    there = (trial.work / "model.checkpoint.safetensors").exists()
    trial.expect(there or not promised, "lost", "no checkpoint, but told to --resume")
    trial.expect(
        "Traceback" not in ended.words and not ended.timed_out,
        "traceback",
        f"signal {number}: {ended.words[-300:]}",
    )
    lost = fuse.lost_seconds
    trial.expect(lost <= _STEP_S, "lost", f"signal {number}: {lost:.1f} s are lost")
    _go_on(trial, "train")


def predict(trial: Trial) -> None:
    """Kill a prediction of TIFFs: each result is there whole, and a rerun adds all."""
    _killed_prediction(trial, "predict")


def blocks(trial: Trial) -> None:
    """Kill the prediction of an OME-Zarr in blocks, as large images are."""
    _killed_prediction(trial, "blocks")


def strokes(trial: Trial) -> None:
    """Kill napari while somebody paints: every finished stroke is offered again."""
    at = trial.rng.randrange(1, 60)
    fuse = Fuse(trial.home)
    if trial.rng.random() < 0.5:
        fuse = Fuse(trial.home, trial.rng.randrange(4, 80))
    delay = trial.rng.uniform(0, 0.02)

    def now() -> bool:
        if fuse.count < at:
            return False
        time.sleep(delay)
        return True

    trial.judge(trial.run(partial(outlive.paint, trial.seed, fuse), until=now))
    done = fuse.count
    found = trial.work / "found.npy"
    trial.judge(trial.run(partial(outlive.restore, found)))
    before, after = (outlive.painted(trial.seed, count) for count in (done, done + 1))
    there = np.load(found) if found.exists() else np.zeros(outlive.SHAPE, np.int32)
    lost = np.count_nonzero((there != before) & (there != after))
    trial.figure("strokes painted", done)
    trial.expect(not lost, "strokes", f"{lost} pixels differ after {done} strokes")


def worker(trial: Trial) -> None:
    """Kill a worker process under a session: it says so, and goes on."""
    trial.judge(trial.run(partial(outlive.outlive, trial.seed, trial.material.model)))


def napari(trial: Trial) -> None:
    """Kill napari while a network is trained: worker and checkpoint, and going on."""
    fuse, at = Fuse(trial.home), trial.rng.randrange(1, 150)
    ended = trial.run(
        partial(outlive.train, fuse),
        until=lambda: fuse.count >= at,
        keep_group=True,
    )
    trial.judge(ended)
    for _ in range(300):
        if not (left := group_of(ended.pid)):
            break
        time.sleep(0.1)
    trial.expect(not left, "hang", "the worker stays after napari is gone")
    for process in left:
        process.kill()
    trial.judge(trial.run(outlive.train_on))


def beside(trial: Trial) -> None:
    """Start a second napari with the same home, as from another container."""
    trial.judge(trial.run(outlive.two))


def _moment(trial: Trial, name: str) -> tuple[Fuse, Callable[[], bool] | None]:
    """Choose when: before a change on the disk, or after a share of the time."""
    seconds, changes = trial.material.measured(name)
    if trial.rng.random() < 0.5:
        return Fuse(trial.work, trial.rng.randrange(1, changes + 1)), None
    at = time.monotonic() + trial.rng.uniform(0, seconds)
    return Fuse(trial.work), lambda: time.monotonic() > at


def _train(material: Material, output: Path, fuse: Fuse, *more: object) -> int:
    fuse.slow_clock()
    fuse.arm()
    return command(*material.train, "--output", output / "model.safetensors", *more)()


def _predict(material: Material, output: Path, fuse: Fuse) -> int:
    fuse.arm()
    return command("predict", material.model, material.many, "--output", output)()


def _blocks(material: Material, output: Path, fuse: Fuse) -> int:
    small_blocks()
    fuse.arm()
    return command("predict", material.model, material.stack, "--output", output)()


_UNDISTURBED = {"train": _train, "predict": _predict, "blocks": _blocks}


def small_blocks() -> None:
    """Cut small images as large ones are cut."""
    from napari_unet.engine import file_prediction
    from napari_unet.engine.inference.block_sizes import BlockSizes

    sizes = BlockSizes(
        predicted_plane=(_BLOCK, _BLOCK),
        whole=0,
        plane=(_BLOCK, _BLOCK),
        plane_margin=32,
    )
    file_prediction.FilePredictor = partial(  # type: ignore[misc, assignment]
        file_prediction.FilePredictor, sizes=sizes
    )


def _go_on(trial: Trial, name: str) -> None:
    """Do again what was killed; the outcome is that of an undisturbed run."""
    more = []
    if name == "train" and (trial.work / "model.checkpoint.safetensors").exists():
        more = ["--resume"]
    # what is half-written goes a day after the kill
    before = time.time() - 2 * 86_400
    for stray in trial.work.rglob("*"):
        os.utime(stray, (before, before))
    work = partial(_UNDISTURBED[name], trial.material, trial.work, Fuse(trial.work))
    trial.judge(ended := trial.run(partial(work, *more)))
    trial.expect(not ended.code, "words", f"it does not go on: {ended.words[-300:]}")
    wanted = trial.material.folder / "reference" / name
    found, right = tree(trial.work), tree(wanted)
    if name == "train":
        compare_weights(trial, trial.work / "model.safetensors", wanted)
        # the card of a model says when it was made
        found, right = dict.fromkeys(found, ""), dict.fromkeys(right, "")
    differ = sorted(n for n in found | right if found.get(n) != right.get(n))
    told = f"not as of an undisturbed run: {', '.join(differ[:5])}"
    trial.expect(not differ, "half", told)


def compare_weights(trial: Trial, model: Path, reference: Path) -> None:
    """Expect the weights of the undisturbed run, to the bit."""
    if not model.exists():
        trial.fault("lost", "there is no model")
        return
    found, wanted = load_file(model), load_file(reference / "model.safetensors")
    differ = [n for n, w in wanted.items() if not np.array_equal(found[n], w)]
    trial.expect(not differ, "wrong", f"{len(differ)} arrays of weights are others")


def _killed_prediction(trial: Trial, name: str) -> None:
    fuse, until = _moment(trial, name)
    work = partial(_UNDISTURBED[name], trial.material, trial.work, fuse)
    trial.judge(trial.run(work, until=until))
    wanted = tree(trial.material.folder / "reference" / name)
    for file, digest in tree(trial.work).items():
        hidden = file.startswith((".", "unfinished")) or "/." in file
        right = wanted.get(file) == digest or digest == "empty folder"
        trial.expect(right or hidden, "half", f"{file} is not complete")
    _go_on(trial, name)


KINDS = {
    "train": (train, 60),
    "predict": (predict, 50),
    "blocks": (blocks, 50),
    "strokes": (strokes, 50),
    "worker": (worker, 20),
    "napari": (napari, 6),
    "stop": (stop, 15),
    "beside": (beside, 1),
}
"""Each with the number of its trials."""
