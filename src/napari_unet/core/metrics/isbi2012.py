"""Scores of the ISBI 2012 challenge: neurites separated by membranes.

Arganda-Carreras et al. 2015 (Front. Neuroanat. 9:142): V_Rand and V_Info after border
thinning, the later ranking; pixel, Rand and warping error, the ranking of 2012.
Everything is 2-D, slice by slice; objects are 4-connected; the truth is never thinned;
the threshold is searched for each score. Missing pixels (predicted membrane on a true
object) count as objects of one pixel each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from napari_unet.core.metrics.overlaps import contingency
from napari_unet.core.metrics.pairs import pairs_with_objects
from napari_unet.core.metrics.thresholds import (
    ThresholdedError,
    candidates,
    lowest_error,
)
from napari_unet.core.metrics.warping import warping_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from numpy.typing import NDArray

    from napari_unet.core.metrics.pairs import Images

    # scipy picks int32 or int64 by the number of pixels
    Labels: TypeAlias = NDArray[Any]

THRESHOLDS = tuple(i / 10 for i in range(11))


@dataclass(frozen=True, slots=True)
class FScore:
    """Precision, recall and their F1, each a mean over slices, and the threshold."""

    precision: float  # lower for merged objects, by V_Rand
    recall: float  # lower for split ones
    f_score: float
    threshold: float  # objects are where the probability is above it, not equal


@dataclass(frozen=True, slots=True)
class IsbiScores:
    """All scores of the challenge for one prediction."""

    pixel_error: ThresholdedError
    rand_error: ThresholdedError
    warping_error: ThresholdedError
    v_rand: FScore
    v_info: FScore


def isbi_scores(probability: Images, truth: Images) -> IsbiScores:
    """Score a membrane segmentation as the ISBI 2012 challenge does.

    From the probability of object (not membrane) and a truth that is object above 0. A
    prediction of zeros and ones only is scored at the threshold 0 alone. A ValueError
    says that a slice of the truth has no object. All of this holds for each score
    alone.
    """
    # both from one search: thinning takes most of the time
    rand, info = _search(probability, truth, (_rand, _info), thin=True)
    return IsbiScores(
        pixel_error=isbi_pixel_error(probability, truth),
        rand_error=isbi_rand_error(probability, truth),
        warping_error=warping_error(probability, truth),
        v_rand=rand,
        v_info=info,
    )


def isbi_pixel_error(probability: Images, truth: Images) -> ThresholdedError:
    """1 - F1 of the object pixels, pooled over the stack, at the best threshold."""
    pairs = pairs_with_objects(probability, truth)

    def error(threshold: float) -> float:
        both = total = 0
        for predicted, true in pairs:
            proposal = predicted > threshold
            both += int(np.count_nonzero(proposal & true))
            total += int(np.count_nonzero(proposal) + np.count_nonzero(true))
        return 1 - 2 * both / total

    return lowest_error(candidates(pairs, THRESHOLDS), error)


def isbi_rand_error(probability: Images, truth: Images) -> ThresholdedError:
    """1 - foreground-restricted V_Rand, without thinning, at the best threshold."""
    best = v_rand(probability, truth, thin=False)
    return ThresholdedError(1 - best.f_score, best.threshold)


def v_rand(probability: Images, truth: Images, *, thin: bool = True) -> FScore:
    """Foreground-restricted Rand F-score, after border thinning by default."""
    return _search(probability, truth, (_rand,), thin=thin)[0]


def v_info(probability: Images, truth: Images, *, thin: bool = True) -> FScore:
    """Foreground-restricted information F-score, after border thinning by default.

    A slice whose truth or whose prediction is one single object scores 0, as in the
    challenge: there is no information in it.
    """
    return _search(probability, truth, (_info,), thin=thin)[0]


def thin_borders(objects: NDArray[np.bool_]) -> Labels:
    """Grow 4-connected objects of a plane until only thin lines part them; label them.

    Soille & Vincent 1990, "Determining watersheds in digital pictures via flooding
    simulations", on an image of two levels, with 4 neighbours.
    """
    labels, _ = ndimage.label(objects)
    # flooding two levels only, each basin starts as a whole object
    flooded: Labels = watershed(
        (~objects).astype(np.uint8), labels, connectivity=1, watershed_line=True
    )
    return flooded


def _search(
    probability: Images,
    truth: Images,
    measures: Sequence[Callable[[_Shares], tuple[float, float, float]]],
    *,
    thin: bool,
) -> list[FScore]:
    """Average each measure over the slices and keep its best threshold."""
    pairs = pairs_with_objects(probability, truth)
    truths = [ndimage.label(true)[0] for _, true in pairs]
    best: list[FScore] = []
    for threshold in candidates(pairs, THRESHOLDS):
        shares = []
        for (predicted, _), true in zip(pairs, truths, strict=True):
            proposal = predicted > threshold
            segments = thin_borders(proposal) if thin else ndimage.label(proposal)[0]
            shares.append(_shares(segments, true))
        scores = []
        for measure in measures:
            # the mean of F1, not the F1 of the means, as the challenge's script
            mean = np.mean([measure(s) for s in shares], axis=0)
            precision, recall, f_score = mean.tolist()
            scores.append(FScore(precision, recall, f_score, threshold))
        best = [
            # on a tie the first, the lower threshold, stays
            max(pair, key=lambda score: score.f_score)
            for pair in zip(best or scores, scores, strict=True)
        ]
    return best


@dataclass(frozen=True, slots=True, eq=False)
class _Shares:
    """How the n object pixels of the truth are shared out, as fractions of n."""

    truth: NDArray[np.float64]
    segments: NDArray[np.float64]
    joint: NDArray[np.float64]
    missing: float
    n: int


def _shares(segments: Labels, truth: Labels) -> _Shares:
    """Tabulate the pixels of true objects; the others do not count."""
    table = contingency(segments, truth)[1:]
    n = int(table.sum())
    found = table[:, 1:]
    return _Shares(
        truth=table.sum(axis=1) / n,
        segments=found.sum(axis=0) / n,
        joint=found.data / n,
        missing=1 - found.sum() / n,
        n=n,
    )


def _rand(shares: _Shares) -> tuple[float, float, float]:
    """Precision, recall and F1 over pairs of pixels."""
    # missing * n singletons, each (1 / n) squared
    singles = shares.missing / shares.n
    truth = float(np.square(shares.truth).sum())
    segments = float(np.square(shares.segments).sum()) + singles
    joint = float(np.square(shares.joint).sum()) + singles
    return joint / segments, joint / truth, 2 * joint / (truth + segments)


def _info(shares: _Shares) -> tuple[float, float, float]:
    """Mutual information relative to the entropy of the truth and of the segments."""
    # missing * n singletons of probability 1 / n
    singles = shares.missing * float(np.log(shares.n))
    truth = _entropy(shares.truth)
    segments = _entropy(shares.segments) + singles
    # one object only: nothing to learn from the other image, scored as the challenge
    if truth == 0:
        return 0.0, 1.0, 0.0
    if segments == 0:
        return 1.0, 0.0, 0.0
    # rounding can take the information of independent images below 0
    information = max(0.0, truth + segments - _entropy(shares.joint) - singles)
    f_score = 2 * information / (truth + segments)
    return information / truth, information / segments, f_score


def _entropy(shares: NDArray[np.float64]) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum())
