from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.metrics.adapted_rand import adapted_rand_error

TWO = np.array([[1, 1, 0, 1, 1]])


def test_merged_objects_share_pairs_that_should_be_apart():
    # of 12 ordered pairs predicted together, 4 are; all 4 true ones are found
    merged = np.ones(TWO.shape)
    assert adapted_rand_error(merged, TWO).error == pytest.approx(1 - 4 / 8)


def test_missing_pixels_are_one_segment():
    # pixels 1 and 4 are together as membrane, no true pair is
    missing = np.array([[1.0, 0, 0, 1, 0]])
    assert adapted_rand_error(missing, TWO).error == 1


def test_objects_that_meet_at_a_corner_are_two():
    truth = np.array([[1, 1, 0, 0], [0, 0, 1, 1]])
    assert adapted_rand_error(truth.astype(float), truth).error == 0
    merged = np.ones(truth.shape)
    assert adapted_rand_error(merged, truth).error == pytest.approx(1 - 4 / 8)


def test_one_threshold_from_0_3_to_0_9_serves_the_stack():
    right_above_half = np.where(TWO, 0.95, 0.55)
    right_above_085 = np.where(TWO, 0.95, 0.85)
    truth = np.stack([TWO, TWO])
    best = adapted_rand_error(np.stack([right_above_half, right_above_085]), truth)
    assert (best.error, best.threshold) == (0, 0.9)
    # what only 0.2 parts stays merged, or is all gone
    low = np.where(TWO, 0.3, 0.15)
    assert adapted_rand_error(low, TWO).error == pytest.approx(1 - 4 / 8)


def test_the_error_is_a_mean_over_slices():
    truth = np.stack([TWO, TWO])
    prediction = np.stack([TWO, np.ones_like(TWO)])
    assert adapted_rand_error(prediction, truth).error == pytest.approx(1 / 4)


def test_single_pixels_have_no_pair_to_get_wrong():
    truth = np.array([[1]])
    assert adapted_rand_error(truth, truth).error == 0


def test_a_slice_without_objects_is_refused():
    truth = np.stack([TWO, np.zeros_like(TWO)])
    with pytest.raises(ValueError, match="slice 1 has none"):
        adapted_rand_error(truth, truth)
