"""Predictions beside their truths: how every metric takes its images.

One array is one plane, or a stack of them along its first axis; a list holds images
of any size. A volume whose objects run through the slices is a list of one array.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Images: TypeAlias = NDArray[Any] | Sequence[NDArray[Any]]
    Pair: TypeAlias = tuple[NDArray[Any], NDArray[Any]]


def label_pairs(prediction: Images, truth: Images) -> list[Pair]:
    """Pair label or class images: booleans or integers from 0."""
    pairs = _paired(prediction, truth)
    for predicted, true in pairs:
        _check_labels(predicted, "prediction")
        _check_labels(true, "truth")
    return pairs


def probability_pairs(prediction: Images, truth: Images) -> list[Pair]:
    """Pair probabilities of being object with masks (truth above 0), plane by plane."""
    pairs: list[Pair] = []
    for predicted, true in _paired(prediction, truth):
        _check_probability(predicted)
        _check_labels(true, "truth")
        plane = (-1, *true.shape[-2:])
        pairs += zip(predicted.reshape(plane), true.reshape(plane) > 0, strict=True)
    return pairs


def pairs_with_objects(prediction: Images, truth: Images) -> list[Pair]:
    """As `probability_pairs`; a ValueError if a plane of the truth has no object."""
    pairs = probability_pairs(prediction, truth)
    for i, (_, true) in enumerate(pairs):
        if not true.any():
            raise ValueError(
                f"each slice of the truth must have an object (a pixel above 0), "
                f"slice {i} has none."
            )
    return pairs


def _paired(prediction: Images, truth: Images) -> list[Pair]:
    predictions, truths = _images(prediction), _images(truth)
    if len(predictions) != len(truths):
        raise ValueError(
            f"each truth needs one prediction, found {len(predictions)} predictions "
            f"for {len(truths)} truths."
        )
    if not predictions:
        raise ValueError("a metric needs at least one image, found none.")
    for i, (predicted, true) in enumerate(zip(predictions, truths, strict=True)):
        if predicted.shape != true.shape:
            raise ValueError(
                f"image {i}: the prediction has shape {predicted.shape}, "
                f"the truth {true.shape}; they must be equal."
            )
        if true.ndim < 2 or true.size == 0:
            raise ValueError(
                f"image {i}: an image needs y and x and at least one pixel, "
                f"found an array of shape {true.shape}."
            )
    return list(zip(predictions, truths, strict=True))


def _images(images: Images) -> list[NDArray[Any]]:
    if isinstance(images, (list, tuple)):
        return [np.asarray(image) for image in images]
    # a bare array has slices of one size; iterating it gives them
    array = np.asarray(images)
    return list(array) if array.ndim > 2 else [array]


def _check_labels(array: NDArray[Any], role: str) -> None:
    if array.dtype.kind not in "biu":
        raise ValueError(
            f"the {role} must hold booleans or whole numbers, found {array.dtype}."
        )
    if array.dtype.kind == "i" and array.min() < 0:
        raise ValueError(
            f"the {role} must hold labels of 0 or more, found {array.min()}."
        )


def _check_probability(array: NDArray[Any]) -> None:
    low, high = array.min(), array.max()
    # false also for NaN, which min and max pass on
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"probabilities must lie within 0 to 1, found {low} to {high}."
        )
