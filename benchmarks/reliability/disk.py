"""A disk that gets full at any moment: a small one, or a limit of files.

What cannot be written is told in one sentence, what was there stays whole, and the
same again with room on the disk gives what an undisturbed run gives.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.reliability import kill
from benchmarks.reliability.kill import small_blocks
from benchmarks.reliability.session import Session, annotate, squares, stroke
from benchmarks.reliability.trial import command, fill, report, small_disk, tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.reliability.material import Material
    from benchmarks.reliability.trial import Trial

_AFTER = "with room:"
_SHAPE = (3, 520, 520)


def prepare(material: Material) -> None:
    """Run with room what will have none."""
    if os.geteuid():
        raise PermissionError(
            "the part disk mounts small disks, which root alone may: use sudo, or name "
            "other parts."
        )
    kill.prepare(material)


def train(trial: Trial) -> None:
    """Train into a full disk."""
    output = trial.work / "model.safetensors"
    _twice(trial, "train", (*trial.material.train, "--output", output))


def predict(trial: Trial) -> None:
    """Predict TIFFs into a full disk."""
    material = trial.material
    arguments = ("predict", material.model, material.many, "--output", trial.work)
    _twice(trial, "predict", arguments)


def blocks(trial: Trial) -> None:
    """Predict an OME-Zarr in blocks into a full disk."""
    material = trial.material
    arguments = ("predict", material.model, material.stack, "--output", trial.work)
    _twice(trial, "blocks", arguments)


def strokes(trial: Trial) -> None:
    """Paint on a full disk: napari lives, says so, and saves when there is room."""
    _session(trial, _paint)


def masks(trial: Trial) -> None:
    """Import masks into a full disk."""
    _session(trial, _import)


def results(trial: Trial) -> None:
    """Train with a preview and predict in napari with a full disk."""
    _session(trial, partial(_compute, model=trial.material.model))


def _twice(trial: Trial, name: str, arguments: tuple[object, ...]) -> None:
    """Run a command without room, then with room, in one process."""
    reference = trial.material.folder / "reference" / name
    needed = sum(f.stat().st_size for f in reference.rglob("*") if f.is_file())
    room = int(needed * trial.rng.uniform(0.0, 1.0))
    largest = max(f.stat().st_size for f in reference.rglob("*") if f.is_file())
    on_disk = trial.rng.random() < 0.6

    def work() -> int:
        small_blocks()
        if on_disk:
            small_disk(trial.work)
            fill(trial.work / "filler", room)
        else:
            limit = max(int(largest * room / needed), 1)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        code = command(*arguments)()
        print(_AFTER, flush=True)
        (trial.work / "filler").unlink(missing_ok=True)
        shutil.rmtree(trial.work / "lost+found", ignore_errors=True)
        _check_whole(trial.work, reference)
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
        again = command(*arguments)()
        if again:
            report("words", f"not done with room either: exit status {again}")
        model = trial.work / "model.safetensors"
        if model.exists():
            # its card says when it was made; its weights are compared after kills
            model.unlink()
        elif tree(trial.work) != tree(reference):
            differ = sorted(tree(trial.work).items() ^ tree(reference).items())[:4]
            report("half", f"not as of an undisturbed run: {differ}")
        return code

    ended = trial.run(work)
    ended.words = ended.words.partition(_AFTER)[0]
    trial.judge(ended)


def _check_whole(work: Path, reference: Path) -> None:
    """Report files with the name of a result that are not it."""
    wanted = tree(reference)
    for file, digest in tree(work).items():
        if file.startswith("unfinished") or digest == "empty folder":
            continue
        # the card of a model says when it was made
        if wanted.get(file) != digest and not file.endswith(".safetensors"):
            report("half", f"{file} stays, not complete")


def _session(trial: Trial, act: Callable[[Session, Callable[[], None]], None]) -> None:
    room = trial.rng.randrange(0, 3 * 2**20)

    def work() -> None:
        small_disk(trial.home)
        session = Session()
        layer = session.workspace.viewer.add_image(squares(*_SHAPE[:2]))
        image = session.workspace.images.add([layer], "zyx")
        session.workspace.annotating.layers.show(image.id)
        filler = trial.home / "filler"
        fill(filler, room)
        act(session, filler.unlink)
        session.workspace.close()

    trial.judge(trial.run(work))


def _paint(session: Session, make_room: Callable[[], None]) -> None:
    workspace, rng = session.workspace, random.Random(0)
    (image,) = workspace.store.project.images
    labels = workspace.annotating.layers.show(image.id)
    for _ in range(60):
        stroke(labels, rng)
        workspace.tick()
    make_room()
    stroke(labels, rng)
    session.until(lambda: False, 1.5)
    workspace.store.flush()
    kept = workspace.store.annotation(image.id).copy()
    missing = np.count_nonzero(kept != np.asarray(labels.data))
    if missing:
        report("strokes", f"{missing} pixels are not saved: {session.told}")


def _import(session: Session, make_room: Callable[[], None]) -> None:
    workspace = session.workspace
    (image,) = workspace.store.project.images
    before = workspace.store.annotation(image.id).copy()
    given = np.zeros(_SHAPE, np.uint16)
    for number in range(200):
        y, x = divmod(number, 20)
        given[:, 25 * y : 25 * y + 20, 25 * x : 25 * x + 20] = number + 1
    refused = False
    try:
        workspace.annotating.importer.masks(image.id, given, "instances", True)
    except (ValueError, OSError):
        refused = True
        if (workspace.store.annotation(image.id).copy() != before).any():
            report("half", "masks that had no room are there in part")
    make_room()
    if refused:
        workspace.annotating.importer.masks(image.id, given, "instances", True)
    workspace.store.flush()
    kept = workspace.store.annotation(image.id).copy()
    if ((kept > 1) != (given > 0)).any():
        report("lost", "the masks are not there with room on the disk")


def _compute(session: Session, make_room: Callable[[], None], model: Path) -> None:
    workspace = session.workspace
    (image,) = workspace.store.project.images
    annotate(workspace.annotating.layers.show(image.id))
    workspace.models.add(model)
    workspace.models.select(model)
    session.train(20)
    _wait(session, "training without room")
    workspace.prediction.predict("layer")
    _wait(session, "predicting without room")
    make_room()
    session.told.clear()
    workspace.prediction.predict("layer")
    _wait(session, "predicting with room")
    if not workspace.prediction.results:
        report("lost", f"no prediction with room on the disk: {session.told}")


def _wait(session: Session, what: str) -> None:
    if not session.until(lambda: session.quiet, 60):
        report("hang", f"{what} does not end: {session.told}")


KINDS = {
    "train": (train, 20),
    "predict": (predict, 20),
    "blocks": (blocks, 20),
    "strokes": (strokes, 20),
    "masks": (masks, 15),
    "results": (results, 8),
}
"""Each with the number of its trials."""
