"""A whole-slide image, predicted from and to OME-Zarr by the command line."""

from __future__ import annotations

import subprocess
import sys
from time import perf_counter, sleep
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.speed.memory import peak_mb
from benchmarks.speed.row import Row
from napari_unet.io import samples
from napari_unet.io.ome_zarr import create_zarr

if TYPE_CHECKING:
    from pathlib import Path

_SIDE, _PART = 32768, 8192


def gigapixel(folder: Path) -> list[Row]:
    """Compare time and memory with those of a sixteenth of the image.

    Parameters
    ----------
    folder : Path
        Gets images and results; some 20 GB are needed.
    """
    (seconds, peak), (part_seconds, part_peak) = (
        _predict(folder, side) for side in (_SIDE, _PART)
    )
    what = f"predict {_SIDE} × {_SIDE} with cells, quick, OME-Zarr to OME-Zarr"
    against = f"the same of {_PART} × {_PART}"
    found = f"{seconds:.0f} s and {part_seconds:.1f} s, from start of the process"
    return [
        Row(f"{what}: time", against, seconds / part_seconds, "≤", 16.5, " ×", found),
        Row(
            f"{what}: peak memory",
            against,
            peak / part_peak,
            "≤",
            1.1,
            " ×",
            f"{peak:.0f} MB and {part_peak:.0f} MB",
        ),
        Row(f"{what}: peak memory", "–", peak / 1000, "≤", 2.0, " GB"),
    ]


def _predict(folder: Path, side: int) -> tuple[float, float]:
    """Return seconds and MB of one prediction with the starter model of nuclei."""
    image = folder / f"{side}.zarr"
    if not image.exists():
        write_nuclei(image, side)
    command = [sys.executable, "-m", "napari_unet.cli.main", "predict", "nuclei"]
    command += [str(image), "--output", str(folder / f"out{side}"), "--overwrite"]
    command += ["--save", "classes,instances"]
    began, peak = perf_counter(), 0.0
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        sleep(0.2)
        peak = max(peak, _peak(process.pid))
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}.")
    return perf_counter() - began, peak


def _peak(process: int) -> float:
    try:
        return peak_mb(str(process))
    except (OSError, StopIteration):
        # it has just ended
        return 0.0


def write_nuclei(target: Path, side: int) -> None:
    """Fill a new image with copies of one of the package's images of nuclei."""
    pixels = np.asarray(samples.nuclei()[0][0].data)
    band = np.tile(pixels, (1, -(-side // pixels.shape[1])))[:, :side]
    with create_zarr(target, (side, side), "yx", pixels.dtype) as out:
        for y in range(0, side, 512):
            rows = np.arange(y, min(y + 512, side)) % len(band)
            out[y : y + 512] = band[rows]
