"""SEG and DET of the Cell Tracking Challenge.

Definitions: celltrackingchallenge.net/evaluation-methodology and Matula et al. 2015
(PLoS ONE 10:e0144959) for the weights of DET. The "average IOU" in table 2 of
Ronneberger et al. 2015 is SEG.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.metrics.overlaps import object_overlaps
from napari_unet.core.metrics.pairs import label_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_unet.core.metrics.overlaps import Overlaps
    from napari_unet.core.metrics.pairs import Images

# Matula et al. 2015: what correcting a detection by hand costs
SPLIT_COST = 5
MISSED_COST = 10
SPURIOUS_COST = 1


def seg(prediction: Images, truth: Images, border: int = 0) -> float:
    """Mean IoU over all true objects, 0 for those without a match (SEG).

    A prediction matches an object if it covers more than half of it. What is predicted
    elsewhere costs nothing, so truths may be annotated in part. `border` pixels at the
    edges of y and x are left out of account (the field of interest). A ValueError says
    that this leaves nothing, or that the truth has no object.
    """
    total, objects = 0.0, 0
    for overlaps in _frames(prediction, truth, border):
        total += overlaps.iou[_matches(overlaps)].sum()
        objects += overlaps.truth_ids.size
    _check_any(objects)
    return float(total / objects)


def det(prediction: Images, truth: Images, border: int = 0) -> float:
    """Detection accuracy (DET = 1 - AOGM-D / AOGM-D of an empty prediction), in [0, 1].

    A prediction detects each marker (or instance) of the truth of which it covers more
    than half. It costs 5 to split a prediction once, 10 to add a missed object, 1 to
    delete a spurious one. `border` and errors as for `seg`.
    """
    cost, objects = 0, 0
    for overlaps in _frames(prediction, truth, border):
        # a marker has at most one prediction over more than half of it
        detected = _matches(overlaps)
        markers = np.bincount(
            overlaps.prediction[detected], minlength=overlaps.prediction_ids.size
        )
        cost += SPLIT_COST * int(np.maximum(markers - 1, 0).sum())
        cost += MISSED_COST * (overlaps.truth_ids.size - int(markers.sum()))
        cost += SPURIOUS_COST * int(np.count_nonzero(markers == 0))
        objects += overlaps.truth_ids.size
    _check_any(objects)
    # many spurious objects can cost more than drawing every one by hand
    return 1 - min(cost, MISSED_COST * objects) / (MISSED_COST * objects)


def _frames(prediction: Images, truth: Images, border: int) -> Iterator[Overlaps]:
    if border < 0:
        raise ValueError(f"the border must be 0 pixels or more, found {border}.")
    for predicted, true in label_pairs(prediction, truth):
        if min(true.shape[-2:]) <= 2 * border:
            raise ValueError(
                f"a border of {border} pixels leaves nothing of a frame of shape "
                f"{true.shape}."
            )
        yield object_overlaps(_inside(predicted, border), _inside(true, border))


def _inside(frame: NDArray[Any], border: int) -> NDArray[Any]:
    # z is kept whole: volumes are often thinner than twice the border
    rows, columns = frame.shape[-2:]
    return frame[..., border : rows - border, border : columns - border]


def _matches(overlaps: Overlaps) -> NDArray[np.bool_]:
    """Pairs in which the prediction covers more than half of the true object."""
    matches: NDArray[np.bool_] = (
        2 * overlaps.pixels > overlaps.truth_sizes[overlaps.truth]
    )
    return matches


def _check_any(objects: int) -> None:
    if not objects:
        raise ValueError("the truth must have at least one object, found none.")
