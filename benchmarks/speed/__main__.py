"""`python -m benchmarks.speed [NAME...]`: what is measured, and the page it is on.

About 15 minutes on two CPU cores with nothing else running; `--all` adds the image of a
gigapixel and what many workers cost, `--device cuda` measures the rows that are for a
GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.speed.report import report, store

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.speed.row import Row

_RESULTS = Path("docs/performance.json")
_PAGE = Path("docs/performance.md")
# What limits a measurement, under the table it is in.
NOTES = {
    "training": (
        "A quick step misses its target by what drawing its patches takes: some 250 "
        "small operations on 188 × 188 pixels. Drawing the next batch meanwhile, in a "
        "thread of its own, gained nothing on two cores: the network uses both."
    ),
    "teams": (
        "Processes that train together exchange the statistics of each batch norm "
        "twice in a step: 28 times in the quick network, whose steps are too short "
        "for that."
    ),
    "monai": (
        "MONAI's rows depend on the machine: ours is bound by what the row on "
        "operations a second calls the limit, MONAI's is not."
    ),
}


def main() -> int:
    """Measure all rows or those named; write and print them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed")
    parser.add_argument("names", nargs="*", help="only these (default: all)")
    parser.add_argument(
        "--all", action="store_true", help="also the gigapixel and many workers"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--output", type=Path, default=Path("benchmark-output/speed"))
    options = parser.parse_args()
    known = measurements(options)
    extra = set() if options.all else {"gigapixel", "scale", "two_workers"}
    for name in options.names or [name for name in known if name not in extra]:
        if name not in known:
            parser.error(f"{name!r} is none of {', '.join(known)}.")
        rows = known[name]()
        for row in rows:
            verdict = "met" if row.met else "MISSED"
            print(
                f"{row.what} | {row.against} | {row.value:.4g}{row.unit} "
                f"({row.sign} {row.target:g}) {verdict} | {row.found}",
                flush=True,
            )
        store(_RESULTS, machine(options.device), name, rows)
    _PAGE.write_text(
        report(json.loads(_RESULTS.read_text(encoding="utf-8")), NOTES),
        encoding="utf-8",
    )
    return 0


def measurements(options: argparse.Namespace) -> dict[str, Callable[[], list[Row]]]:
    """Return what can be measured on a device, by name, in order."""
    from benchmarks.speed import predicting, training

    device = options.device
    if device == "cuda":
        return {
            "cuda_small": lambda: [predicting.small_image(device)],
            "cuda_limit": lambda: predicting.against_the_limit(device, 8192, 0.5),
            "cuda_pipeline": lambda: [predicting.against_its_network(device, 8192)],
            "cuda_training": lambda: [
                training.step_with_augmentation(preset, device, 100)
                for preset in ("quick", "paper")
            ],
        }
    from benchmarks.speed.cells import cells_of_a_large_image
    from benchmarks.speed.foreign import against_other_programs_files
    from benchmarks.speed.gigapixel import gigapixel
    from benchmarks.speed.kernels import kernels
    from benchmarks.speed.layouts import as_on_avx2
    from benchmarks.speed.objects import objects_of_ten_thousand_cells
    from benchmarks.speed.plain import against_plain_modules
    from benchmarks.speed.precision import half_precision
    from benchmarks.speed.remote import bundle_there_and_back
    from benchmarks.speed.scale import on_two_workers, scale
    from benchmarks.speed.starting import importing
    from benchmarks.speed.teams import teams
    from benchmarks.speed.weights import weights

    def in_a_folder(work: Callable[[Path], list[Row]]) -> list[Row]:
        options.output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=options.output) as folder:
            return work(Path(folder))

    return {
        "import": importing,
        "monai": predicting.against_monai,
        "limit": lambda: predicting.against_the_limit(device, 2048, 0.85),
        "pipeline": lambda: [predicting.against_its_network(device)],
        "plain": against_plain_modules,
        "foreign": lambda: in_a_folder(against_other_programs_files),
        "training": lambda: [
            training.step_with_augmentation("quick", device, 100),
            training.step_with_augmentation("paper", device, 8),
        ],
        "layouts": lambda: [
            as_on_avx2("accurate", 1.2, 8),
            as_on_avx2("paper", 2.0, 3),
        ],
        "teams": lambda: in_a_folder(teams),
        "bundle": lambda: in_a_folder(bundle_there_and_back),
        "precision": lambda: half_precision(options.data, options.output),
        "weights": weights,
        "kernels": kernels,
        "cells": lambda: in_a_folder(cells_of_a_large_image),
        "objects": lambda: in_a_folder(objects_of_ten_thousand_cells),
        "gigapixel": lambda: in_a_folder(gigapixel),
        "scale": lambda: in_a_folder(scale),
        "two_workers": lambda: in_a_folder(on_two_workers),
    }


def machine(device: str) -> dict[str, str]:
    """Say on what was measured."""
    import torch

    from napari_unet.engine.device import describe

    return {
        "": describe(torch.device(device)),
        "processor": processor(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def processor() -> str:
    """Return the name of the processor and how many cores it has."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return f"{names[0] if names else platform.processor()} ({os.cpu_count()} cores)"


if __name__ == "__main__":
    sys.exit(main())
