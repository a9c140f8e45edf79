"""Cells of 10⁸ pixels, from and to OME-Zarr, block by block and as a whole.

`python -m benchmarks.speed.cells FOLDER blocks|whole` is one of the two runs, in a
process of its own, so that its memory can be told.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks.speed.memory import peak_mb
from benchmarks.speed.row import Row
from napari_unet.core.settings import Segmentation
from napari_unet.engine.inference.block_segmentation import BlockSegmentation
from napari_unet.engine.inference.block_sizes import BlockSizes
from napari_unet.io.images import read_image
from napari_unet.io.ome_zarr import create_zarr
from napari_unet.io.resumable_output import ResumableOutput

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PATTERN, _COPIES = 2000, 5
_SIDE = _PATTERN * _COPIES


def cells_of_a_large_image(folder: Path) -> list[Row]:
    """Time block by block, and compare with the image segmented as a whole."""
    write_probabilities(folder / "probabilities.zarr")
    blocks, whole = (_run(folder, how) for how in ("blocks", "whole"))
    first = read_image(folder / "blocks.zarr").data
    second = read_image(folder / "whole.zarr").data
    different = sum(
        int(np.count_nonzero(first[y : y + 1000] != second[y : y + 1000]))
        for y in range(0, _SIDE, 1000)
    )
    what = f"cells of 10⁸ pixels ({blocks['cells']:,} cells), OME-Zarr to OME-Zarr"
    found = (
        f"as a whole {whole['seconds']:.1f} s, {whole['peak_mb'] / 1000:.1f} GB peak"
    )
    return [
        Row(what, "–", blocks["seconds"], "≤", 60.0, " s", found),
        Row(f"{what}: peak memory", "–", blocks["peak_mb"] / 1000, "≤", 4.0, " GB"),
        Row(
            f"{what}: pixels with another id",
            "the image segmented as a whole",
            different,
            "≤",
            0,
        ),
    ]


def write_probabilities(target: Path) -> None:
    """Write blobs as a network gives them, a pattern that repeats without a seam."""
    pattern = _blobs()
    with create_zarr(target, (2, _SIDE, _SIDE), "cyx", np.float32) as out:
        for row in range(_COPIES):
            for column in range(_COPIES):
                y, x = row * _PATTERN, column * _PATTERN
                box = slice(y, y + _PATTERN), slice(x, x + _PATTERN)
                out[0, *box] = 1 - pattern
                out[1, *box] = pattern


def _blobs() -> NDArray[np.float32]:
    rough = np.random.default_rng(3).normal(size=(_PATTERN, _PATTERN))
    rough = gaussian_filter(rough, 4.4, mode="wrap")
    soft: NDArray[np.float64] = 1 / (1 + np.exp(-4 * (rough / rough.std() - 0.25)))
    return soft.astype(np.float32)


def _run(folder: Path, how: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.speed.cells", str(folder), how]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def main() -> None:
    """Find the cells; print seconds, peak memory and how many there are."""
    folder, how = Path(sys.argv[1]), sys.argv[2]
    sizes = BlockSizes() if how == "blocks" else BlockSizes(whole=_SIDE**2)
    target = folder / f"{how}.zarr"
    began = perf_counter()
    image = read_image(folder / "probabilities.zarr")
    with ResumableOutput(folder / f"{how}-work", {}) as work:
        job = BlockSegmentation(image, 2, Segmentation(), None, work, sizes)
        for _ in job.events("instances", target):
            pass
        count = int(work.results("instances")["cells"])
        work.publish({"instances": target})
    seconds = perf_counter() - began
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb(), "cells": count}))


if __name__ == "__main__":
    main()
