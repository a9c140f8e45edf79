"""The metrics by the names that the command line takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_unet.core.metrics.adapted_rand import adapted_rand_error
from napari_unet.core.metrics.ctc import det, seg
from napari_unet.core.metrics.isbi2012 import FScore, isbi_scores
from napari_unet.core.metrics.objects import mean_average_precision, object_scores
from napari_unet.core.metrics.pixels import dice, iou, pixel_error_at
from napari_unet.core.metrics.restoration import pearson, psnr, ssim

Arrays: TypeAlias = Sequence[NDArray[Any]]
Results: TypeAlias = dict[str, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """What a metric reads and how it is computed."""

    # Kind of prediction: object ids, probability of object in [0, 1], or class numbers.
    # The truth holds ids for instances, otherwise classes (0 background).
    wants: Literal["instances", "probability", "classes"]
    # From predictions and truths, one array (y, x) or (z, y, x) for each image or
    # frame, to named results pooled over them all.
    measure: Callable[[Arrays, Arrays], Results]
    pixelwise: bool = False  # each pixel counts by itself, so that some can be left out


def _of_classes(name: str, measure: Callable[..., float]) -> Metric:
    """One value for a mask; for several classes each and their mean."""

    def run(predictions: Arrays, truths: Arrays) -> Results:
        # a mask of 0 and 255 and one of 0 and 1 mean the same
        values = [_classes(truths), _classes(predictions)]
        if all(len(found) <= 1 for found in values):
            return {name: measure(predictions, truths)}
        results = {
            f"{name}_class_{value}": measure(predictions, truths, value)
            for value in sorted(set().union(*values))
        }
        return {name: sum(results.values()) / len(results), **results}

    return Metric("classes", run, pixelwise=True)


def _classes(images: Arrays) -> set[int]:
    """Return the classes found, background left out."""
    return {int(v) for image in images for v in np.unique(image) if v > 0}


def _adapted_rand(predictions: Arrays, truths: Arrays) -> Results:
    best = adapted_rand_error(predictions, truths)
    return {
        "adapted_rand_error": best.error,
        "adapted_rand_error_threshold": best.threshold,
    }


def _isbi2012(predictions: Arrays, truths: Arrays) -> Results:
    scores = isbi_scores(predictions, truths)
    return {
        "isbi2012_pixel_error": scores.pixel_error.error,
        "isbi2012_rand_error": scores.rand_error.error,
        "isbi2012_warping_error": scores.warping_error.error,
        **_f_score("isbi2012_v_rand", scores.v_rand),
        **_f_score("isbi2012_v_info", scores.v_info),
    }


def _f_score(name: str, score: FScore) -> Results:
    return {
        name: score.f_score,
        f"{name}_precision": score.precision,
        f"{name}_recall": score.recall,
        f"{name}_threshold": score.threshold,
    }


def ap(predictions: Arrays, truths: Arrays, ignore_below: int = 0) -> Results:
    """Measure matched objects; `ignore_below` as of `object_scores`."""
    # first: the threshold that most papers report all scores at
    half, *_ = scores = object_scores(
        predictions, truths, (0.5, 0.75, 0.9), ignore_below
    )
    return {
        **{f"ap@{score.threshold}": score.average_precision for score in scores},
        "ap@0.5:0.95": mean_average_precision(predictions, truths, ignore_below),
        "precision@0.5": half.precision,
        "recall@0.5": half.recall,
        "f1@0.5": half.f1,
        "mean_matched_score@0.5": half.mean_matched_score,
        "panoptic_quality@0.5": half.panoptic_quality,
    }


METRICS: dict[str, Metric] = {
    "iou": _of_classes("iou", iou),
    "dice": _of_classes("dice", dice),
    "pixel_error@0.5": Metric(
        "probability",
        lambda p, t: {"pixel_error@0.5": pixel_error_at(p, t, 0.5)},
        pixelwise=True,
    ),
    "adapted_rand_error": Metric("probability", _adapted_rand),
    "isbi2012": Metric("probability", _isbi2012),
    "seg": Metric("instances", lambda p, t: {"seg": seg(p, t)}),
    "det": Metric("instances", lambda p, t: {"det": det(p, t)}),
    "ap": Metric("instances", ap),
}

# Of images in place of labels: predictions and truths of one channel; None if these
# are too small for it.
IMAGE_METRICS: dict[str, Callable[[Arrays, Arrays], float | None]] = {
    "psnr": psnr,
    "ssim": ssim,
    "pearson": pearson,
}
