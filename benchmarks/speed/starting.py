"""How long the package takes to be imported."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from benchmarks.speed.row import Row

_SCRIPT = """
import sys, time
began = time.perf_counter()
import napari_unet
print(time.perf_counter() - began, "torch" in sys.modules)
"""


def importing(repeats: int = 7) -> list[Row]:
    """Time `import napari_unet` in fresh processes, and look for torch."""
    seconds, torch = [], 0
    for _ in range(repeats):
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT], check=True, capture_output=True, text=True
        )
        time, loaded = done.stdout.split()
        seconds.append(float(time))
        torch += loaded == "True"
    return [
        Row("import napari_unet", "–", median(seconds), "≤", 0.1, " s"),
        Row("import napari_unet: loads torch", "–", torch, "≤", 0),
    ]
