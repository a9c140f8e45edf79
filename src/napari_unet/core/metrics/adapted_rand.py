"""Adapted Rand error of 4-connected components, as scikit-image computes it.

Unlike the ISBI 2012 scores it thins nothing, treats all predicted membrane as one
segment and counts pairs of different pixels only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from skimage import metrics

from napari_unet.core.metrics.pairs import pairs_with_objects
from napari_unet.core.metrics.thresholds import ThresholdedError, lowest_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.metrics.pairs import Images

THRESHOLDS = tuple(i / 10 for i in range(3, 10))


def adapted_rand_error(probability: Images, truth: Images) -> ThresholdedError:
    """Mean adapted Rand error of the slices at the best threshold, one for the stack.

    From the probability of object and a truth that is object above 0. A ValueError says
    that a slice of the truth has no object.
    """
    pairs = pairs_with_objects(probability, truth)
    truths = [ndimage.label(true)[0] for _, true in pairs]

    def error(threshold: float) -> float:
        found = [
            _error(ndimage.label(predicted > threshold)[0], true)
            for (predicted, _), true in zip(pairs, truths, strict=True)
        ]
        return float(np.mean(found))

    return lowest_error(THRESHOLDS, error)


def _error(segments: NDArray[Any], truth: NDArray[Any]) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        error = float(metrics.adapted_rand_error(truth, segments)[0])
    # no two pixels are together in either: there is no pair to get wrong
    return 0.0 if np.isnan(error) else error
