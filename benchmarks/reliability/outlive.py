"""What napari's process does in trials that kill it, its worker or its neighbour."""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels

from benchmarks.reliability.session import Session, annotate, squares, stroke
from benchmarks.reliability.trial import PROCESSES, apart, report
from napari_unet.session.annotating import edits

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.reliability.trial import Fuse
    from napari_unet.core.jobs import WorkerKind

SHAPE = (2, 520, 520)


def paint(seed: int, fuse: Fuse) -> None:
    """Paint strokes and count them, until the end."""
    # a tick ends what it begins, on a busy machine too
    edits.perf_counter = lambda: 0.0  # type: ignore[attr-defined]
    session, rng = Session(), random.Random(seed)
    _, labels = session.show(squares(*SHAPE[:2]))
    fuse.arm()
    for number in range(1, 200):
        # what is undone in another slice is looked for within a quarter of a second
        if stroke(labels, rng) or number % 3 == 0:
            session.workspace.tick()
        fuse.count = number
        if number % 20 == 0:
            session.workspace.store.flush()


def painted(seed: int, count: int) -> NDArray[np.int32]:
    """Return what napari itself makes of so many strokes."""
    labels, rng = Labels(np.zeros(SHAPE, np.int32)), random.Random(seed)
    for _ in range(count):
        stroke(labels, rng)
    return np.asarray(labels.data)


def restore(file: Path) -> None:
    """Open the image again, take the offer, and write down what is there."""
    session = Session()
    layer = session.workspace.viewer.add_image(squares(*SHAPE[:2]))
    image = session.workspace.images.add([layer], "zyx")
    earlier = session.workspace.annotating.earlier_work
    session.until(lambda: earlier.of(image.id) is not None)
    for offer in (earlier.of(image.id) or [])[:1]:
        session.workspace.annotating.importer.other_project(image.id, offer)
        labels = session.workspace.images.annotation_layer(image.id)
        if labels is not None:
            np.save(file, np.asarray(labels.data))
    session.workspace.close()


def outlive(seed: int, model: Path) -> None:
    """Kill a worker at its work; tell whether it is said, and whether all goes on."""
    rng, session = random.Random(seed), Session()
    workspace = session.workspace
    _, labels = session.show(squares())
    annotate(labels)
    workspace.models.add(model)
    workspace.models.select(model)
    job = rng.choice(("train", "predict", "cells"))
    kind: WorkerKind = "cpu" if job == "cells" else "network"
    workspace.worker.warm_up(kind)
    session.until(lambda: False, rng.uniform(0, 4))
    _begin(session, job)
    _go_some_way(session, job, rng)
    busy, pid = not session.quiet, workspace.worker.pids.get(kind)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        print("KILLED", flush=True)
    if not session.until(lambda: session.quiet):
        report("hang", f"{job}: nothing ends after its worker was killed")
    if busy and not session.told:
        report("silent", f"{job}: nothing is said of the worker that was killed")
    session.told.clear()
    _begin(session, job)
    if not session.until(lambda: session.quiet):
        report("hang", f"{job}: does not go on: {session.told}")
    if job == "train" and not list(workspace.store.run_folder.glob("*.safetensors")):
        report("lost", f"no model after the second training: {session.told}")
    if job != "train" and not workspace.prediction.results:
        report("lost", f"no result after the second prediction: {session.told}")
    workspace.close()


def _begin(session: Session, job: str) -> None:
    if job == "train":
        session.train()
    else:
        session.workspace.prediction.predict("layer")


def _go_some_way(session: Session, job: str, rng: random.Random) -> None:
    """Wait until the job has come to some place."""
    training, prediction = session.workspace.training, session.workspace.prediction
    if job == "train":
        step = rng.randrange(-1, 50)
        session.until(lambda: training.progress.step > step or training.state == "idle")
    elif job == "predict":
        share = rng.uniform(-0.5, 1)
        session.until(lambda: prediction.progress >= share or not prediction.running)
    else:
        session.until(lambda: not prediction.segmenter.idle)


def train(fuse: Fuse) -> None:
    """Train and count the steps, until the end."""
    session = Session()
    _, labels = session.show(squares())
    annotate(labels)
    session.workspace.store.flush()
    session.train(100_000)

    def count() -> bool:
        fuse.count = session.workspace.training.progress.step
        return False

    session.until(count, 90)


def train_on() -> None:
    """Open what the killed napari left, and train to the end."""
    root = Session()
    workspace = root.workspace
    own = workspace.store.folder
    folders = list(own.parent.iterdir())
    workspace.viewer.add_image(squares(), name="plate")
    workspace.open_project(next(f for f in folders if f != own))
    training = workspace.training
    if training.plan.checkpoint is None:
        report("lost", "the training cannot go on")
    training.start()
    if not root.until(lambda: training.state == "training"):
        report("lost", f"the training does not go on: {root.told}")
    step = training.progress.step
    root.until(lambda: training.progress.step > step + 2)
    training.stop()
    if not root.until(lambda: training.state == "idle"):
        report("hang", "the training does not stop")
    if not workspace.models.own:
        report("lost", f"there is no model: {root.told}")
    workspace.close()


def two() -> None:
    """Have a second napari with the same home beside this one."""
    first = Session()
    _, labels = first.show(squares())
    annotate(labels)
    first.workspace.store.flush()
    child = os.fork()
    if child == 0:
        apart(PROCESSES)
        second = os.fork()
        if second:
            os._exit(os.waitstatus_to_exitcode(os.waitpid(second, 0)[1]))
        _second(first.workspace.store.folder)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        report("lost", "a second napari did not start")
    if not first.workspace.scratch.exists():
        report("lost", "the second napari removed the scratch files of the first")
    first.workspace.close()


def _second(folder: Path) -> None:
    session = Session()
    try:
        session.workspace.open_project(folder)
    except (RuntimeError, OSError, ValueError):
        return
    report("twice", "a project can be open twice")
