"""The same training without napari, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class Headless:
    """A training started by Python, at the priority of the plugin's worker.

    Parameters
    ----------
    folder : Path
        For the arrays and the count of steps.
    images, labels : ndarray, shape (z, y, x)
    """

    def __init__(
        self, folder: Path, images: NDArray[np.uint16], labels: NDArray[np.int32]
    ) -> None:
        self._count = folder / "steps"
        self._count.write_bytes(bytes(8))
        np.save(folder / "images.npy", images)
        np.save(folder / "labels.npy", labels)
        # the same threads and waiting as the worker has
        environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.interaction.headless", str(folder)],
            env=environment,
        )

    def count(self) -> int:
        """Return the number of steps done so far."""
        return int(np.fromfile(self._count, np.int64)[0])

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Train until killed, and keep the number of steps in a file."""
    from pathlib import Path

    from benchmarks.interaction.material import settings
    from napari_unet.core.events import StepDone
    from napari_unet.engine.training.train import train

    os.nice(10)
    folder = Path(sys.argv[1])
    images, labels = np.load(folder / "images.npy"), np.load(folder / "labels.npy")
    done = np.memmap(folder / "steps", np.int64, "r+", shape=(1,))
    for event in train([images], [labels], settings(), kind="annotation"):
        if isinstance(event, StepDone):
            done[0] = event.step


if __name__ == "__main__":
    main()
