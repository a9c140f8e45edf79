"""What trials are made of: images, a model, a checkpoint, a project; made once."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from benchmarks.reliability.session import Session, annotate, squares
from benchmarks.reliability.trial import Fuse, command, run
from napari_unet.io.ome_zarr import create_zarr

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.session.worker.client import Handle

STEPS = 240
# A network as small as can be: what it finds does not matter, only where it goes.
SMALL = ("--width", 4, "--depth", 2, "--patch", 36, "--batch", 1, "--device", "cpu")
_LOADED = (
    *(f"cli.{name}" for name in ("main", "train", "predict", "evaluate", "weights")),
    *("cli.info", "engine.training.train", "engine.file_prediction"),
    *("core.cells.watershed", "session.workspace"),
)


class Material:
    """The inputs of all trials, in a folder.

    Attributes
    ----------
    images, labels, many : Path
        Folders of TIFFs: to learn from, and to predict.
    stack : Path
        An OME-Zarr.
    model, checkpoint : Path
    project : Path
        A project with an image, an annotation and an interrupted run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images, self.labels = folder / "images", folder / "labels"
        self.many, self.stack = folder / "many", folder / "stack.zarr"
        self.model = folder / "tiny.safetensors"
        self.checkpoint = folder / "half.checkpoint.safetensors"
        self.project = folder / "project"

    @property
    def train(self) -> tuple[object, ...]:
        """Arguments of a training."""
        kind = ("--labels", "instances", "--steps", STEPS)
        return ("train", self.images, self.labels, *kind, *SMALL)

    def make(self) -> None:
        """Make what is not there."""
        if self.project.exists():
            return
        for folder in (self.images, self.labels, self.many, self.folder / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        for number in range(2):
            pixels, labels = discs(number, 96)
            tifffile.imwrite(self.images / f"image{number}.tif", pixels)
            tifffile.imwrite(self.labels / f"image{number}.tif", labels)
        for number in range(4):
            tifffile.imwrite(
                self.many / f"plate{number}.tif", discs(9 + number, 200)[0]
            )
        with create_zarr(
            self.stack, (2, 150, 150), "zyx", "uint16", (1, 0.5, 0.5)
        ) as a:
            a[...] = np.stack([discs(20 + z, 150)[0] for z in range(2)])
        self._run(command(*self.train, "--output", self.model))
        # what is compiled at the first use is not to be measured
        warm = (
            "predict",
            self.model,
            self.many,
            "--output",
            self.folder / "warm",
            "--overwrite",
        )
        self._run(command(*warm))
        fuse = Fuse(self.folder)

        def half() -> int:
            fuse.slow_clock()
            return command(*self.train, "--output", self.folder / "half.safetensors")()

        run(half, self.folder, until=self.checkpoint.exists)
        self._run(lambda: _project(self.folder))

    def measure(self, name: str, seconds: float, changes: int) -> None:
        """Note how long an undisturbed run takes, and its changes on the disk."""
        known = self._measured()
        known[name] = (seconds, changes)
        (self.folder / "measured.json").write_text(json.dumps(known))

    def measured(self, name: str) -> tuple[float, int]:
        """Return what was noted."""
        seconds, changes = self._measured()[name]
        return seconds, changes

    def reference(self, name: str, work: Callable[[Path, Fuse], int]) -> Path:
        """Return the output of an undisturbed run, made at the first call."""
        output = self.folder / "reference" / name
        if not output.exists():
            output.mkdir(parents=True)
            fuse = Fuse(output)
            ended = run(lambda: work(output, fuse), self.folder)
            if ended.code:
                raise RuntimeError(f"{name} does not work at all: {ended.words}")
            self.measure(name, ended.seconds, fuse.changes)
        return output

    def _measured(self) -> dict[str, Any]:
        file = self.folder / "measured.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def _run(self, work: Callable[[], int | None]) -> None:
        ended = run(work, self.folder)
        if ended.code:
            raise RuntimeError(f"the material cannot be made: {ended.words}")


def load_all() -> None:
    """Load what trials use, once for all processes that are copied from this one."""
    for name in _LOADED:
        import_module(f"napari_unet.{name}")
    for name in ("torch._dynamo", "zarr", "tifffile", "imagecodecs"):
        import_module(name)
    import torch

    torch.set_num_threads(1)


def discs(seed: int, side: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return an image of bright discs, and their ids."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.uint16)
    for number in range(1, 2 + side**2 // 1000):
        cy, cx = rng.uniform(8, side - 8, 2)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 49] = number
    pixels = (labels > 0) * 1000 + rng.normal(500, 200, labels.shape)
    return pixels.clip(0, 65535).astype(np.uint16), labels


def _project(folder: Path) -> int:
    """Make a project whose training was interrupted."""
    session = Session()
    _, labels = session.show(squares())
    annotate(labels)
    begun: list[Handle] = []
    session.workspace.worker.started.connect(begun.append)
    session.train(100_000)
    training = session.workspace.training
    if not session.until(lambda: training.progress.step > 3):
        return 1
    # as when napari's task manager ends it: a checkpoint is written
    for handle in begun:
        handle.cancel()
    session.until(lambda: training.state == "idle")
    project = session.workspace.store.folder
    session.workspace.close()
    shutil.copytree(project, folder / "project")
    return 0 if list((folder / "project").rglob("*.checkpoint.*")) else 1
