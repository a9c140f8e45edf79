"""A long session: memory, descriptors and scratch files must not grow with the work."""

from __future__ import annotations

import os
import random
from statistics import median
from time import monotonic
from typing import TYPE_CHECKING

import psutil

from benchmarks.reliability.session import Session, annotate, squares, stroke
from benchmarks.reliability.trial import MEMORY_MB, report

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.reliability.material import Material
    from benchmarks.reliability.trial import Trial

MINUTES = 15.0
# From the middle third of the cycles to the last one. The maps of 16 annotations stay
# open, also of images that were removed.
BOUNDS = {
    "napari's memory in MB": 48.0,
    "the worker's memory in MB": 48.0,
    "napari's descriptors": 18.0,
    "the worker's descriptors": 6.0,
    "scratch in MB": 1.0,
}
_FEW = 6


def prepare(_: Material) -> None:
    """Nothing is needed but the material."""


def session(trial: Trial) -> None:
    """Paint, train, predict, delete, close and reopen, for minutes."""
    minutes = float(os.environ.get("RELIABILITY_MINUTES", MINUTES))
    model = trial.material.model

    def work() -> int:
        rows = _work(model, 60 * minutes)
        _judge(rows)
        for name, values in rows.items():
            print(f"FIGURE\t{name}\t{_growth(values)}")
        print(f"FIGURE\tcycles\t{len(rows['scratch in MB'])}")
        return 0

    ended = trial.run(
        work, wall_s=60 * minutes + 300, memory_mb=2 * MEMORY_MB, cpu_s=10**6
    )
    trial.judge(ended)
    for line in ended.words.splitlines():
        if line.startswith("FIGURE\t"):
            _, name, value = line.split("\t")
            trial.figure(name, float(value))


def _work(model: Path, seconds: float) -> dict[str, list[float]]:
    """Go round until the time is over; return what was in use after each round."""
    rows: dict[str, list[float]] = {name: [] for name in BOUNDS}
    rng, end = random.Random(0), monotonic() + seconds
    pixels, current = squares(3, 200), Session()
    while monotonic() < end or len(rows["scratch in MB"]) < _FEW:
        _cycle(current, model, pixels, rng)
        workspace = current.workspace
        processes = (
            psutil.Process(),
            *map(psutil.Process, workspace.worker.pids.values()),
        )
        memory = [p.memory_info().rss / 2**20 for p in processes]
        descriptors = [p.num_fds() for p in processes]
        for name, value in zip(
            BOUNDS,
            (
                *(memory[0], sum(memory[1:])),
                *(descriptors[0], sum(descriptors[1:])),
                _bytes(workspace.scratch) / 2**20,
            ),
            strict=True,
        ):
            rows[name].append(value)
        if len(rows["scratch in MB"]) % 40 == 0:
            current = _reopened(current)
    scratch = current.workspace.scratch
    current.workspace.close()
    if scratch.exists():
        report("left", f"scratch stays: {sorted(f.name for f in scratch.iterdir())}")
    return rows


def _cycle(current: Session, model: Path, pixels: object, rng: random.Random) -> None:
    """Do what a person does in a minute, and clear it away again."""
    workspace = current.workspace
    _, labels = current.show(pixels)  # type: ignore[arg-type]
    annotate(labels)
    for _ in range(20):
        stroke(labels, rng)
    annotate(labels)
    workspace.models.add(model)
    workspace.models.select(model)
    current.train(20)
    if not current.until(lambda: workspace.training.state == "idle"):
        state = workspace.training.state
        report("hang", f"training does not end, {state}: {current.told}")
    if not workspace.prediction.predict("layer") or not current.until(
        lambda: current.quiet
    ):
        report("hang", f"predicting does not end: {current.told}")
    workspace.viewer.layers.clear()
    for image in workspace.store.project.images:
        workspace.images.remove(image.id)
    for file in workspace.store.run_folder.iterdir():
        file.unlink()
    current.until(lambda: current.quiet)
    current.until(lambda: False, 0.2)


def _reopened(current: Session) -> Session:
    current.workspace.close()
    return Session()


def _judge(rows: dict[str, list[float]]) -> None:
    for name, bound in BOUNDS.items():
        growth = _growth(rows[name])
        if growth > bound:
            report("grows", f"{name}: by {growth:.1f} over a third of the rounds")


def _growth(values: list[float]) -> float:
    third = len(values) // 3
    return median(values[-third:]) - median(values[third : 2 * third])


def _bytes(folder: Path) -> int:
    return sum(f.stat().st_blocks * 512 for f in folder.rglob("*") if f.is_file())


KINDS = {"session": (session, 1)}
"""With the number of its trials."""
