"""Each fault of the list is put into a copy of the package, and must be noticed.

It is if a trial fails that does not fail without it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.reliability import disk, kill, mutate
from benchmarks.reliability.faults import FAULTS, PACKAGE
from napari_unet.io.atomic import atomic

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.reliability.material import Material
    from benchmarks.reliability.trial import Trial

# Long enough for the rounds of which growth is told.
_SOAK_MINUTES = "0.1"


def prepare(material: Material) -> None:
    """See that the list is up to date, and make what all parts need."""
    for known in FAULTS:
        known.planted()
    for part in (kill, disk, mutate):
        part.prepare(material)


def fault(trial: Trial) -> None:
    """Plant one fault."""
    planted = FAULTS[trial.seed % len(FAULTS)]
    source = trial.work / "source"
    # with what is compiled of it
    shutil.copytree(PACKAGE, source / PACKAGE.name)
    without = _failures_without(trial, source, planted.kind, planted.trials)
    (source / PACKAGE.name / planted.file).write_text(
        planted.planted(), encoding="utf-8"
    )
    within = _failures(trial, source, planted.kind, planted.trials)
    noticed = within - without
    trial.figure("noticed", len(noticed))
    trial.expect(
        noticed,
        "missed",
        f"{planted.name}: {planted.kind} fails {len(within)} times with it, "
        f"{len(without)} times without",
    )


def _failures_without(trial: Trial, source: Path, kind: str, trials: int) -> set[str]:
    """As `_failures`, of the program as it is: once for all faults."""
    known = trial.material.folder / f"without-{kind}-{trials}.json"
    if not known.exists():
        with atomic(known) as temporary:
            found = _failures(trial, source, kind, trials)
            temporary.write_text(json.dumps(sorted(found)))
    return set(json.loads(known.read_text()))


def _failures(trial: Trial, source: Path, kind: str, trials: int) -> set[str]:
    """Run some trials with a copy of the package; return their seeds and faults."""
    report = trial.work / "results.json"
    root = PACKAGE.parents[1] if (PACKAGE.parents[1] / "benchmarks").exists() else "."
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.reliability", kind, "--jobs", "1"),
            *("--trials", str(trials), "--results", str(report)),
            *("--material", str(trial.material.folder)),
            *("--output", str(trial.work / "trials")),
        ],
        cwd=root,
        env={
            **os.environ,
            "PYTHONPATH": f"{source}{os.pathsep}{root}",
            "RELIABILITY_MINUTES": _SOAK_MINUTES,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if not report.exists():
        raise RuntimeError(f"{kind} did not run: {done.stderr[-500:]}")
    found = json.loads(report.read_text(encoding="utf-8"))["kinds"][kind]
    report.unlink()
    return {
        f"{failure['seed']} {fault}"
        for failure in found["failures"]
        for fault, _ in failure["faults"]
    }


KINDS = {"fault": (fault, len(FAULTS))}
"""With the number of its trials."""
