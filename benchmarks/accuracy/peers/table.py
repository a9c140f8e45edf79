"""The table of peers: each on the same images, for the same minutes, on two cores.

Each cell is kept as soon as it is done and not run again, as those of the family.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from time import time
from typing import TYPE_CHECKING

from benchmarks.accuracy.commands import call, evaluation, read_json, written
from benchmarks.accuracy.experiment import export_images, scores_of
from benchmarks.accuracy.family import (
    Measured,
    measure_cell,
    run_cells,
    seconds_per_megapixel,
)
from benchmarks.accuracy.peers.catalogue import NOT_RUN, OURS, PEERS
from benchmarks.accuracy.peers.environment import (
    CORES,
    own_command,
    python_of,
    run_peer,
)
from benchmarks.accuracy.peers.hand_over import REPORT, Given
from benchmarks.accuracy.result import Spread
from benchmarks.accuracy.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.accuracy.peers.catalogue import Peer
    from benchmarks.accuracy.task import Task

# The cells that are done, in the folder of results.
RESULTS = "peers.jsonl"
MINUTES = (5.0, 15.0)
# After a longer training chance matters less, and it costs most.
SEEDS = {5.0: (0, 1, 2), 15.0: (0,)}
# What is learnt and tested, and its scores in the table.
SETS = {
    "dsb2018": ("ap@0.5",),
    "bbbc039": ("ap@0.5",),
    "hela": ("seg",),
    "usiigaci": ("ap@0.5",),
    "isbi2012": ("pixel_error@0.5", "adapted_rand_error"),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One peer, trained once on one set."""

    set: str
    peer: Peer
    minutes: float
    seed: int

    @property
    def name(self) -> str:
        """As `--cell` takes it."""
        return f"{self.set}/{self.peer.name}/{self.minutes:g}/{self.seed}"

    @property
    def task(self) -> Task:
        """What is learnt and tested, the same for all."""
        return replace(
            TASKS[self.set],
            training=("--preset", "quick"),
            forest=False,
            targets=(),
        )


def cells(minutes: Sequence[float] = (), seeds: Sequence[int] = ()) -> list[Cell]:
    """Return all cells, those of the first seed and of few minutes first.

    Parameters
    ----------
    minutes, seeds : sequence
        Those of the table if there are none.
    """
    wanted = {m: seeds or SEEDS.get(m, (0,)) for m in minutes or MINUTES}
    return [
        Cell(kind, peer, budget, seed)
        for seed in sorted({seed for each in wanted.values() for seed in each})
        for budget, each in wanted.items()
        if seed in each
        for kind in SETS
        for peer in (OURS, *PEERS)
    ]


def run_peers(
    data: Path,
    output: Path,
    results: Path,
    wanted: Sequence[str],
    device: str,
    *,
    minutes: Sequence[float] = (),
    seeds: Sequence[int] = (),
) -> int:
    """Run the cells that are not done; as `family.run_cells`.

    Parameters
    ----------
    output : Path
        Folder to work in; environments of peers are in the folder `peers` beside it.
    device : str
        Always the processor, which all of them can use.
    minutes, seeds : sequence
        As `cells` takes them.

    Raises
    ------
    ValueError
        Another device is asked for, or as `family.run_cells`.
    """
    if device not in ("auto", "cpu"):
        raise ValueError(f"peers are compared on the processor, found {device!r}.")
    with _cores():
        return run_cells(
            "peers",
            cells(minutes, seeds),
            data,
            output,
            results,
            wanted,
            "cpu",
            "SET/PEER/MINUTES/SEED",
            partial(_measure, environments=output.with_name("peers")),
        )


def section(done: Mapping[str, Measured]) -> Iterator[str]:
    """Yield the section of the page."""
    yield "## Beside other programs, at equal minutes"
    yield ""
    yield (
        "Every program learns the same images for the same minutes of two cores, from "
        "the start of its process to the model and all preparation among them, without "
        "weights that learnt something before, and its results are evaluated alike. Of "
        "errors less is better; the best median of a budget is bold. Medians of the "
        "seeds with the least and the most, or one seed without these. Seconds are "
        "those of a prediction, from pixels to objects or probabilities; those of "
        "napari-unet always end with probabilities."
    )
    yield ""
    if done:
        yield from _table(done)
    else:
        yield "No result yet: `python -m benchmarks.accuracy peers`."
        yield ""
    for peer in (OURS, *PEERS):
        yield f"* **{peer.title}**: {peer.what}."
    yield f"* Not run: {'; '.join(f'{name} {why}' for name, why in NOT_RUN.items())}."
    yield ""
    if not done:
        return
    found = [c for c in cells() if c.name in done and done[c.name].scores]
    yield from _versions(found, done)
    yield "```sh"
    yield "python -m benchmarks.accuracy peers"
    # the first of each program; others differ in set, minutes and seed
    first = {cell.peer.name: cell.name for cell in reversed(found)}
    for peer in (OURS, *PEERS):
        if peer.name in first:
            yield from done[first[peer.name]].commands
    yield "```"
    yield ""


def _table(done: Mapping[str, Measured]) -> Iterator[str]:
    """Yield the table, and what is missing in it and why."""
    budgets = " | ".join(f"{m:g} min | steps" for m in MINUTES)
    yield f"| set | score | program | {budgets} | s / megapixel |"
    yield f"|---|---|---|{'--:|--:|' * len(MINUTES)}--:|"
    missing = []
    for kind, scores in SETS.items():
        if not any(name.startswith(f"{kind}/") for name in done):
            missing.append(kind)
            continue
        for score in scores:
            yield from _rows(kind, score, done)
    yield ""
    if missing:
        yield f"Not run yet: {', '.join(missing)}."
        yield ""
    failed = [one for one in done.values() if not one.scores]
    for one in failed:
        yield f"* `{one.cell}` could not be run: {one.problem}"
    if failed:
        yield ""


def _rows(kind: str, score: str, done: Mapping[str, Measured]) -> Iterator[str]:
    """Yield the rows of a set and a score: one for each program."""
    of = {
        (peer.name, m): [
            one
            for seed in SEEDS[m]
            if (one := done.get(Cell(kind, peer, m, seed).name)) and one.scores
        ]
        for peer in (OURS, *PEERS)
        for m in MINUTES
    }
    best = {
        m: _best(score, [of[peer.name, m] for peer in (OURS, *PEERS)]) for m in MINUTES
    }
    for peer in (OURS, *PEERS):
        texts = [kind, f"`{score}`", peer.title]
        for m in MINUTES:
            if not (measured := of[peer.name, m]):
                texts += ["–", "–"]
                continue
            scores = Spread.of([one.scores[score] for one in measured])
            text = scores.written("{:.3f}")
            texts.append(f"**{text}**" if scores.middle == best[m] else text)
            texts.append(f"{median(one.steps for one in measured):.0f}")
        every = [one.seconds_per_megapixel for m in MINUTES for one in of[peer.name, m]]
        texts.append(f"{median(every):.2f}" if every else "–")
        yield f"| {' | '.join(texts)} |"


def _best(score: str, cells_of: Sequence[Sequence[Measured]]) -> float | None:
    """Return the best median of several programs, None if there is none."""
    medians = [median(one.scores[score] for one in each) for each in cells_of if each]
    if not medians:
        return None
    return min(medians) if "error" in score else max(medians)


def _versions(found: Sequence[Cell], done: Mapping[str, Measured]) -> Iterator[str]:
    """Yield what each program was measured with."""
    for peer in (OURS, *PEERS):
        told = [done[cell.name].versions for cell in found if cell.peer == peer]
        for one in {str(each): each for each in told if each}.values():
            words = ", ".join(f"{name} {value}" for name, value in one.items())
            yield f"{peer.title} with {words}."
            yield ""


def _measure(
    cell: Cell,
    data: Path,
    output: Path,
    device: str,
    told: dict[str, str],
    *,
    environments: Path,
) -> Measured:
    """Do what a cell tells; what fails becomes a problem in words."""
    try:
        if cell.peer == OURS:
            return measure_cell(cell, data, output, device, told)
        python = python_of(cell.peer, environments)
        return _measure_peer(cell, data, output, python, told)
    except RuntimeError as error:
        return Measured(
            cell=cell.name,
            parameters=0,
            steps=0,
            seconds=0.0,
            seconds_per_megapixel=0.0,
            device="",
            precision="",
            problem=str(error),
            scores={},
            versions={"processor": told["processor"]},
            commands=(),
        )


def _measure_peer(
    cell: Cell, data: Path, output: Path, python: Path, told: dict[str, str]
) -> Measured:
    task = cell.task
    task.check(data)
    place = output / task.name
    folder = place / cell.name.replace("/", "-")
    # what a run that was killed left there is of no use
    shutil.rmtree(folder, ignore_errors=True)
    if not (place / "tested").exists():
        export_images(task, data / task.folder, place)
    folder.mkdir(parents=True)
    given = Given(
        learnt=str((place / "learnt").resolve()),
        tested=str((place / "tested" / "images").resolve()),
        output=str(folder.resolve()),
        kind="objects" if task.labels == "instances" else "class",
        began=time(),
        minutes=cell.minutes,
        seed=cell.seed,
        threads=CORES,
    )
    run_peer(cell.peer, python, given)
    evaluate = evaluation(task, place, folder)
    call(evaluate)
    report = read_json(folder / REPORT)
    told_here = {"python": told["python"], "processor": told["processor"]}
    found = Measured(
        cell=cell.name,
        parameters=report["parameters"],
        steps=report["steps"],
        seconds=report["seconds"],
        seconds_per_megapixel=round(
            median(map(seconds_per_megapixel, report["images"])), 3
        ),
        device=f"cpu ({CORES} threads)",
        precision="fp32",
        problem=None,
        scores=scores_of(folder / "scores.json"),
        versions=report["versions"] | told_here,
        commands=(own_command(cell.peer, folder), written(evaluate)),
        decisions=tuple(report["choices"]),
        learnt=tuple(sample.name for sample in task.learnt),
    )
    # models and predictions of all cells would fill the disk
    shutil.rmtree(folder)
    return found


@contextmanager
def _cores() -> Iterator[None]:
    """Keep this process and its children on two cores, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:CORES])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
