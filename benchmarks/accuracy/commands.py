"""The product's commands, as one attempt at a task calls them.

Nothing of the package is imported here: what is measured is what a person gets who
types the same lines.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.accuracy.task import Task

PROGRAM = "napari-unet"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One training of a task, and what follows from it.

    Attributes
    ----------
    task : Task
    place : Path
        Folder of the task, with its exported images.
    minutes : float
        Budget of the training, from the start of its process to the model file; 0 for
        that which the task's own options give.
    seed : int
    device : str
        As `--device` takes it.
    """

    task: Task
    place: Path
    minutes: float
    seed: int
    device: str = "auto"

    @property
    def folder(self) -> Path:
        """Where the model and its predictions are written."""
        return self.place / f"minutes{self.minutes:g}-seed{self.seed}"

    @property
    def trained(self) -> Path:
        """Where the model and the report of its training are."""
        place = self.place.with_name(self.task.trained or self.place.name)
        return place / self.folder.name

    @property
    def report(self) -> Path:
        """What `train` tells about itself."""
        return self.trained / "training.json"

    @property
    def prediction(self) -> Path:
        """What `predict` tells about itself."""
        return self.folder / "prediction-report.json"

    @property
    def scores(self) -> Path:
        """What `evaluate` finds."""
        return self.folder / "scores.json"

    def train(self) -> list[str]:
        """Return the arguments that train the model."""
        learnt = self.place / "learnt"
        return [
            *("train", str(learnt / "images"), str(learnt / "labels")),
            *("--output", self._model),
            *("--labels", self.task.labels),
            *(("--minutes", f"{self.minutes:g}") if self.minutes else ()),
            *("--seed", str(self.seed), "--device", self.device),
            *axes(self.task),
            *self.task.training,
            *("--json", str(self.report)),
        ]

    def predict(self) -> list[str]:
        """Return the arguments that predict the images tested."""
        return [
            *("predict", self._model, str(self.place / "tested" / "images")),
            *("--output", str(self.folder), "--save", self.task.save),
            *("--device", self.device),
            *axes(self.task),
            *self.task.prediction,
            *("--json", str(self.prediction)),
        ]

    def evaluate(self) -> list[str]:
        """Return the arguments that compare the predictions with the truth."""
        return evaluation(self.task, self.place, self.folder)

    @property
    def _model(self) -> str:
        return self.task.starter or str(self.trained / "model.safetensors")


def evaluation(task: Task, place: Path, predictions: Path) -> list[str]:
    """Return the arguments that evaluate predictions, ours or the forest's."""
    return [
        *("evaluate", str(predictions), str(place / "tested" / "labels")),
        *("--metric", *task.metrics),
        *("--labels", task.truth),
        *axes(task),
        *task.evaluation,
        *("--json", str(predictions / "scores.json")),
    ]


def axes(task: Task) -> tuple[str, ...]:
    """Return the option for files whose axes the task names."""
    return ("--axes", task.axes) if task.axes else ()


def call(arguments: list[str]) -> float:
    """Run a command of the product in a process of its own.

    Returns
    -------
    float
        Seconds of wall clock from the start of the process to its end.

    Raises
    ------
    RuntimeError
        The command failed; it has said why.
    """
    began = perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "napari_unet.cli.main", *arguments], check=False
    )
    seconds = perf_counter() - began
    if done.returncode:
        raise RuntimeError(
            f"{written(arguments)} ended with status {done.returncode} instead of 0."
        )
    return seconds


def written(arguments: list[str]) -> str:
    """Return a command as one would type it."""
    return shlex.join([PROGRAM, *arguments])


def read_json(path: Path) -> dict[str, Any]:
    """Read what a command wrote for `--json`."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
