"""Each network of the family on the same images, for the same minutes.

The table has some 250 cells, a day and more of computing: each is kept as soon as it is
done and not run again, and `--cell` names those that are wanted.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import prod
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from safetensors import safe_open

from benchmarks.accuracy.commands import Attempt, call, read_json, written
from benchmarks.accuracy.experiment import export_images, scores_of, versions
from benchmarks.accuracy.export import pixels
from benchmarks.accuracy.result import Record, Spread
from benchmarks.accuracy.tasks import TASKS
from napari_unet.core.network.catalogue import NETWORKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.accuracy.task import Task

# The cells that are done, in the folder of results.
FAMILY = "family.jsonl"
MINUTES = (1.0, 5.0, 30.0)
# After a long training chance matters less, and it costs most.
_SEEDS = {1.0: (0, 1, 2), 5.0: (0, 1, 2), 30.0: (0,)}
_VOLUME = "volume"
# In volumes these, at the depth that a volume bears.
_IN_3D = ("unet", "vnet", "attention", "resenc")
# Whose images are learnt and tested, and the score in the table.
_SETS = {
    "nuclei": ("bbbc039", "ap@0.5"),
    "phase": ("usiigaci", "ap@0.5"),
    "em": ("isbi2012", "adapted_rand_error"),
    _VOLUME: ("qcanet", "iou"),
}
_NOT_WEIGHTS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, slots=True)
class Cell:
    """One network, trained once on one set."""

    set: str
    network: str
    minutes: float
    seed: int

    @property
    def name(self) -> str:
        """As `--cell` takes it."""
        return f"{self.set}/{self.network}/{self.minutes:g}/{self.seed}"

    @property
    def task(self) -> Task:
        """What is learnt and tested, with this network."""
        base = TASKS[_SETS[self.set][0]]
        # the default needs no option
        chosen = () if self.network == "unet" else ("--network", self.network)
        return replace(
            base,
            name=f"{self.set}-{self.network}",
            training=(*base.training, *chosen),
            forest=False,
            targets=(),
        )


class AnyCell(Protocol):
    """One training of a table."""

    @property
    def name(self) -> str:
        """As `--cell` takes it."""

    @property
    def task(self) -> Task:
        """What is learnt and tested, and how."""

    @property
    def minutes(self) -> float:
        """Budget of the training."""

    @property
    def seed(self) -> int:
        """Start of the random numbers."""


_Cell = TypeVar("_Cell", bound=AnyCell)


class Measured(Record):
    """What came out of a cell.

    Attributes
    ----------
    parameters : int
        Numbers that are learnt.
    seconds : float
        Of the training, from the start of its process.
    seconds_per_megapixel : float
        Of a prediction, network and all; the median over the images tested.
    problem : str or None
        Why the model is good for nothing, as the training says; without scores, why
        there is none.
    scores : dict of str to float
        All that `evaluate` reports; empty if there is nothing to evaluate.
    commands : tuple of str
        Training, prediction, evaluation.
    decisions : tuple of str
        What a planner chose, as in "depth 4".
    learnt : tuple of str
        Names of the images.
    """

    cell: str
    parameters: int
    steps: int
    seconds: float
    seconds_per_megapixel: float
    device: str
    precision: str
    problem: str | None
    scores: dict[str, float]
    versions: dict[str, str]
    commands: tuple[str, ...]
    decisions: tuple[str, ...] = ()
    learnt: tuple[str, ...] = ()


def cells() -> list[Cell]:
    """Return all cells, those of few minutes first."""
    return [
        Cell(kind, network, minutes, seed)
        for minutes in MINUTES
        for seed in _SEEDS[minutes]
        for kind in _SETS
        for network, entry in NETWORKS.items()
        if (
            2 in entry.ndims
            if kind != _VOLUME
            else network in _IN_3D and minutes > 1 and seed == 0
        )
    ]


def run_family(
    data: Path, output: Path, results: Path, wanted: Sequence[str], device: str
) -> int:
    """Run the cells that are not done; as `run_cells`."""
    return run_cells("family", cells(), data, output, results, wanted, device)


def run_cells(
    name: str,
    every: Sequence[_Cell],
    data: Path,
    output: Path,
    results: Path,
    wanted: Sequence[str],
    device: str,
    named: str = "SET/NETWORK/MINUTES/SEED",
    measure: Callable[[_Cell, Path, Path, str, dict[str, str]], Measured] | None = None,
) -> int:
    """Run the cells of a table that are not done; return how many could not be.

    What has no scores is not done.

    Parameters
    ----------
    name : str
        Of the table, and of its folder in that of the output.
    every : sequence
        All cells that there are.
    data : Path
        Folder of all datasets.
    output : Path
        Folder to work in.
    results : Path
        File that each cell is added to.
    wanted : sequence of str
        Names of cells, or patterns such as ``em/*/1/*``; all if empty.
    device : str
        As `--device` takes it.
    named : str
        How the names of cells are put together.
    measure : callable, optional
        What is done for a cell, in place of `measure_cell`.

    Raises
    ------
    ValueError
        A name that no cell has, or a file that holds something else.
    """
    chosen = [c for c in every if not wanted or _is_one_of(c, wanted)]
    for one in wanted:
        if not any(_is_one_of(c, [one]) for c in chosen):
            raise ValueError(
                f"cells are named {named}, such as {every[0].name}; found {one!r}, "
                "which is none of them."
            )
    told, failed = versions(), 0
    for number, cell in enumerate(chosen, start=1):
        # read anew: another run may have done it meanwhile
        if (done := read_cells(results).get(cell.name)) and done.scores:
            continue
        print(f"{number}/{len(chosen)} {cell.name}", flush=True)
        try:
            found = (measure or measure_cell)(cell, data, output / name, device, told)
        except (OSError, RuntimeError) as error:
            print(f"benchmarks.accuracy: {cell.name}: {error}", file=sys.stderr)
            failed += 1
            continue
        results.parent.mkdir(parents=True, exist_ok=True)
        with results.open("a", encoding="utf-8") as file:
            file.write(found.model_dump_json() + "\n")
        failed += not found.scores
    return failed


def measure_cell(
    cell: AnyCell, data: Path, output: Path, device: str, told: dict[str, str]
) -> Measured:
    """Train, predict and evaluate by the product's commands.

    Parameters
    ----------
    cell : AnyCell
    data : Path
        Folder of all datasets.
    output : Path
        Gets a folder of the task's name, with the exported images.
    device : str
        As `--device` takes it.
    told : dict of str to str
        The versions.
    """
    task = cell.task
    task.check(data)
    place = output / task.name
    attempt = Attempt(task, place, cell.minutes, cell.seed, device)
    # what a run that was killed left there is of no use
    shutil.rmtree(attempt.folder, ignore_errors=True)
    if not (place / "tested").exists():
        export_images(task, data / task.folder, place)
    attempt.folder.mkdir(parents=True)
    try:
        call(attempt.train())
    except RuntimeError:
        # that nothing was learnt in these minutes is a result, too
        if not attempt.report.exists():
            raise
    call(attempt.predict())
    call(attempt.evaluate())
    trained = read_json(attempt.report)
    images = read_json(attempt.prediction)["images"]
    commands = (attempt.train(), attempt.predict(), attempt.evaluate())
    found = Measured(
        cell=cell.name,
        parameters=_parameters(attempt.folder / "model.safetensors"),
        steps=trained["steps"],
        seconds=trained["seconds"],
        seconds_per_megapixel=round(median(map(seconds_per_megapixel, images)), 3),
        device=images[0]["device"],
        precision=images[0]["precision"],
        problem=trained["problem"],
        scores=scores_of(attempt.scores),
        versions=told,
        commands=tuple(written(command) for command in commands),
        decisions=tuple(
            f"{one['field']} {one['value']}" for one in trained.get("decisions", ())
        ),
        learnt=tuple(sample.name for sample in task.learnt),
    )
    # models and predictions of all cells would fill the disk
    shutil.rmtree(attempt.folder)
    return found


def read_cells(results: Path) -> dict[str, Measured]:
    """Return the cells that are done, by their names.

    Raises
    ------
    ValueError
        A line of the file is no cell of this benchmark.
    """
    if not results.exists():
        return {}
    found = {}
    lines = results.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            cell = Measured.model_validate_json(line)
        except ValueError as error:
            raise ValueError(
                f"{results}, line {number}: is no cell of this benchmark; {error}"
            ) from error
        found[cell.cell] = cell
    return found


def section(done: Mapping[str, Measured]) -> Iterator[str]:
    """Yield the section of the page."""
    yield "## The family, at equal minutes"
    yield ""
    yield (
        "Every network learns the same images with the preset `quick`, for the same "
        "minutes: what is slow takes fewer steps. Scores are `ap@0.5` for nuclei "
        "(images of bbbc039) and phase contrast (usiigaci), `adapted_rand_error`, of "
        "which less is better, for EM (isbi2012), and `iou` for a volume (qcanet). A "
        "star says that a training called its own model good for nothing. Megapixels "
        "of the volume are megavoxels."
    )
    yield ""
    if not done:
        yield "No result yet: `python -m benchmarks.accuracy family`."
        yield ""
        return
    budgets = " | ".join(f"{m:g} min | steps" for m in MINUTES)
    yield f"| set | network | parameters | s / megapixel | {budgets} |"
    yield f"|---|---|--:|--:|{'--:|--:|' * len(MINUTES)}"
    for kind in _SETS:
        for network in NETWORKS:
            of = {m: _seeds(done, kind, network, m) for m in MINUTES}
            if any(of.values()):
                yield _row(kind, network, of)
    yield ""
    told = {str(c.versions): c.versions for c in done.values()}
    for one in told.values():
        yield f"With {', '.join(f'{name} {value}' for name, value in one.items())}."
    yield ""
    yield "```sh"
    yield "python -m benchmarks.accuracy family"
    yield from next(iter(done.values())).commands
    yield "```"
    yield ""


def _row(kind: str, network: str, of: dict[float, list[Measured]]) -> str:
    every = [cell for cells in of.values() for cell in cells]
    texts = [
        kind,
        network,
        f"{every[0].parameters:,}",
        f"{median(c.seconds_per_megapixel for c in every):.2f}",
    ]
    for cells in of.values():
        if not cells:
            texts += ["–", "–"]
            continue
        scores = Spread.of([c.scores[_SETS[kind][1]] for c in cells])
        star = "*" if any(c.problem for c in cells) else ""
        texts.append(scores.written("{:.3f}") + star)
        texts.append(f"{median(c.steps for c in cells):.0f}")
    return f"| {' | '.join(texts)} |"


def _seeds(
    done: Mapping[str, Measured], kind: str, network: str, minutes: float
) -> list[Measured]:
    names = [Cell(kind, network, minutes, seed).name for seed in _SEEDS[minutes]]
    return [done[name] for name in names if name in done]


def _is_one_of(cell: AnyCell, wanted: Iterable[str]) -> bool:
    return any(fnmatchcase(cell.name, pattern) for pattern in wanted)


def _parameters(model: Path) -> int:
    with safe_open(model, "numpy") as file:
        return sum(
            prod(file.get_slice(name).get_shape())
            for name in file.keys()  # noqa: SIM118
            if not name.endswith(_NOT_WEIGHTS)
        )


def seconds_per_megapixel(image: dict[str, Any]) -> float:
    """Return how long a million pixels take; the image is that of a report."""
    return 1e6 * float(image["seconds"]) / pixels(image["image"])
