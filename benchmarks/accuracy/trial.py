"""One experiment of docs/recipe.md: `python -m benchmarks.accuracy.trial SET OPTIONS`.

Learns what the benchmark of a set learns, with further options of `napari-unet train`
(such as `--steps 3000 --border-w0 10`), and is judged by the development part: images
that the benchmark neither learns nor tests, so that no choice is made on those.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.accuracy.experiment import run_experiment
from benchmarks.accuracy.report import score_table
from benchmarks.accuracy.task import left
from benchmarks.accuracy.tasks import TASKS, frames, sections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.accuracy.task import Task

# Where single frames or sections are left to judge by.
_DEVELOPMENT = {
    "isbi2012": sections((1, 2, 7, 8, 10, 11)),
    "hela": frames("ST", (6, 18, 30, 42)),
}
# All images of a folder belong to one of the others.
_FOLDERS = ("bbbc039", "dsb2018")
# Of six images learnt, the last two.
_OF_THE_LEARNT = ("usiigaci",)
_SCRIBBLES = "_scribbles"
SETS = (
    *(*_DEVELOPMENT, *_FOLDERS, *_OF_THE_LEARNT),
    *(name for name in TASKS if name.endswith(_SCRIBBLES)),
)


def trial(name: str, data: Path, options: Sequence[str] = ()) -> Task:
    """Return the task that learns with other options and is judged by other images.

    Parameters
    ----------
    name : str
        One of `SETS`.
    data : Path
        Folder of all datasets.
    options : sequence of str
        Of `napari-unet train`, the budget among them.
    """
    task, base = TASKS[name], name.removesuffix(_SCRIBBLES)
    learnt, judged = task.learnt, _DEVELOPMENT.get(base, ())
    if base in _FOLDERS:
        judged = left(task, data)
    elif base in _OF_THE_LEARNT:
        learnt, judged = learnt[:-2], learnt[-2:]
    return replace(
        task,
        learnt=learnt,
        tested=judged,
        training=tuple(options),
        forest=False,
        targets=(),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one experiment and print its scores.

    Returns
    -------
    int
        Exit status: 0 done, 1 it could not be run, in one sentence.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy.trial",
        description="Train with other options; further options are those of train.",
    )
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--output", type=Path, default=Path("benchmark-output/trials"))
    own, options = parser.parse_known_args(arguments)
    try:
        task = trial(own.set, own.data, options)
        result = run_experiment(task, own.data, own.output, (0.0,), (own.seed,))
    except (OSError, RuntimeError) as error:
        print(f"benchmarks.accuracy.trial: {error}", file=sys.stderr)
        return 1
    print(" ".join((own.set, *options)))
    print("\n".join(score_table(task, result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
