"""What core computes by itself, against the libraries that have the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed as flood

from benchmarks.speed.row import Row, interleaved, middle, ratio
from benchmarks.speed.weights import cells
from napari_unet.core.cells.holes import fill_holes
from napari_unet.core.cells.watershed import watershed
from napari_unet.core.geometry.distance import distance_inside
from napari_unet.core.images.smoothing import smooth

if TYPE_CHECKING:
    from collections.abc import Callable

_REPEATS = 9


def kernels() -> list[Row]:
    """Compare each on an image of 2048 × 2048 with 1000 cells."""
    labels = cells(2048, 1000)
    labels[::9, ::9] = 0  # pinholes
    mask = labels > 0
    depth = distance_inside(mask)
    grey = mask.astype(np.float32)
    # scipy fills a mask, which does not keep touching cells apart
    peaks, _ = ndimage.label(depth == ndimage.maximum_filter(depth, 9))
    peaks[~mask] = 0
    return [
        _against(
            "distance inside of cells",
            "scipy.ndimage.distance_transform_edt",
            lambda: distance_inside(mask),
            lambda: ndimage.distance_transform_edt(mask),
        ),
        _against(
            "holes of cells",
            "scipy.ndimage.binary_fill_holes, of one mask",
            lambda: fill_holes(labels),
            lambda: ndimage.binary_fill_holes(mask),
        ),
        _against(
            "watershed, with finding its seeds",
            "skimage.segmentation.watershed, from seeds",
            lambda: watershed(depth, 1.0, 0.2),
            lambda: flood(-depth, peaks, mask=mask),
        ),
        _against(
            "Gaussian of one pixel",
            "scipy.ndimage.gaussian_filter",
            lambda: smooth(grey, (1.0, 1.0)),
            lambda: ndimage.gaussian_filter(grey, 1.0),
        ),
    ]


def _against(
    what: str, other: str, ours: Callable[[], object], theirs: Callable[[], object]
) -> Row:
    ours()  # compiles
    seconds = interleaved({"ours": ours, "theirs": theirs}, _REPEATS)
    times = f"{middle(seconds['ours'])} and {middle(seconds['theirs'])}"
    value = ratio(seconds, "theirs", "ours")
    return Row(f"{what}, 2048 × 2048", other, value, "≥", 2.0, " ×", times)
