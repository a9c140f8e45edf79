"""Predicted objects matched one to one with true ones by their overlap.

The field's average precision at an IoU threshold is tp / (tp + fp + fn) (Data Science
Bowl 2018; Schmidt et al. 2018, "Cell Detection with Star-convex Polygons"). Panoptic
quality: Kirillov et al. 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from napari_unet.core.metrics.overlaps import object_overlaps
from napari_unet.core.metrics.pairs import label_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.metrics.overlaps import Overlaps
    from napari_unet.core.metrics.pairs import Images

# i / 20 and not steps of 0.05: an IoU of 3/5 must equal the threshold 0.6
COCO_THRESHOLDS = tuple(i / 20 for i in range(10, 20))


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """Which predicted object belongs to which true one, in one image."""

    prediction: NDArray[Any]  # labels, one of each matched pair
    truth: NDArray[Any]
    iou: NDArray[np.float64]  # intersection over union of each pair
    prediction_count: int  # of all objects, matched or not
    truth_count: int


@dataclass(frozen=True, slots=True)
class ObjectScores:
    """Counts of matched and unmatched objects, and what follows from them, in [0, 1].

    All scores are 0 where nothing is matched, also where there is nothing to match.
    """

    threshold: float  # IoU from which two objects can match
    true_positives: int  # matched pairs
    false_positives: int  # predictions without a match
    false_negatives: int  # true objects without one
    total_iou: float  # of the matched pairs

    @property
    def average_precision(self) -> float:
        """Matches per object of either side: tp / (tp + fp + fn)."""
        wrong = self.false_positives + self.false_negatives
        return _ratio(self.true_positives, self.true_positives + wrong)

    @property
    def precision(self) -> float:
        """Share of the predictions that are matched."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of the true objects that are matched."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """2 tp / (2 tp + fp + fn)."""
        wrong = self.false_positives + self.false_negatives
        return _ratio(2 * self.true_positives, 2 * self.true_positives + wrong)

    @property
    def mean_matched_score(self) -> float:
        """Mean IoU of the matched pairs."""
        return _ratio(self.total_iou, self.true_positives)

    @property
    def panoptic_quality(self) -> float:
        """`f1` times `mean_matched_score`."""
        return self.f1 * self.mean_matched_score


def match(
    prediction: NDArray[Any], truth: NDArray[Any], threshold: float = 0.5
) -> Matching:
    """Match the objects of one image, as many as possible, then as well as possible.

    `threshold` is the IoU from which two objects can match, above 0 and up to 1, else a
    ValueError.
    """
    _check_threshold(threshold)
    ((predicted, true),) = label_pairs([prediction], [truth])
    overlaps = object_overlaps(predicted, true)
    pairs = _assign(overlaps, threshold)
    return Matching(
        prediction=overlaps.prediction_ids[overlaps.prediction[pairs]],
        truth=overlaps.truth_ids[overlaps.truth[pairs]],
        iou=overlaps.iou[pairs],
        prediction_count=overlaps.prediction_ids.size,
        truth_count=overlaps.truth_ids.size,
    )


def object_scores(
    prediction: Images,
    truth: Images,
    thresholds: Sequence[float] = (0.5,),
    ignore_below: int = 0,
) -> list[ObjectScores]:
    """Count matches at each IoU threshold, pooled over all images.

    Objects of fewer than `ignore_below` pixels count neither for nor against, as small
    objects in COCO's scores by area: a true one with its match, an unmatched one of
    either side. A predicted one that matches a larger true object counts.
    """
    for threshold in thresholds:
        _check_threshold(threshold)
    # tabulated once, matched again at each threshold
    images = [object_overlaps(*pair) for pair in label_pairs(prediction, truth)]
    counts = ((_count(one, t, ignore_below) for one in images) for t in thresholds)
    return [
        ObjectScores(threshold, *(sum(column) for column in zip(*found, strict=True)))
        for threshold, found in zip(thresholds, counts, strict=True)
    ]


def average_precision(
    prediction: Images,
    truth: Images,
    thresholds: Sequence[float] = (0.5, 0.75, 0.9),
    ignore_below: int = 0,
) -> NDArray[np.float64]:
    """Compute tp / (tp + fp + fn) at each IoU threshold, pooled over all images.

    It is 0 where no image has any object at all. `ignore_below` as of `object_scores`.
    """
    scores = object_scores(prediction, truth, thresholds, ignore_below)
    return np.array([score.average_precision for score in scores])


def mean_average_precision(
    prediction: Images, truth: Images, ignore_below: int = 0
) -> float:
    """Mean of `average_precision` over IoU 0.5 to 0.95 in steps of 0.05."""
    precisions = average_precision(prediction, truth, COCO_THRESHOLDS, ignore_below)
    return float(precisions.mean())


def _count(
    overlaps: Overlaps, threshold: float, ignore_below: int
) -> tuple[int, int, int, float]:
    """Count one image: true positives, false positives, false negatives, their IoU."""
    pairs = _assign(overlaps, threshold)
    large = overlaps.truth_sizes >= ignore_below
    missed, wrong = large.copy(), overlaps.prediction_sizes >= ignore_below
    missed[overlaps.truth[pairs]] = False
    wrong[overlaps.prediction[pairs]] = False
    found = pairs[large[overlaps.truth[pairs]]]
    total = float(overlaps.iou[found].sum())
    return found.size, int(wrong.sum()), int(missed.sum()), total


def _assign(overlaps: Overlaps, threshold: float) -> NDArray[np.intp]:
    """Choose the pairs that match, as indices into the overlaps."""
    pairs = np.flatnonzero(overlaps.iou >= threshold)
    truth, prediction = overlaps.truth[pairs], overlaps.prediction[pairs]
    rivals = np.bincount(truth)[truth] + np.bincount(prediction)[prediction] - 2
    # only at an IoU up to 0.5 can an object have two candidates
    contested = _contested(overlaps, pairs[rivals > 0])
    solved = [_best(overlaps, group) for group in contested]
    return np.sort(np.concatenate([pairs[rivals == 0], *solved]))


def _contested(
    overlaps: Overlaps, pairs: NDArray[np.intp]
) -> Iterator[NDArray[np.intp]]:
    """Group candidate pairs that share objects: each group is solved on its own."""
    if pairs.size == 0:
        return
    # one graph of both kinds of objects, the predicted ones numbered after the true
    offset = overlaps.truth_ids.size
    nodes = offset + overlaps.prediction_ids.size
    edges = overlaps.truth[pairs], overlaps.prediction[pairs] + offset
    graph = sparse.coo_array((np.ones(pairs.size), edges), (nodes, nodes))
    group = sparse.csgraph.connected_components(graph, directed=False)[1][edges[0]]
    order = np.argsort(group, kind="stable")
    yield from np.split(pairs[order], np.flatnonzero(np.diff(group[order])) + 1)


def _best(overlaps: Overlaps, pairs: NDArray[np.intp]) -> NDArray[np.intp]:
    """Hungarian method on one group: most matches first, then the largest IoU sum."""
    # renumber: the dense table spans this group's objects alone
    _, rows = np.unique(overlaps.truth[pairs], return_inverse=True)
    _, columns = np.unique(overlaps.prediction[pairs], return_inverse=True)
    shape = int(rows.max()) + 1, int(columns.max()) + 1
    gain = np.zeros(shape)
    # all IoUs together stay below the 1 that one more match brings
    gain[rows, columns] = 1 + overlaps.iou[pairs] / (2 * min(shape))
    assigned = np.zeros(shape, np.bool_)
    assigned[linear_sum_assignment(gain, maximize=True)] = True
    chosen: NDArray[np.intp] = pairs[assigned[rows, columns]]
    return chosen


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _check_threshold(threshold: float) -> None:
    if not 0 < threshold <= 1:
        raise ValueError(
            f"an IoU threshold must be above 0 and at most 1, found {threshold}."
        )
