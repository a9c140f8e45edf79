from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.metrics.pairs import label_pairs, probability_pairs


def test_a_stack_is_one_image_for_each_slice():
    stack = np.arange(12).reshape(3, 2, 2)
    pairs = label_pairs(stack, stack)
    assert [predicted.tolist() for predicted, _ in pairs] == stack.tolist()


def test_an_image_in_a_list_stays_whole():
    volume = np.ones((3, 2, 2), int)
    assert [true.shape for _, true in label_pairs([volume], [volume])] == [(3, 2, 2)]


def test_probabilities_are_compared_slice_by_slice_also_in_a_list():
    volume, plane = np.zeros((3, 2, 2)), np.ones((4, 5))
    pairs = probability_pairs([volume, plane], [volume > 0, plane > 0])
    assert [true.shape for _, true in pairs] == [(2, 2), (2, 2), (2, 2), (4, 5)]


def test_every_value_above_zero_is_object():
    ((_, true),) = probability_pairs(np.zeros((1, 3)), np.array([[0, 1, 255]]))
    assert true.tolist() == [[False, True, True]]


def test_shapes_must_be_equal():
    with pytest.raises(ValueError, match=r"image 1: .*\(2, 3\).*\(3, 2\)"):
        label_pairs(
            [np.zeros((1, 1), int), np.zeros((2, 3), int)],
            [np.zeros((1, 1), int), np.zeros((3, 2), int)],
        )


def test_every_truth_needs_a_prediction():
    with pytest.raises(ValueError, match="found 1 predictions for 2 truths"):
        label_pairs(np.zeros((1, 2, 2), int), np.zeros((2, 2, 2), int))


def test_no_image_at_all_is_refused():
    with pytest.raises(ValueError, match="found none"):
        label_pairs([], [])


@pytest.mark.parametrize("shape", [(4,), (0, 4)])
def test_an_image_needs_pixels_in_two_axes(shape):
    with pytest.raises(ValueError, match="image 0: an image needs y and x"):
        label_pairs(np.zeros(shape, int), np.zeros(shape, int))


def test_labels_are_whole_numbers_from_zero():
    good = np.zeros((2, 2), int)
    with pytest.raises(ValueError, match=r"prediction must hold booleans .* float64"):
        label_pairs(good / 2, good)
    with pytest.raises(ValueError, match=r"truth must hold labels of 0 or more.* -1"):
        label_pairs(good, good - 1)


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.1, 255.0])
def test_probabilities_lie_within_zero_and_one(wrong):
    with pytest.raises(ValueError, match=f"within 0 to 1, found .*{wrong}"):
        probability_pairs(np.array([[wrong]]), np.array([[1]]))
