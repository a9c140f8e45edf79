"""`python -m benchmarks.accuracy TASK`: run a benchmark, or write the report."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.accuracy.auto import AUTO, run_auto
from benchmarks.accuracy.curve import BUDGETS, CURVE, run_curve
from benchmarks.accuracy.experiment import run_experiment
from benchmarks.accuracy.family import FAMILY, run_family
from benchmarks.accuracy.next_tiles import NEXT, run_next
from benchmarks.accuracy.peers.table import RESULTS as PEERS
from benchmarks.accuracy.peers.table import run_peers
from benchmarks.accuracy.report import score_table, write_report
from benchmarks.accuracy.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_RESULTS, _PAGE = Path("docs/accuracy"), Path("docs/accuracy.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks named on the command line.

    Returns
    -------
    int
        Exit status: 0 done, 1 a benchmark could not be run, in one sentence.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.task == "report":
            write_report(TASKS.values(), _RESULTS, _PAGE)
        if options.task == "curve":
            run = partial(run_curve, budgets=_budgets(options), starter=options.starter)
            return min(_run_cells(run, CURVE, options), 1)
        if options.task == "peers":
            minutes, seeds = options.minutes or (), options.seeds or ()
            run = partial(run_peers, minutes=minutes, seeds=seeds)
            return min(_run_cells(run, PEERS, options), 1)
        if options.task == "family":
            return min(_run_cells(run_family, FAMILY, options), 1)
        if options.task == "auto":
            return min(_run_cells(run_auto, AUTO, options), 1)
        if options.task == "next":
            return min(_run_cells(run_next, NEXT, options), 1)
        for name in TASKS if options.task == "all" else [options.task]:
            if name in TASKS:
                _run(name, options)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"benchmarks.accuracy: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description="Train, predict and evaluate on real images by the command line.",
    )
    parser.add_argument(
        "task",
        nargs="?",
        choices=(*TASKS, "all", "peers", "curve", "family", "auto", "next", "report"),
        default="all",
        help="benchmark to run, all of them (default), peers: other programs on the "
        "same images, half a day, curve: one to twenty annotated images, six hours and "
        "more, family: each network on the same images, a day and more, auto: the "
        "preset auto against quick, half a day and more, next: tiles as suggested "
        "against tiles at random, an hour or two, or report: write "
        f"{_PAGE} from {_RESULTS}",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        nargs="+",
        metavar="M",
        help="budgets of the training (default: the task's)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        nargs="+",
        metavar="N",
        help="budgets of the curve in steps, which what else runs does not change, in "
        "place of minutes",
    )
    parser.add_argument(
        "--starter",
        type=Path,
        metavar="MODEL",
        help="model that the curve begins with, too; it must have seen no image of "
        "BBBC038",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        metavar="N",
        help="starts of the random numbers (default: the task's)",
    )
    parser.add_argument(
        "--cell",
        nargs="+",
        default=(),
        metavar="NAME",
        help="of the peers, curve, family, auto or next only these, as em/unet/1/0 "
        "or 'em/*/1/*' (default: all); one that is done is not run again",
    )
    parser.add_argument(
        "--add",
        action="store_true",
        help="keep the runs that are there, and add what is not",
    )
    parser.add_argument("--device", default="auto", help="as the commands take it")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        default=Path("../shared/data"),
        help="folder of all datasets (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        default=Path("benchmark-output/accuracy"),
        help="folder to write to (default: %(default)s)",
    )
    return parser


def _run_cells(run: Callable[..., int], name: str, options: argparse.Namespace) -> int:
    results = _RESULTS / name
    return run(options.data, options.output, results, options.cell, options.device)


def _budgets(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the budgets of the curve, as its cells name them."""
    if options.steps:
        return tuple(f"{steps}steps" for steps in options.steps)
    return tuple(f"{m:g}min" for m in options.minutes or ()) or BUDGETS


def _run(name: str, options: argparse.Namespace) -> None:
    task = TASKS[name]
    result = run_experiment(
        task,
        options.data,
        options.output,
        tuple(options.minutes or task.minutes),
        tuple(options.seeds or task.seeds),
        options.device,
        add=options.add,
    )
    print(task.title)
    print("\n".join(score_table(task, result)))


if __name__ == "__main__":
    sys.exit(main())
