"""Adapted Rand error of 4-connected components, as scikit-image computes it.

Unlike the ISBI 2012 scores it thins nothing, treats all predicted membrane as one
segment and counts pairs of different pixels only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from skimage import metrics

from napari_unet.core.metrics.pairs import probability_pairs
from napari_unet.core.metrics.thresholds import ThresholdedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.metrics.pairs import Images

THRESHOLDS = tuple(i / 10 for i in range(3, 10))


def adapted_rand_error(probability: Images, truth: Images) -> ThresholdedError:
    """Mean adapted Rand error of the slices at the best threshold, one for the stack.

    From the probability of object and a truth that is object above 0. A ValueError says
    that a slice of the truth has no object.
    """
    pairs = probability_pairs(probability, truth)
    truths = [ndimage.label(true)[0] for _, true in pairs]
    for i, true in enumerate(truths):
        if not true.any():
            raise ValueError(
                f"each slice of the truth must have an object (a pixel above 0), "
                f"slice {i} has none."
            )
    errors = []
    for threshold in THRESHOLDS:
        found = [
            _error(ndimage.label(predicted > threshold)[0], true)
            for (predicted, _), true in zip(pairs, truths, strict=True)
        ]
        errors.append(ThresholdedError(float(np.mean(found)), threshold))
    return min(errors, key=lambda found: found.error)


def _error(segments: NDArray[Any], truth: NDArray[Any]) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        error = float(metrics.adapted_rand_error(truth, segments)[0])
    # no two pixels are together in either: there is no pair to get wrong
    return 0.0 if np.isnan(error) else error
