from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from skimage import metrics as skimage

from napari_unet.core.metrics.isbi2012 import (
    isbi_pixel_error,
    isbi_rand_error,
    isbi_scores,
    thin_borders,
    v_info,
    v_rand,
)

LABELS = Path(__file__).parents[4] / "shared/data/isbi2012/train-labels.tif"

TWO = np.array([[1, 1, 0, 1, 1]])
HALF_MISSING = np.array([[1, 0, 0, 1, 1]])


def values(score):
    return score.precision, score.recall, score.f_score


def test_objects_grow_until_a_line_parts_them():
    objects = np.array([[1, 0, 0, 0, 1]] * 3, bool)
    assert thin_borders(objects).tolist() == [[1, 1, 0, 2, 2]] * 3


def test_a_gap_of_two_pixels_keeps_a_line():
    grown = thin_borders(np.array([[1, 1, 0, 0, 1, 1]] * 3, bool))
    assert ((grown == 0).sum(axis=1) == 1).all()
    assert (grown[:, :2] == 1).all()
    assert (grown[:, 4:] == 2).all()


def test_objects_that_meet_at_a_corner_are_two():
    assert thin_borders(np.eye(2, dtype=bool)).tolist() == [[1, 0], [0, 2]]


def test_lines_may_run_diagonally():
    objects = np.array([[1, 0, 0], [0, 0, 0], [0, 0, 1]], bool)
    assert thin_borders(objects).tolist() == [[1, 1, 0], [1, 0, 2], [0, 2, 2]]


def test_thinning_leaves_one_or_no_object_as_it_is():
    assert (thin_borders(np.array([[0, 1, 0]], bool)) == 1).all()
    assert (thin_borders(np.zeros((2, 2), bool)) == 0).all()


def test_missing_pixels_are_objects_of_one_pixel_in_v_rand():
    # shares of 4: truth 1/2, 1/2; segments 1/4, 1/2 and a single pixel of 1/4
    expected = (1, 0.75, 2 * 0.375 / (0.5 + 0.375))
    assert values(v_rand(HALF_MISSING, TWO, thin=False)) == pytest.approx(expected)


def test_missing_pixels_are_objects_of_one_pixel_in_v_info():
    # entropies: truth 1 bit, segments 1.5 bit, shared 1 bit
    expected = (1, 2 / 3, 2 / 2.5)
    assert values(v_info(HALF_MISSING, TWO, thin=False)) == pytest.approx(expected)


def test_merged_objects_lower_the_precision_of_v_rand():
    merged = np.ones_like(TWO)
    expected = (0.5, 1, 2 / 3)
    assert values(v_rand(merged, TWO)) == pytest.approx(expected)
    assert values(v_info(merged, TWO)) == (1, 0, 0)


def test_a_split_object_lowers_the_recall_of_v_rand():
    truth = np.array([[1, 1, 1, 1, 1]])
    # shares of 5: 2, 2 and the line of 1
    expected = (1, 9 / 25, 2 * 9 / (25 + 9))
    assert values(v_rand(TWO, truth)) == pytest.approx(expected)
    assert values(v_info(TWO, truth)) == (0, 1, 0)


def test_thick_borders_are_forgiven_by_thinning_only():
    truth = np.array([[1, 1, 1, 0, 1, 1, 1]])
    thick = np.array([[1, 1, 0, 0, 0, 1, 1]])
    assert values(v_rand(thick, truth)) == pytest.approx((1, 1, 1))
    assert values(v_info(thick, truth)) == pytest.approx((1, 1, 1))
    assert v_rand(thick, truth, thin=False).recall == pytest.approx(10 / 18)


def test_objects_on_true_membrane_do_not_count():
    # as if the prediction were the truth: the pixel between is not looked at
    lone = np.array([[1, 0, 0, 0, 1]])
    predicted = np.array([[1, 0, 1, 0, 1]])
    assert values(v_rand(predicted, lone, thin=False)) == (1, 1, 1)
    assert values(v_info(predicted, lone, thin=False)) == pytest.approx((1, 1, 1))


def test_scores_are_averaged_over_slices():
    truth = np.stack([TWO, TWO])
    prediction = np.stack([TWO, np.ones_like(TWO)])
    expected = (0.75, 1, (1 + 2 / 3) / 2)
    assert values(v_rand(prediction, truth)) == pytest.approx(expected)


def test_slices_may_differ_in_size():
    truths = [TWO, np.array([[1, 0, 1]])]
    predictions = [TWO, np.array([[1, 1, 1]])]
    expected = (1 + 2 / 3) / 2
    assert v_rand(predictions, truths).f_score == pytest.approx(expected)


def test_one_threshold_is_chosen_for_the_whole_stack():
    # slice 0 is right above 0.3 only, slice 1 up to 0.3 only
    first = np.array([[0.9, 0.9, 0.35, 0.9, 0.9]])
    second = np.array([[0.35, 0.35, 0.05, 0.35, 0.35]])
    best = v_rand(np.stack([first, second]), np.stack([TWO, TWO]))
    # up to 0.3: 2/3 and 1; above: 1 and single pixels only, 2 * 1/4 / (1/2 + 1/4)
    assert best.threshold == 0.1
    assert best.f_score == pytest.approx((2 / 3 + 1) / 2)
    alone = v_rand(first, TWO)
    assert (alone.f_score, alone.threshold) == (1, 0.4)


def test_a_probability_equal_to_the_threshold_is_border():
    exact = np.array([[0.5, 0.5, 0.3, 0.5, 0.5]], np.float32)
    assert v_rand(exact, TWO).threshold == 0.3


def test_the_highest_threshold_is_one():
    # only there are the three parted: every pixel is an object of its own
    best = v_rand(np.full((1, 5), 0.95), np.array([[1, 0, 1, 0, 1]]))
    assert best.f_score == pytest.approx(1)
    assert best.threshold == 1


def test_a_mask_is_scored_at_threshold_zero():
    for prediction in (TWO > 0, TWO, TWO.astype(np.float32)):
        assert v_info(prediction, TWO).threshold == 0


def test_pixel_error_pools_f1_over_the_stack():
    truth = np.array([[[1, 1, 1, 0]], [[1, 0, 0, 0]]])
    prediction = np.array([[[1, 1, 0, 0]], [[1, 1, 1, 0]]])
    # 3 in common, 4 true, 5 predicted
    assert isbi_pixel_error(prediction, truth).error == pytest.approx(1 - 6 / 9)
    probability = np.array([[[0.95, 0.9, 0.8, 0.1]], [[0.9, 0.7, 0.0, 0.0]]])
    best = isbi_pixel_error(probability, truth)
    assert (best.error, best.threshold) == (0, 0.7)


def test_rand_error_does_not_thin():
    best = isbi_rand_error(HALF_MISSING, TWO)
    assert best.error == pytest.approx(1 - 6 / 7)


def test_all_scores_together_equal_each_alone():
    rng = np.random.default_rng(3)
    truth = ndimage.gaussian_filter(rng.random((2, 32, 32)), (0, 2, 2)) > 0.49
    probability = np.clip(truth * 0.4 + rng.random(truth.shape) * 0.6, 0, 1)
    scores = isbi_scores(probability, truth)
    assert scores.v_rand == v_rand(probability, truth)
    assert scores.v_info == v_info(probability, truth)
    assert scores.rand_error == isbi_rand_error(probability, truth)
    assert scores.pixel_error == isbi_pixel_error(probability, truth)
    assert scores.v_rand != scores.v_info


@pytest.mark.parametrize("metric", [isbi_scores, isbi_pixel_error, v_rand, v_info])
def test_a_slice_without_objects_is_refused(metric):
    truth = np.stack([TWO, np.zeros_like(TWO)])
    with pytest.raises(ValueError, match="slice 1 has none"):
        metric(truth, truth)


def test_scores_agree_with_scikit_image_on_the_same_segments():
    rng = np.random.default_rng(4)
    smooth = ndimage.gaussian_filter(rng.random((64, 64)), 2)
    truth = smooth > 0.5
    prediction = smooth + 0.05 * rng.standard_normal(truth.shape) > 0.5
    true, segments = ndimage.label(truth)[0][truth], thin_borders(prediction)[truth]
    # scikit-image takes border pixels as one segment: number them singly
    border = segments == 0
    assert border.any()
    segments[border] = segments.max() + 1 + np.arange(border.sum())

    # it counts pairs of different pixels: with many copies of each pixel, all pairs
    copies = (np.repeat(labels, 1000) for labels in (true, segments))
    error, precision, recall = skimage.adapted_rand_error(*copies)
    found = v_rand(prediction, truth)
    assert found.f_score == pytest.approx(1 - error, rel=1e-4)
    # precision and recall are named the other way round there
    assert (found.recall, found.precision) == pytest.approx(
        (precision, recall), rel=1e-4
    )

    given_truth, given_segments = skimage.variation_of_information(true, segments)
    counts = [np.unique(labels, return_counts=True)[1] for labels in (true, segments)]
    entropy = [-(c / true.size * np.log2(c / true.size)).sum() for c in counts]
    information = v_info(prediction, truth)
    expected = 1 - given_segments / entropy[0], 1 - given_truth / entropy[1]
    assert (information.precision, information.recall) == pytest.approx(expected)
    assert max(found.precision, found.recall, *expected) < 0.99
    mutual = entropy[0] - given_segments
    assert information.f_score == pytest.approx(2 * mutual / sum(entropy))


@pytest.mark.skipif(not LABELS.exists(), reason="needs the ISBI 2012 labels")
def test_the_truth_scores_perfectly_against_itself():
    import tifffile

    truth = tifffile.imread(LABELS)[:2] > 0
    scores = isbi_scores(truth, truth)
    assert scores.pixel_error.error == 0
    assert scores.rand_error.error == pytest.approx(0)
    assert scores.warping_error.error == 0
    assert scores.v_rand.f_score == pytest.approx(1)
    assert scores.v_info.f_score == pytest.approx(1)
