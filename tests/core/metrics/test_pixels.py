from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn

from napari_unet.core.metrics.pixels import dice, iou, pixel_error, pixel_error_at

TRUTH = np.array([[1, 1, 0, 0], [2, 2, 2, 0]])
PREDICTION = np.array([[1, 0, 0, 0], [2, 2, 1, 1]])


def test_iou_is_the_shared_part_of_all_object_pixels():
    assert iou(PREDICTION, TRUTH) == 4 / 6


def test_iou_of_one_class():
    assert iou(PREDICTION, TRUTH, value=1) == 1 / 4
    assert iou(PREDICTION, TRUTH, value=2) == 2 / 3


def test_dice_counts_the_shared_pixels_twice():
    assert dice(PREDICTION, TRUTH) == 8 / 10
    assert dice(PREDICTION, TRUTH, value=1) == 2 / 5


def test_nothing_in_both_is_perfect_and_in_one_is_zero():
    empty, full = np.zeros((2, 2), bool), np.ones((2, 2), bool)
    assert (iou(empty, empty), dice(empty, empty)) == (1, 1)
    assert (iou(empty, full), dice(full, empty)) == (0, 0)


def test_counts_are_pooled_over_images_of_several_sizes():
    predictions = [np.array([[True]]), np.array([[True, False, False]])]
    truths = [np.array([[True]]), np.array([[True, True, True]])]
    assert iou(predictions, truths) == 2 / 4
    assert dice(predictions, truths) == 4 / 6
    assert pixel_error(predictions, truths) == 2 / 4


def test_pixel_error_is_the_share_of_wrong_classes():
    assert pixel_error(PREDICTION, TRUTH) == 3 / 8


def test_a_pixel_at_the_threshold_is_not_object():
    probability = np.array([[0.5, 0.6, 0.4, 0.9]], np.float32)
    truth = np.array([[255, 255, 0, 0]])
    assert pixel_error_at(probability, truth) == 2 / 4
    assert pixel_error_at(probability, truth, threshold=0.45) == 1 / 4


def test_scores_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 3, (2, 4, 20, 20))
    flat = truth.ravel(), prediction.ravel()
    for value in range(3):
        expected = sklearn.jaccard_score(*flat, labels=[value], average="macro")
        assert iou(prediction, truth, value) == pytest.approx(expected)
        expected = sklearn.f1_score(*flat, labels=[value], average="macro")
        assert dice(prediction, truth, value) == pytest.approx(expected)
    expected = sklearn.zero_one_loss(*flat)
    assert pixel_error(prediction, truth) == pytest.approx(expected)
