"""What the benchmark and a peer's own Python give each other: files and JSON.

A peer is a module `run_NAME` with a function that learns. It runs in an environment
where nothing of the product is installed; numpy and tifffile are.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tifffile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

ARGUMENTS, REPORT = "arguments.json", "report.json"


@dataclass(frozen=True, slots=True)
class Given:
    """What a peer learns and predicts, and how long it may learn.

    Attributes
    ----------
    learnt : str
        Folder with the subfolders `images` and `labels`: TIFFs (y, x) of equal names.
    tested : str
        Folder of the images to predict.
    output : str
        Folder that predictions and the report are written into.
    kind : {"objects", "class", "image"}
        What is learnt: ids of objects, what is above 0 in the labels, or an image
        without its noise, for which there are no labels.
    began : float
        When the process was started, in seconds since the epoch.
    minutes : float
        Budget from then until the model is ready, preparation and all.
    seed : int
    threads : int
        How many cores may be used.
    """

    learnt: str
    tested: str
    output: str
    kind: Literal["objects", "class", "image"]
    began: float
    minutes: float
    seed: int
    threads: int

    @property
    def objects(self) -> bool:
        """Whether objects are told apart."""
        return self.kind == "objects"

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.began + 60 * self.minutes - time()

    def pairs(self) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """Read the images that are learnt, and the labels of each."""
        files = [Path(self.learnt) / "labels" / file.name for file in self._files()]
        return self.images(), [tifffile.imread(file) for file in files]

    def images(self) -> list[NDArray[Any]]:
        """Read the images that are learnt."""
        return [tifffile.imread(file) for file in self._files()]

    def write(self, folder: Path) -> Path:
        """Write what a peer is started with; return the file."""
        file = folder / ARGUMENTS
        file.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")
        return file

    @classmethod
    def read(cls, file: Path) -> Given:
        """Read what a peer is started with."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))

    def _files(self) -> list[Path]:
        return sorted((Path(self.learnt) / "images").glob("*.tif"))


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a peer has learnt.

    Attributes
    ----------
    predict : callable
        From an image (y, x) to ids of objects (y, x), integers with 0 as background,
        or to the probability of the class or the new image (y, x), real numbers.
    steps : int
        Batches, or what else it learns one after the other.
    parameters : int
        Numbers that are learnt.
    choices : tuple of str
        What was decided by looking at the images.
    """

    predict: Callable[[NDArray[Any]], NDArray[Any]]
    steps: int
    parameters: int
    choices: tuple[str, ...] = ()


def run(learn: Callable[[Given], Learnt], packages: Sequence[str]) -> None:
    """Learn, predict and report, as the file says that the command line names."""
    given = Given.read(Path(sys.argv[1]))
    learnt = learn(given)
    seconds = time() - given.began
    images = [
        {"image": str(file), "seconds": _predict(file, learnt, given)}
        for file in sorted(Path(given.tested).glob("*.tif"))
    ]
    report = {
        "steps": learnt.steps,
        "parameters": learnt.parameters,
        "seconds": round(seconds, 1),
        "choices": learnt.choices,
        "images": images,
        "versions": {name: version(name) for name in packages},
    }
    text = json.dumps(report, indent=2)
    (Path(given.output) / REPORT).write_text(text, encoding="utf-8")


def _predict(file: Path, learnt: Learnt, given: Given) -> float:
    """Predict an image and write it where `evaluate` looks; return the seconds."""
    image = tifffile.imread(file)
    began = perf_counter()
    found = learnt.predict(image)
    seconds = perf_counter() - began
    if given.kind == "objects":
        results = {"instances": found.astype(np.uint16)}
    elif given.kind == "image":
        results = {"image": found.astype(np.float32)}
    else:
        if found.dtype.kind != "f":
            found = apart(found)
        results = {
            "probabilities": found.astype(np.float32),
            "classes": (found > 0.5).astype(np.uint8),
        }
    for kind, data in results.items():
        target = Path(given.output) / kind / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(target, data)
    return round(seconds, 4)


def apart(objects: NDArray[Any]) -> NDArray[np.float32]:
    """Return 1 inside objects and 0 between them, also where two of them touch.

    Membranes are the class that is judged, and somebody who has objects draws them
    where one id ends and another begins.

    Parameters
    ----------
    objects : ndarray of int, shape (y, x)
    """
    inside = objects > 0
    inside[:-1] &= ~_touch(objects[:-1], objects[1:])
    inside[:, :-1] &= ~_touch(objects[:, :-1], objects[:, 1:])
    return inside.astype(np.float32)


def _touch(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    touching: NDArray[np.bool_] = (one != other) & (one > 0) & (other > 0)
    return touching
