"""`python -m benchmarks.reliability [PART[.KIND]...]`: tried, handled, failed.

`--quick` tries a few of each, `--seed` one again; neither changes the page.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.reliability.material import Material

_PARTS = ("kill", "disk", "mutate", "options", "soak", "planted")
_RESULTS = Path("docs/reliability.json")
_PAGE = Path("docs/reliability.md")
_QUICK = 4
# One thread for each process, set before numpy and torch are loaded; no window.
_SETTINGS = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    "QT_QPA_PLATFORM": "offscreen",
}


def main() -> int:
    """Run the trials; print and write what came of them; 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability")
    parser.add_argument("names", nargs="*", help="parts, or kinds such as kill.train")
    parser.add_argument("--quick", action="store_true", help="a few trials of each")
    parser.add_argument("--trials", type=int, help="so many of each kind")
    parser.add_argument("--seed", type=int, help="this trial alone, and keep its files")
    parser.add_argument("--minutes", type=float, help="of the soak (default: 15)")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time")
    parser.add_argument("--results", type=Path, help="JSON (default: the page's)")
    parser.add_argument("--output", type=Path, default="benchmark-output/reliability")
    parser.add_argument("--material", type=Path, help="a folder of an earlier call")
    options = parser.parse_args()
    os.environ |= _SETTINGS
    if options.minutes or options.quick:
        os.environ["RELIABILITY_MINUTES"] = str(options.minutes or 1)
    kinds = _kinds(options.names or list(_PARTS), parser)
    material = _material(options)
    found = {name: _kind(name, material, options) for name in kinds}
    from benchmarks.reliability.report import report, store, summary, table

    print("\n".join(["", *table(found), "", *summary(found)]))
    partial = options.quick or options.trials or options.seed is not None
    partial = partial or options.minutes is not None
    file = options.results or (options.output / "results.json" if partial else _RESULTS)
    content = store(file, _machine(), found)
    if file == _RESULTS:
        _PAGE.write_text(report(content), encoding="utf-8")
    return int(any(kind["failures"] for kind in found.values()))


def _kinds(names: list[str], parser: argparse.ArgumentParser) -> list[str]:
    """Return the kinds of trials that are meant."""
    wanted = []
    for name in names:
        part, _, kind = name.partition(".")
        if part not in _PARTS:
            parser.error(f"{part!r} is none of {', '.join(_PARTS)}.")
        known = import_module(f"benchmarks.reliability.{part}").KINDS
        if kind and kind not in known:
            parser.error(f"{kind!r} is none of {', '.join(known)}.")
        wanted += [f"{part}.{k}" for k in known if k == kind or not kind]
    return wanted


def _material(options: argparse.Namespace) -> Material:
    """Load the program, and make what all trials need with it as it is now."""
    from benchmarks.reliability.material import Material, load_all

    load_all()
    folder = options.material or options.output / "material"
    if not options.material:
        shutil.rmtree(folder, ignore_errors=True)
    material = Material(folder.resolve())
    material.make()
    return material


def _kind(name: str, material: Material, options: argparse.Namespace) -> dict[str, Any]:
    """Run the trials of a kind, some at a time, in copies of this process."""
    output = options.output.resolve()
    part, _, kind = name.partition(".")
    module = import_module(f"benchmarks.reliability.{part}")
    module.prepare(material)
    count = options.trials or module.KINDS[kind][1]
    count = min(count, _QUICK) if options.quick else count
    seeds = range(count) if options.seed is None else [options.seed]
    begun = time.monotonic()
    result: dict[str, Any] = {
        "tried": len(seeds),
        "kills": 0,
        "figures": {},
        "failures": [],
    }
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("fork")) as pool:
        keep = options.seed is not None
        jobs = [pool.submit(_trial, name, s, output, material, keep) for s in seeds]
        for seed, job in zip(seeds, jobs, strict=True):
            faults, figures, kills = job.result()
            result["kills"] += kills
            for figure, value in figures.items():
                known = result["figures"].get(figure, value)
                result["figures"][figure] = max(value, known)
            if faults:
                result["failures"].append({"seed": seed, "faults": faults})
                print(f"{name} --seed {seed}: {faults}", flush=True)
    result["seconds"] = round(time.monotonic() - begun)
    failed = len(result["failures"])
    print(
        f"{name}: tried {len(seeds)}, handled {len(seeds) - failed}, failed {failed}, "
        f"{result['seconds']} s {result['figures'] or ''}",
        flush=True,
    )
    return result


def _trial(
    name: str, seed: int, output: Path, material: Material, keep: bool
) -> tuple[list[tuple[str, str]], dict[str, float], int]:
    """Run one trial; return its faults, figures and kills."""
    from benchmarks.reliability.trial import Trial

    part, _, kind = name.partition(".")
    place = output / f"{name}-{seed}"
    shutil.rmtree(place, ignore_errors=True)
    trial = Trial(name, seed, place, material)
    try:
        import_module(f"benchmarks.reliability.{part}").KINDS[kind][0](trial)
    except Exception as error:
        # what cannot be read afterwards is a fault as well
        trial.fault("wrong", f"{type(error).__name__}: {error}")
    trial.finish()
    if not keep:
        shutil.rmtree(place, ignore_errors=True)
    return trial.faults, trial.figures, trial.kills


def _machine() -> str:
    return f"{platform.platform(terse=True)}, {os.cpu_count()} cores"


if __name__ == "__main__":
    sys.exit(main())
