"""How good a segmentation is: pixels, ISBI 2012, Cell Tracking Challenge, objects.

Images are pairs of a prediction and a truth of one shape: an array of two axes is one
image; more axes are images stacked along the first; a list holds images of any size,
so a volume with objects through its slices is `[volume]`. They hold instances (ids,
0 is background), classes (0 is background), or as prediction the probability of
object, from 0 to 1. Images that differ in number or shape, or hold something else,
are a ValueError.
"""

from __future__ import annotations

from napari_unet.core.metrics.adapted_rand import adapted_rand_error
from napari_unet.core.metrics.catalogue import IMAGE_METRICS, METRICS, Metric, ap
from napari_unet.core.metrics.ctc import det, seg
from napari_unet.core.metrics.isbi2012 import (
    FScore,
    IsbiScores,
    isbi_pixel_error,
    isbi_rand_error,
    isbi_scores,
    thin_borders,
    v_info,
    v_rand,
)
from napari_unet.core.metrics.objects import (
    Matching,
    ObjectScores,
    average_precision,
    match,
    mean_average_precision,
    object_scores,
)
from napari_unet.core.metrics.pixels import dice, iou, pixel_error, pixel_error_at
from napari_unet.core.metrics.thresholds import ThresholdedError
from napari_unet.core.metrics.warping import warping_error

__all__ = [
    "IMAGE_METRICS",
    "METRICS",
    "FScore",
    "IsbiScores",
    "Matching",
    "Metric",
    "ObjectScores",
    "ThresholdedError",
    "adapted_rand_error",
    "ap",
    "average_precision",
    "det",
    "dice",
    "iou",
    "isbi_pixel_error",
    "isbi_rand_error",
    "isbi_scores",
    "match",
    "mean_average_precision",
    "object_scores",
    "pixel_error",
    "pixel_error_at",
    "seg",
    "thin_borders",
    "v_info",
    "v_rand",
    "warping_error",
]
