"""One benchmark from data to result: export, forest, trainings, scores."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.accuracy.commands import Attempt, call, evaluation, read_json, written
from benchmarks.accuracy.export import export
from benchmarks.accuracy.result import Forest, Result, Run
from benchmarks.accuracy.tasks import WITHOUT
from benchmarks.speed.__main__ import processor
from napari_unet.io.pretrained import model_path

if TYPE_CHECKING:
    from benchmarks.accuracy.task import Task

# What makes two runs differ, besides the images. The device names its threads, on
# which depends how far a budget in minutes goes; precision is what auto takes, bf16
# where the processor has it.
_VERSIONS = ("napari-unet", "python", "torch", "scikit-image", "device", "precision")
# What imitates an older processor.
_LIMIT = "ONEDNN_MAX_CPU_ISA"


def run_experiment(
    task: Task,
    data: Path,
    output: Path,
    minutes: tuple[float, ...],
    seeds: tuple[int, ...],
    device: str = "auto",
    *,
    add: bool = False,
) -> Result:
    """Train, predict and evaluate for every budget and seed.

    The result is written anew after each training, so that a run that is broken off
    leaves what it has found.

    Parameters
    ----------
    task : Task
    data : Path
        Folder of all datasets.
    output : Path
        Gets `TASK.json` and the folder `TASK`, which is emptied first.
    minutes : tuple of float
        Budgets.
    seeds : tuple of int
    device : str
        As `--device` takes it.
    add : bool
        Whether the runs of an earlier call are kept: the folder and the forest stay,
        and only budgets with seeds that are not there yet are trained.

    Raises
    ------
    FileNotFoundError
        The data are not there, or the models of the task that trains them, or what
        is to be added to.
    ValueError
        What is to be added to was measured with other versions.
    RuntimeError
        A command failed.
    """
    task.check(data)
    if task.trained and not (models := output / task.trained).is_dir():
        raise FileNotFoundError(
            f"{task.name}: predicts with the models of {task.trained}, which has to be "
            f"run first; found no {models}."
        )
    if task.starter and not model_path(task.starter).is_file():
        raise FileNotFoundError(
            f"{task.name}: there is no {task.starter}, which is made by "
            f"{WITHOUT[task.starter]}."
        )
    place, file = output / task.name, output / f"{task.name}.json"
    if add:
        result = _earlier(file)
    else:
        result = Result(task=task.name, command="", versions=versions())
        shutil.rmtree(place, ignore_errors=True)
    export_images(task, data / task.folder, place)
    if task.forest and result.forest is None:
        result = result.model_copy(update={"forest": _forest(task, place)})
    done = {(run.minutes, run.seed) for run in result.runs}
    wanted = [(m, s) for m in minutes for s in seeds if (m, s) not in done]
    for budget, seed in wanted:
        run = _attempt(Attempt(task, place, budget, seed, device))
        result = result.model_copy(update={"runs": (*result.runs, run)})
        budgets = tuple(result.budgets())
        every = tuple(sorted({run.seed for run in result.runs}))
        command = own_command(task.name, budgets, every, device)
        result = result.model_copy(update={"command": command})
        result.write(file)
    return result


def own_command(
    name: str, minutes: tuple[float, ...], seeds: tuple[int, ...], device: str
) -> str:
    """Return the line that repeats the benchmark."""
    budgets = " ".join(f"{m:g}" for m in minutes)
    numbers = " ".join(str(seed) for seed in seeds)
    line = f"python -m benchmarks.accuracy {name} --minutes {budgets} --seeds {numbers}"
    return line if device == "auto" else f"{line} --device {device}"


def export_images(task: Task, source: Path, place: Path) -> None:
    """Write what a task learns and tests below a folder."""
    if task.starter is None and task.trained is None:
        export(
            task.learnt,
            source,
            place / "learnt",
            scribbles=task.scribbles,
            membrane=task.membrane,
        )
    export(task.tested, source, place / "tested", membrane=task.membrane)


def _earlier(file: Path) -> Result:
    """Return the result of an earlier call."""
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no result to add to.")
    result = Result.read(file)
    if (now := versions()) != result.versions:
        raise ValueError(
            f"{file}: was measured with {result.versions}, which is not {now}: measure "
            "all of it anew."
        )
    return result


def _attempt(attempt: Attempt) -> Run:
    commands = [attempt.predict(), attempt.evaluate()]
    attempt.folder.mkdir(parents=True, exist_ok=True)
    training, steps = 0.0, 0
    if attempt.task.starter is None:
        if attempt.task.trained is None:
            training = call(attempt.train())
            commands.insert(0, attempt.train())
        steps = read_json(attempt.report)["steps"]
    prediction = call(attempt.predict())
    call(attempt.evaluate())
    predicted = read_json(attempt.prediction)["images"][0]
    return Run(
        minutes=attempt.minutes,
        seed=attempt.seed,
        steps=steps,
        seconds=round(training, 1),
        prediction_seconds=round(prediction, 1),
        device=predicted["device"],
        precision=predicted["precision"],
        scores=scores_of(attempt.scores),
        commands=tuple(written(command) for command in commands),
    )


def _forest(task: Task, place: Path) -> Forest:
    # scikit-learn is needed for this one task only
    from benchmarks.accuracy.forest import SETTINGS, predict_forest, train_forest

    folder = place / "forest"
    forest, training = train_forest(place / "learnt")
    prediction = predict_forest(forest, place / "tested" / "images", folder)
    command = evaluation(task, place, folder)
    call(command)
    return Forest(
        settings=SETTINGS,
        seconds=round(training, 1),
        prediction_seconds=round(prediction, 1),
        scores=scores_of(folder / "scores.json"),
        command=written(command),
    )


def scores_of(file: Path) -> dict[str, float]:
    """Return the scores of what `evaluate` wrote, without pairs and notes."""
    return {k: v for k, v in read_json(file).items() if isinstance(v, (int, float))}


@cache
def versions() -> dict[str, str]:
    """Return what makes runs differ, besides the images: programs and processor."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "info.json"
        call(["info", "--json", str(path)])
        told = read_json(path)
    limit = f" as {os.environ[_LIMIT]}" if _LIMIT in os.environ else ""
    known = {name: str(told[name]) for name in _VERSIONS}
    return known | {"processor": f"{processor()}{limit}"}
