"""Two processes that train one network, against one: time, and weights."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.speed.row import Row, middle

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# The first steps are slower, and nobody waits for them.
_SETTLING = 3


def teams(folder: Path, repeats: int = 3) -> list[Row]:
    """Compare a step of two processes with one of one, each of one thread."""
    one, two = (
        _trained(size, "quick", 20, "double", folder / f"{size}.npz") for size in (1, 2)
    )
    names = [n for n in one if n != "seconds" and one[n].dtype.kind == "f"]
    difference = max(float(np.abs(two[n] - one[n]).max()) for n in names)
    largest = max(float(np.abs(one[n]).max()) for n in names)
    return [
        _step("quick", 20, repeats, folder),
        _step("accurate", 8, repeats, folder),
        Row(
            "weights after 20 steps of 2 processes in double precision",
            "those of 1 process; relative to the largest weight",
            difference / largest,
            "≤",
            1e-8,
        ),
    ]


def _step(preset: str, steps: int, repeats: int, folder: Path) -> Row:
    """Return how long a step of two processes takes, for the network of a preset."""
    found: dict[int, list[float]] = {1: [], 2: []}
    for number in range(repeats):
        for size in found:
            file = folder / f"{preset}-{size}-{number}.npz"
            seconds = _trained(size, preset, steps, "single", file)["seconds"]
            found[size].append(median(seconds[_SETTLING:]))
    return Row(
        f"training step, {preset}, of 2 processes with 2 patches, one thread each",
        "1 process with 4 patches, one thread",
        median(b / a for b, a in zip(found[2], found[1], strict=True)),
        "≤",
        0.65,
        " ×",
        f"{middle(found[2])} and {middle(found[1])}",
    )


def _trained(
    size: int, preset: str, steps: int, precision: str, file: Path
) -> dict[str, NDArray[np.float64]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "benchmarks.speed.team_member"]
    members = [
        subprocess.Popen(
            [*command, preset, str(steps), precision, str(file)],
            env={**os.environ, **where, "RANK": str(k), "LOCAL_RANK": str(k)},
        )
        for k in range(size)
    ]
    if any(member.wait() for member in members):
        raise RuntimeError(f"{size} processes did not train.")
    with np.load(file) as found:
        return dict(found)
