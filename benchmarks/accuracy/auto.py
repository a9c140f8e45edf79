"""The preset auto against quick: the same images, the same minutes.

Each cell is kept as soon as it is done and not run again, as those of the family.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.accuracy.family import run_cells
from benchmarks.accuracy.result import Spread
from benchmarks.accuracy.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.accuracy.family import Measured
    from benchmarks.accuracy.task import Task

# The cells that are done, in the folder of results.
AUTO = "auto.jsonl"
MINUTES = (2.0, 5.0, 20.0)
_SEEDS = (0, 1, 2)
_PRESETS = ("quick", "auto")
# What is learnt and tested, and its score. Stacks are learnt slice by slice, unless
# auto chooses otherwise: what somebody gets who chooses nothing.
SETS = {
    "bbbc039": "ap@0.5",
    "dsb2018": "ap@0.5",
    "usiigaci": "ap@0.5",
    "isbi2012": "iou",
    "qcanet": "iou",
}
# By more than this one of two is better.
_ALIKE = 0.01


@dataclass(frozen=True, slots=True)
class Cell:
    """One preset, trained once on one set."""

    set: str
    preset: str
    minutes: float
    seed: int

    @property
    def name(self) -> str:
        """As `--cell` takes it."""
        return f"{self.set}/{self.preset}/{self.minutes:g}/{self.seed}"

    @property
    def task(self) -> Task:
        """What is learnt and tested, with this preset."""
        return replace(
            TASKS[self.set],
            name=f"{self.set}-{self.preset}",
            training=("--preset", self.preset),
            forest=False,
            targets=(),
        )


def cells() -> list[Cell]:
    """Return all cells, those of few minutes first, both presets after each other."""
    return [
        Cell(kind, preset, minutes, seed)
        for minutes in MINUTES
        for seed in _SEEDS
        for kind in SETS
        for preset in _PRESETS
    ]


def run_auto(
    data: Path, output: Path, results: Path, wanted: Sequence[str], device: str
) -> int:
    """Run the cells that are not done; as `family.run_cells`."""
    named = "SET/PRESET/MINUTES/SEED"
    return run_cells("auto", cells(), data, output, results, wanted, device, named)


def section(done: Mapping[str, Measured]) -> Iterator[str]:
    """Yield the section of the page."""
    yield "## Automatic against quick, at equal minutes"
    yield ""
    yield (
        "Both presets learn the same images for the same minutes; medians of the seeds "
        f"with the least and the most. Auto is better or worse by more than {_ALIKE:g} "
        "of the score. Stacks are learnt slice by slice, unless auto chooses "
        "otherwise. For Usiigaci quick was measured before it shrank images for large "
        "cells, too."
    )
    yield ""
    if not done:
        yield "No result yet: `python -m benchmarks.accuracy auto`."
        yield ""
        return
    yield "| set | minutes | score | quick | auto | auto is | chosen |"
    yield "|---|--:|---|--:|--:|---|---|"
    for kind in SETS:
        for minutes in MINUTES:
            quick, auto = (_seeds(done, kind, p, minutes) for p in _PRESETS)
            if quick and auto:
                yield _row(kind, minutes, quick, auto)
    yield ""
    for one in {str(c.versions): c.versions for c in done.values()}.values():
        yield f"With {', '.join(f'{name} {value}' for name, value in one.items())}."
    yield ""
    yield "```sh"
    yield "python -m benchmarks.accuracy auto"
    yield from next(iter(done.values())).commands
    yield "```"
    yield ""


def _row(
    kind: str, minutes: float, quick: Sequence[Measured], auto: Sequence[Measured]
) -> str:
    score = SETS[kind]
    scores = [[cell.scores[score] for cell in of] for of in (quick, auto)]
    gain = median(scores[1]) - median(scores[0])
    verdict = "alike" if abs(gain) <= _ALIKE else "better" if gain > 0 else "**worse**"
    shown = [Spread.of(values).written("{:.3f}") for values in scores]
    chosen = "; ".join(auto[0].decisions)
    texts = [kind, f"{minutes:g}", f"`{score}`", *shown, verdict, chosen]
    return f"| {' | '.join(texts)} |"


def _seeds(
    done: Mapping[str, Measured], kind: str, preset: str, minutes: float
) -> list[Measured]:
    names = [Cell(kind, preset, minutes, seed).name for seed in _SEEDS]
    return [done[name] for name in names if name in done]
