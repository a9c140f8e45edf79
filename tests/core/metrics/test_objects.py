from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from stardist.matching import matching_dataset

from napari_unet.core.metrics.objects import (
    COCO_THRESHOLDS,
    average_precision,
    match,
    mean_average_precision,
    object_scores,
)

# IoU: 1 with 10 is 3/5, 2 with 20 is 1, 3 is missed, 30 is spurious
TRUTH = np.array([[1, 1, 1, 1, 0, 2, 2, 0, 3, 0]])
PREDICTION = np.array([[0, 10, 10, 10, 10, 20, 20, 0, 0, 30]])


def test_objects_are_matched_by_their_labels():
    found = match(PREDICTION, TRUTH)
    pairs = zip(found.truth, found.prediction, found.iou, strict=True)
    assert sorted(pairs) == [(1, 10, 3 / 5), (2, 20, 1)]
    assert (found.truth_count, found.prediction_count) == (3, 3)


def test_scores_follow_from_the_counts():
    (scores,) = object_scores(PREDICTION, TRUTH)
    assert scores.true_positives == 2
    assert scores.false_positives == 1
    assert scores.false_negatives == 1
    assert scores.average_precision == 2 / 4
    assert scores.precision == scores.recall == scores.f1 == 2 / 3
    assert scores.mean_matched_score == pytest.approx(0.8)
    assert scores.panoptic_quality == pytest.approx(1.6 / 3)


def test_precision_is_of_predictions_and_recall_of_true_objects():
    truth = np.array([[1, 0, 2, 0, 3, 0, 4]])
    (scores,) = object_scores(np.array([[1, 0, 0, 0, 0, 9, 0]]), truth)
    assert (scores.precision, scores.recall) == (1 / 2, 1 / 4)
    assert scores.f1 == 2 / 6


def test_an_iou_equal_to_the_threshold_matches():
    scores = average_precision(PREDICTION, TRUTH, (0.6, 0.61))
    assert scores.tolist() == [2 / 4, 1 / 5]


def test_counts_are_pooled_over_images():
    truths = [TRUTH, np.array([[1, 2, 3]])]
    predictions = [PREDICTION, np.array([[1, 2, 3]])]
    assert average_precision(predictions, truths, (0.5,)).tolist() == [5 / 7]


def test_mean_average_precision_averages_ten_thresholds():
    # the IoU of 3/5 counts at 0.5, 0.55 and 0.6
    expected = (3 * 2 / 4 + 7 * 1 / 5) / 10
    assert mean_average_precision(PREDICTION, TRUTH) == pytest.approx(expected)
    assert COCO_THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def test_two_halves_of_one_object_match_once():
    assert match(np.array([[1, 2]]), np.array([[1, 1]])).truth.tolist() == [1]


def test_more_matches_come_before_better_ones():
    # truth 1 overlaps 1 (IoU 7/12) and 2 (2/10), truth 2 overlaps 1 only (2/12)
    truth = np.array([[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]])
    prediction = np.array([[2, 2, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]])
    found = match(prediction, truth, 0.1)
    pairs = zip(found.truth, found.prediction, found.iou, strict=True)
    assert sorted(pairs) == [(1, 2, 2 / 10), (2, 1, 2 / 12)]


def test_among_equally_many_matches_the_largest_overlap_wins():
    truth = np.array([[1, 1, 1, 1, 1]])
    found = match(np.array([[1, 1, 2, 2, 2]]), truth, 0.1)
    assert found.prediction.tolist() == [2]


def test_separate_conflicts_are_solved_separately():
    truth = np.repeat(np.arange(1, 41), 2)[None]
    prediction = np.arange(1, 81)[None]
    found = match(prediction, truth, 0.5)
    assert found.truth.tolist() == list(range(1, 41))
    assert found.truth_count == 40


def test_nothing_to_match_scores_zero():
    empty = np.zeros((2, 2), int)
    (scores,) = object_scores(empty, empty)
    assert scores.average_precision == scores.f1 == scores.panoptic_quality == 0
    assert match(empty, empty).iou.size == 0


def test_a_volume_in_a_list_has_objects_through_its_slices():
    truth = np.ones((3, 2, 2), int)
    assert object_scores([truth], [truth])[0].true_positives == 1
    assert object_scores(truth, truth)[0].true_positives == 3


@pytest.mark.parametrize("threshold", [0, -0.5, 1.1, float("nan")])
def test_a_threshold_is_above_zero_and_at_most_one(threshold):
    with pytest.raises(ValueError, match="IoU threshold must be above 0"):
        match(TRUTH, TRUTH, threshold)
    with pytest.raises(ValueError, match="IoU threshold must be above 0"):
        average_precision(TRUTH, TRUTH, (threshold,))


def test_shapes_must_be_equal():
    with pytest.raises(ValueError, match="must be equal"):
        match(TRUTH, TRUTH[:, 1:])


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.75, 0.9])
def test_scores_agree_with_stardist(threshold):
    rng = np.random.default_rng(2)
    truths, predictions = [], []
    for _ in range(3):
        smooth = ndimage.gaussian_filter(rng.random((64, 64)), 2)
        bent = smooth + 0.01 * rng.standard_normal((64, 64))
        truths.append(ndimage.label(smooth > 0.51)[0])
        predictions.append(ndimage.label(bent > 0.5)[0])
    expected = matching_dataset(
        truths, predictions, thresh=threshold, show_progress=False
    )
    (scores,) = object_scores(predictions, truths, (threshold,))
    assert scores.true_positives == expected.tp
    assert scores.false_positives == expected.fp
    assert scores.false_negatives == expected.fn
    assert scores.average_precision == pytest.approx(expected.accuracy)
    assert scores.f1 == pytest.approx(expected.f1)
    matched = pytest.approx(expected.mean_matched_score)
    assert scores.mean_matched_score == matched
    assert scores.panoptic_quality == pytest.approx(expected.panoptic_quality)


def test_small_objects_count_neither_for_nor_against():
    # sizes: true 4, 2, 1, predicted 4, 2, 1
    counts = {
        size: object_scores(PREDICTION, TRUTH, ignore_below=size)[0]
        for size in (1, 2, 3, 5)
    }
    found = {
        size: (one.true_positives, one.false_positives, one.false_negatives)
        for size, one in counts.items()
    }
    assert found == {1: (2, 1, 1), 2: (2, 0, 0), 3: (1, 0, 0), 5: (0, 0, 0)}
    assert counts[3].total_iou == 3 / 5


def test_a_small_prediction_of_a_large_object_counts_and_a_large_one_of_a_small_not():
    image, mask = np.array([[7, 7, 7, 0]]), np.array([[1, 1, 1, 1]])
    for prediction, truth, count in ((image, mask, (1, 0, 0)), (mask, image, (0,) * 3)):
        (one,) = object_scores(prediction, truth, ignore_below=4)
        assert (one.true_positives, one.false_positives, one.false_negatives) == count
    # at 0.8 they do not match: the large one is missed, or wrong
    assert average_precision(image, mask, (0.8,), 4) == 0
    (one,) = object_scores(mask, image, (0.8,), 4)
    assert (one.false_positives, one.false_negatives) == (1, 0)
