"""Border weights against their definition: one distance transform for each cell."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import distance_transform_edt

from benchmarks.speed.row import Row, interleaved, middle, ratio, timed
from napari_unet.core.settings import BorderWeights
from napari_unet.core.training.loss_weights import border_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SETTINGS = BorderWeights()
# In a row: one alone is over before the processor is awake.
_CALLS = 10


def weights() -> list[Row]:
    """Compare whole planes, and time the box that a brush stroke changes."""
    labels = cells(1024, 250)
    border_weights(labels[:64, :64], _SETTINGS)  # compiles
    ours = partial(border_weights, labels, _SETTINGS)
    seconds = interleaved(
        {
            "ours": lambda: [ours() for _ in range(_CALLS)],
            "definition": partial(by_definition, labels),
        },
        repeats=3,
    )
    seconds["ours"] = [time / _CALLS for time in seconds["ours"]]
    error = np.abs(ours() - by_definition(labels)).max()
    large = cells(2048, 1000)
    box = (slice(900, 1000), slice(900, 1000))
    stroke = partial(border_weights, large, _SETTINGS, box=box)
    return [
        Row(
            "border weights, 250 cells in 1024 × 1024",
            "one distance transform for each cell",
            ratio(seconds, "definition", "ours"),
            "≥",
            300.0,
            " ×",
            f"{middle(seconds['ours'])} and {middle(seconds['definition'])}; largest "
            f"difference {error:.0e}",
        ),
        Row(
            "border weights around a stroke of 100 × 100 in 2048 × 2048",
            "–",
            1000 * median(timed(stroke) for _ in range(15)),
            "≤",
            20.0,
            " ms",
        ),
    ]


def cells(side: int, count: int) -> NDArray[np.int32]:
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
