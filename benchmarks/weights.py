"""Border weights against their definition: one distance transform for each cell.

`python -m benchmarks.weights` prints seconds, their ratio and the largest difference.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt

from napari_unet.core.settings import BorderWeights
from napari_unet.core.weights import border_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_SIDE, _CELLS, _REPEATS = 1024, 250, 7
_SETTINGS = BorderWeights()


def cells(side: int = _SIDE, count: int = _CELLS) -> NDArray[np.int32]:
    """Return discs of 10 to 22 px radius, later ones over earlier ones."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    labels = np.zeros((side, side), np.int32)
    for number in range(1, count + 1):
        (cy, cx), radius = rng.uniform(0, side, 2), rng.uniform(10, 22)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = number
    return labels


def by_definition(labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Compute the second term of Eq. 2 as the paper writes it."""
    first = np.full(labels.shape, np.inf)
    second = first.copy()
    for number in np.unique(labels[labels > 0]):
        distance = distance_transform_edt(labels != number)
        second = np.minimum(second, np.maximum(first, distance))
        first = np.minimum(first, distance)
    term = _SETTINGS.w0 * np.exp(-((first + second) ** 2) / (2 * _SETTINGS.sigma**2))
    return np.where(labels == 0, term, 0.0)


def seconds(work: Callable[[], object], repeats: int = _REPEATS) -> float:
    """Return the median time of some work."""
    times = []
    for _ in range(repeats):
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return median(times)


def main() -> None:
    """Print the comparison."""
    labels = cells()
    border_weights(labels[:64, :64], _SETTINGS)  # compiles
    ours = seconds(lambda: border_weights(labels, _SETTINGS))
    began = perf_counter()
    truth = by_definition(labels)
    theirs = perf_counter() - began
    error = np.abs(border_weights(labels, _SETTINGS) - truth).max()
    print(f"{_CELLS} cells in {_SIDE} x {_SIDE} px")
    print(f"one distance transform per cell  {theirs:8.3f} s")
    print(f"border_weights                   {ours:8.3f} s, median of {_REPEATS}")
    print(f"ratio {theirs / ours:.0f} (target 300), largest difference {error:.1e}")
    large = cells(2048, 1000)
    box = (slice(900, 1000), slice(900, 1000))
    stroke = seconds(lambda: border_weights(large, _SETTINGS, box=box))
    print(f"a box of 100 x 100 in 2048 x 2048  {1000 * stroke:.1f} ms")


if __name__ == "__main__":
    main()
