"""Agreement pixel by pixel: overlap of classes, share of wrong pixels.

Counts are pooled over all images before they are divided, so that a large image weighs
more than a small one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.metrics.pairs import label_pairs, probability_pairs

if TYPE_CHECKING:
    from napari_unet.core.metrics.pairs import Images


def iou(prediction: Images, truth: Images, value: int | None = None) -> float:
    """Intersection over union of one class (Jaccard index).

    `value` is the class compared; without it every pixel above 0. 1 where neither has
    such a pixel.
    """
    both, either, _ = _counts(prediction, truth, value)
    return both / either if either else 1.0


def dice(prediction: Images, truth: Images, value: int | None = None) -> float:
    """Dice coefficient (F1) of one class, as `iou`."""
    both, _, total = _counts(prediction, truth, value)
    return 2 * both / total if total else 1.0


def pixel_error(prediction: Images, truth: Images) -> float:
    """Share of pixels whose class is wrong."""
    pairs = label_pairs(prediction, truth)
    wrong = sum(np.count_nonzero(predicted != true) for predicted, true in pairs)
    return float(wrong / sum(true.size for _, true in pairs))


def pixel_error_at(probability: Images, truth: Images, threshold: float = 0.5) -> float:
    """Share of pixels on the wrong side of a threshold.

    A pixel is object where its probability is above, not equal; in the truth above 0.
    """
    pairs = probability_pairs(probability, truth)
    wrong = sum(np.count_nonzero((p > threshold) != true) for p, true in pairs)
    return float(wrong / sum(true.size for _, true in pairs))


def _counts(
    prediction: Images, truth: Images, value: int | None
) -> tuple[int, int, int]:
    """Pixels of the class in both, in either, and in the one plus in the other."""
    both = either = 0
    for predicted, true in label_pairs(prediction, truth):
        a = predicted > 0 if value is None else predicted == value
        b = true > 0 if value is None else true == value
        both += int(np.count_nonzero(a & b))
        either += int(np.count_nonzero(a | b))
    return both, either, both + either
