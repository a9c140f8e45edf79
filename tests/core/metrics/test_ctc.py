from __future__ import annotations

import numpy as np
import pytest
import tifffile
from ctc_metrics.metrics.technical.det import det as reference_det
from ctc_metrics.metrics.technical.seg import seg as reference_seg
from ctc_metrics.utils import representations
from scipy import ndimage

from napari_unet.core.metrics.ctc import det, seg

TRUTH = np.array(
    [
        [1, 1, 1, 1, 0, 2, 2],
        [0, 0, 0, 0, 0, 2, 2],
    ]
)


def test_seg_is_the_mean_iou_of_matched_objects():
    prediction = np.array(
        [
            [4, 4, 4, 0, 0, 8, 8],
            [4, 0, 0, 0, 0, 8, 8],
        ]
    )
    assert seg(prediction, TRUTH) == pytest.approx((3 / 5 + 1) / 2)


def test_half_an_object_is_not_a_match():
    half = np.array([[4, 4, 0, 0, 0, 8, 8], [0, 0, 0, 0, 0, 8, 8]])
    assert seg(half, TRUTH) == 1 / 2
    assert det(half, TRUTH) == pytest.approx(1 - (10 + 1) / 20)


def test_spurious_objects_cost_det_but_not_seg():
    spurious = TRUTH.copy()
    spurious[1, 0], spurious[1, 2] = 3, 4
    assert seg(spurious, TRUTH) == 1
    assert det(spurious, TRUTH) == pytest.approx(1 - 2 / 20)


def test_one_prediction_over_two_objects_costs_a_split():
    merged = np.ones_like(TRUTH)
    assert det(merged, TRUTH) == pytest.approx(1 - 5 / 20)
    assert seg(merged, TRUTH) == pytest.approx(4 / 14)


def test_det_does_not_fall_below_zero():
    truth = np.array([[1, 0, 0, 0] * 6])
    prediction = np.arange(24).reshape(1, 24)
    assert det(prediction, truth) == 0


def test_det_of_nothing_predicted_is_zero():
    assert det(np.zeros_like(TRUTH), TRUTH) == 0


def test_objects_of_all_frames_weigh_the_same():
    one, empty = np.array([[1, 0]]), np.array([[0, 0]])
    many = np.array([[1, 2, 3]])
    # 3 of 4 objects found, frames of several sizes; an empty frame adds nothing
    predictions = [empty, many, empty]
    assert seg(predictions, [one, many, empty]) == 3 / 4
    assert det(predictions, [one, many, empty]) == pytest.approx(1 - 10 / 40)


def test_frames_of_a_stack_are_matched_one_by_one():
    truth = np.array([[[1, 1]], [[1, 1]]])
    prediction = np.array([[[5, 5]], [[0, 0]]])
    assert seg(prediction, truth) == 1 / 2
    # as one volume: half of the one object is not a match
    assert seg([prediction], [truth]) == 0


def test_the_border_is_outside_the_field_of_interest():
    truth = np.zeros((5, 6), int)
    truth[1, 1] = 1
    # one in the last row or column of each side
    truth[0, 3], truth[3, 5], truth[4, 2], truth[2, 0] = 2, 3, 4, 5
    prediction = np.where(truth == 1, 1, 0)
    assert seg(prediction, truth, border=1) == 1
    assert det(prediction, truth, border=1) == 1
    assert seg(prediction, truth) == 1 / 5
    # a volume keeps all its slices
    assert seg([prediction[None]], [truth[None]], border=1) == 1


def test_a_border_without_inside_is_refused():
    with pytest.raises(ValueError, match=r"border of 1 pixels .* \(2, 7\)"):
        seg(TRUTH, TRUTH, border=1)
    with pytest.raises(ValueError, match="0 pixels or more, found -1"):
        det(TRUTH, TRUTH, border=-1)


@pytest.mark.parametrize("metric", [seg, det])
def test_a_truth_without_objects_is_refused(metric):
    with pytest.raises(ValueError, match="at least one object"):
        metric(TRUTH, np.zeros_like(TRUTH))


def test_both_agree_with_py_ctcmetrics(tmp_path):
    rng = np.random.default_rng(1)
    truths, predictions, matched = [], [], []
    for t in range(4):
        smooth = ndimage.gaussian_filter(rng.random((64, 64)), 2)
        bent = smooth + 0.02 * rng.standard_normal((64, 64))
        truths.append(ndimage.label(smooth > 0.52)[0].astype(np.uint16))
        predictions.append(ndimage.label(bent > 0.51)[0].astype(np.uint16))
        paths = tmp_path / f"true{t}.tif", tmp_path / f"predicted{t}.tif"
        tifffile.imwrite(paths[0], truths[t])
        tifffile.imwrite(paths[1], predictions[t])
        matched.append(representations.match(str(paths[0]), str(paths[1])))
    refs, comps, mapped_refs, mapped_comps, ious = map(list, zip(*matched, strict=True))
    counts = representations.count_acyclic_graph_correction_operations(
        np.zeros((0, 4)), np.zeros((0, 4)), refs, comps, mapped_refs, mapped_comps
    )
    assert counts["NS"] > 0
    assert counts["FN"] > 0
    assert counts["FP"] > 0
    assert seg(predictions, truths) == pytest.approx(reference_seg(refs, ious))
    assert det(predictions, truths) == pytest.approx(reference_det(**counts))
