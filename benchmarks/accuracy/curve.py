"""How good the masks are after one, five, ten and twenty annotated images.

Which image is annotated first moves the score more than anything else, so that many
choices of one image are learnt, from scratch and from a starter. Each cell is kept as
soon as it is done and not run again, as those of the family.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.accuracy.curve_picture import Line, picture
from benchmarks.accuracy.family import run_cells
from benchmarks.accuracy.result import Spread
from benchmarks.accuracy.task import left
from benchmarks.accuracy.tasks import TASKS
from napari_unet.io.model_file import read_card

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.accuracy.family import Measured
    from benchmarks.accuracy.task import Sample, Task

# The cells that are done, in the folder of results.
CURVE = "curve.jsonl"
# Beside the page.
PICTURE = "images/accuracy-curve.svg"
# Choices by the number of images.
CHOICES = {1: 20, 5: 3, 10: 3, 20: 3}
STARTS = ("scratch", "starter")
BUDGETS = ("1min", "5min")
# As many steps as a processor with AVX2 and without bf16 makes in those minutes: a
# faster one compares recipes by these.
SLOW = ("250steps", "1240steps")
# What the median of the score has to reach from a starter after the first budget, and
# of single images the 10th percentile.
TARGETS = {1: 0.80, 5: 0.85, 10: 0.865}
TENTH_TARGET = 0.70
_SET, _SCORE, _MEAN = "dsb2018", "ap@0.5", "ap@0.5:0.95"
# Files with images of BBBC038, under the names that they have there.
_BBBC038 = ("dsb2018_fluo/images/*.tif", "starter_pool/bbbc038_*/images/*.tif")
# AP@0.5 by the number of images, and of single images the 10th percentile: the data of
# the figures in CellSeg1's repository, commit 9437fb6; arXiv 2412.01410.
PUBLISHED = {
    "CellSeg1": {1: 0.811, 5: 0.858, 10: 0.873},
    "cellpose cyto2, fine-tuned": {1: 0.603, 5: 0.864, 10: 0.873},
    "cellpose, from scratch": {1: 0.554, 5: 0.818, 10: 0.861},
    "StarDist, from scratch": {1: 0.415, 5: 0.802, 10: 0.803},
}
_PUBLISHED_TENTHS = (0.731, 0.308, 0.223, 0.280)
_COLOURS = {"scratch": "#0072B2", "starter": "#D55E00"}
_MARKS = {"scratch": "circle", "starter": "square"}
_DASHES = ("6 4", "", "2 3")


@dataclass(frozen=True, slots=True)
class Cell:
    """One choice of images, learnt once."""

    start: str  # one of STARTS
    images: int
    budget: str  # such as 5min or 300steps
    choice: int  # the start of the random numbers, too
    learnt: tuple[Sample, ...] = ()
    starter: Path | None = None

    @property
    def name(self) -> str:
        """As `--cell` takes it."""
        return f"{self.start}/{self.images}/{self.budget}/{self.choice}"

    @property
    def minutes(self) -> float:
        """Budget of the training; 0 if it is one in steps."""
        number, unit = _parsed(self.budget)
        return number if unit == "min" else 0.0

    @property
    def seed(self) -> int:
        """Start of the random numbers."""
        return self.choice

    @property
    def task(self) -> Task:
        """What is learnt and tested, in a folder of its own."""
        number, unit = _parsed(self.budget)
        steps = ("--steps", f"{number:g}") if unit == "steps" else ()
        init = ("--init", str(self.starter)) if self.starter else ()
        return replace(
            TASKS[_SET],
            name=self.name.replace("/", "-"),
            learnt=self.learnt,
            training=(*steps, *init),
            targets=(),
        )


def cells(
    data: Path, budgets: Sequence[str] = BUDGETS, starter: Path | None = None
) -> list[Cell]:
    """Return all cells, the first choices of all numbers of images first.

    Parameters
    ----------
    data : Path
        Folder of all datasets.
    budgets : sequence of str
        Numbers with their unit, min or steps.
    starter : Path, optional
        Model to begin with; without it there are only the cells from scratch.
    """
    inits = {"scratch": None} | ({"starter": starter} if starter else {})
    return [
        Cell(start, count, budget, choice, chosen(data, count, choice), init)
        for budget in budgets
        for choice in range(max(CHOICES.values()))
        for count, choices in CHOICES.items()
        if choice < choices
        for start, init in inits.items()
    ]


def chosen(data: Path, count: int, choice: int) -> tuple[Sample, ...]:
    """Return the images of a choice: none of those tested.

    The choices follow each other in one random order of all images, so that no image
    comes again before all have been there.
    """
    task = TASKS[_SET]
    every = sorted((*task.learnt, *left(task, data)), key=lambda sample: sample.name)
    order = np.random.default_rng(0).permutation(len(every))
    places = range(count * choice, count * (choice + 1))
    return tuple(every[order[place % len(every)]] for place in places)


def run_curve(
    data: Path,
    output: Path,
    results: Path,
    wanted: Sequence[str],
    device: str,
    budgets: Sequence[str] = BUDGETS,
    starter: Path | None = None,
) -> int:
    """Run the cells that are not done; as `family.run_cells`.

    Raises
    ------
    FileNotFoundError
        The data are not there.
    ValueError
        The starter has seen images of BBBC038, or is wanted and not given.
    """
    # without the folder other images would be drawn
    TASKS[_SET].check(data)
    if starter is not None:
        check_starter(starter, data)
    elif any(name.startswith("starter") for name in wanted):
        raise ValueError("cells that begin with a starter need --starter MODEL.")
    every = cells(data, budgets, starter)
    named = "START/IMAGES/BUDGET/CHOICE"
    return run_cells("curve", every, data, output, results, wanted, device, named)


def check_starter(starter: Path, data: Path) -> None:
    """Refuse a starter that has learnt from the collection it is judged on.

    Raises
    ------
    ValueError
        The name of an image that it has learnt holds the name of one of BBBC038.
    """
    known = [file.stem for pattern in _BBBC038 for file in data.glob(pattern)]
    learnt = [record.name for record in read_card(starter).images]
    seen = [name for name in learnt if any(one in name for one in known)]
    if seen:
        raise ValueError(
            f"{starter}: has learnt {len(seen)} image(s) of BBBC038, such as "
            f"{seen[0]}; the curve needs a starter that never saw that collection."
        )


def section(done: Mapping[str, Measured]) -> Iterator[str]:
    """Yield the section of the page."""
    yield "## One, five, ten, twenty images"
    yield ""
    yield (
        "So many annotated images of nuclei (Data Science Bowl 2018) are learnt, drawn "
        f"from the fifty that `{_SET}` does not test; the thirty that it tests judge. "
        f"There are {CHOICES[1]} choices of one image and {CHOICES[20]} of several: "
        "medians, with the lowest and the highest, from scratch and from a starter "
        "that has seen no image of that collection (BBBC038). A processor with AVX2 "
        f"and without bf16 makes about {_in_words(SLOW[0])} in a minute and "
        f"{_in_words(SLOW[1])} in five: where budgets are such steps, they stand for "
        "these minutes, on whichever processor they were made."
    )
    yield ""
    if not done:
        yield "No result yet: `python -m benchmarks.accuracy curve --starter MODEL`."
        yield ""
        return
    yield f"![AP@0.5 by the number of annotated images]({PICTURE})"
    yield ""
    yield from _table(done)
    yield from _published()
    for one in {str(c.versions): c.versions for c in done.values()}.values():
        yield f"With {', '.join(f'{name} {value}' for name, value in one.items())}."
    yield ""
    yield "```sh"
    yield "python -m benchmarks.accuracy curve --starter MODEL"
    for start in STARTS:
        first = next((c for n, c in done.items() if n.startswith(start)), None)
        if first is not None:
            yield from first.commands
    yield "```"
    yield ""


def draw(done: Mapping[str, Measured]) -> str:
    """Return the picture, as SVG."""
    found = _groups(done)
    budgets = list(dict.fromkeys(budget for _, budget, _ in found))
    lines = []
    for start in STARTS:
        for budget in budgets:
            of = {n: c for (s, b, n), c in found.items() if (s, b) == (start, budget)}
            if not of:
                continue
            lines.append(
                Line(
                    label=f"from {_words(start)}, {_in_words(budget)}",
                    values={n: median(_scores(of[n])) for n in of},
                    low=_tenth(of[1]) if 1 in of else None,
                    colour=_COLOURS[start],
                    mark=_MARKS[start],
                    dash=_DASHES[budgets.index(budget) % len(_DASHES)],
                )
            )
    return picture(lines, PUBLISHED)


def _table(done: Mapping[str, Measured]) -> Iterator[str]:
    yield (
        f"| start | budget | images | choices | `{_SCORE}` | 10th percentile "
        f"| `{_MEAN}` | steps | target | verdict |"
    )
    yield "|---|---|--:|--:|--:|--:|--:|--:|---|---|"
    for (start, budget, images), of in _groups(done).items():
        texts = (
            _words(start),
            _in_words(budget),
            str(images),
            f"{len(of)} of {CHOICES[images]}",
            Spread.of(_scores(of)).written("{:.3f}"),
            f"{_tenth(of):.3f}" if images == 1 else "–",
            f"{median(cell.scores[_MEAN] for cell in of):.3f}",
            f"{median(cell.steps for cell in of):.0f}",
            *_verdict(start, budget, images, of),
        )
        yield f"| {' | '.join(texts)} |"
    yield ""


def _published() -> Iterator[str]:
    yield (
        f"Published, other test images: `{_SCORE}` on the 50 tested images of "
        "StarDist's split, from CellSeg1 (arXiv 2412.01410; the data of the figures in "
        "its repository, commit 9437fb6). CellSeg1 has 641 million parameters and "
        "learns on a GPU for 37 to 70 minutes. Of one image there are a hundred "
        "choices:"
    )
    yield ""
    yield "| method | 1 image | 10th percentile | 5 images | 10 images |"
    yield "|---|--:|--:|--:|--:|"
    for (method, of), tenth in zip(PUBLISHED.items(), _PUBLISHED_TENTHS, strict=True):
        texts = (method, *(f"{v:.3f}" for v in (of[1], tenth, of[5], of[10])))
        yield f"| {' | '.join(texts)} |"
    yield ""


def _verdict(
    start: str, budget: str, images: int, of: Sequence[Measured]
) -> tuple[str, str]:
    """Return the target and whether all choices together meet it."""
    first = start == "starter" and budget in (BUDGETS[0], SLOW[0])
    if not first or images not in TARGETS:
        return "–", "–"
    least = TARGETS[images]
    text, met = f"≥ {least:g}", median(_scores(of)) >= least
    if images == 1:
        text += f", 10th percentile ≥ {TENTH_TARGET:g}"
        met = met and _tenth(of) >= TENTH_TARGET
    if len(of) < CHOICES[images]:
        return text, "–"
    return text, "met" if met else "**missed**"


def _groups(
    done: Mapping[str, Measured],
) -> dict[tuple[str, str, int], list[Measured]]:
    """Return cells by start, budget and number of images, in the order of the table."""
    found: dict[tuple[str, str, int], list[Measured]] = {}
    for name, cell in done.items():
        start, images, budget, _ = name.split("/")
        found.setdefault((start, budget, int(images)), []).append(cell)

    def order(key: tuple[str, str, int]) -> tuple[int, str, float, int]:
        start, budget, images = key
        number, unit = _parsed(budget)
        return STARTS.index(start), unit, number, images

    return {key: found[key] for key in sorted(found, key=order)}


def _scores(of: Sequence[Measured]) -> list[float]:
    return [cell.scores[_SCORE] for cell in of]


def _tenth(of: Sequence[Measured]) -> float:
    return float(np.percentile(_scores(of), 10))


def _parsed(budget: str) -> tuple[float, str]:
    """Return the number and the unit of a budget."""
    unit = "min" if budget.endswith("min") else "steps"
    return float(budget.removesuffix(unit)), unit


def _in_words(budget: str) -> str:
    number, unit = _parsed(budget)
    return f"{number:,.0f} steps" if unit == "steps" else f"{number:g} min"


def _words(start: str) -> str:
    return {"scratch": "scratch", "starter": "a starter"}[start]
