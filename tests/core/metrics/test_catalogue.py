from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.metrics import METRICS

TRUTH = np.array([[1, 1, 0, 2, 2], [1, 1, 0, 2, 2]])


def test_each_metric_says_what_prediction_it_wants():
    assert {name: metric.wants for name, metric in METRICS.items()} == {
        "iou": "classes",
        "dice": "classes",
        "pixel_error@0.5": "probability",
        "adapted_rand_error": "probability",
        "isbi2012": "probability",
        "seg": "instances",
        "det": "instances",
        "ap": "instances",
    }


def test_a_perfect_prediction_scores_one_or_no_error():
    predictions = {
        "instances": TRUTH,
        "classes": TRUTH,
        "probability": (TRUTH > 0).astype(np.float32),
    }
    results = {}
    for metric in METRICS.values():
        results |= metric.measure([predictions[metric.wants]] * 2, [TRUTH] * 2)
    for name, value in results.items():
        assert type(value) is float, name
        if "threshold" not in name:
            assert value == pytest.approx(0 if "error" in name else 1), name


def test_masks_are_compared_whatever_their_value():
    mask = TRUTH > 0
    half = np.where(TRUTH == 1, 255, 0).astype(np.uint8)
    assert METRICS["iou"].measure([mask], [half]) == {"iou": 1 / 2}
    assert METRICS["dice"].measure([mask], [half]) == {"dice": 2 / 3}


def test_several_classes_give_each_and_their_mean():
    prediction = np.array([[1, 1, 0, 2, 2], [1, 1, 0, 3, 3]])
    assert METRICS["iou"].measure([prediction], [TRUTH]) == {
        "iou": (1 + 1 / 2 + 0) / 3,
        "iou_class_1": 1,
        "iou_class_2": 1 / 2,
        "iou_class_3": 0,
    }


def test_each_metric_reports_these_values():
    probability, truth = [(TRUTH > 0).astype(np.float32)], [TRUTH]
    assert set(METRICS["isbi2012"].measure(probability, truth)) == {
        "isbi2012_pixel_error",
        "isbi2012_rand_error",
        "isbi2012_warping_error",
        "isbi2012_v_rand",
        "isbi2012_v_rand_precision",
        "isbi2012_v_rand_recall",
        "isbi2012_v_rand_threshold",
        "isbi2012_v_info",
        "isbi2012_v_info_precision",
        "isbi2012_v_info_recall",
        "isbi2012_v_info_threshold",
    }
    prediction = [np.array([[1, 1, 0, 0, 2], [1, 1, 0, 0, 0]])]
    found = METRICS["ap"].measure(prediction, truth)
    assert found == {
        "ap@0.5": 1 / 3,
        "ap@0.75": 1 / 3,
        "ap@0.9": 1 / 3,
        "ap@0.5:0.95": pytest.approx(1 / 3),
        "precision@0.5": 1 / 2,
        "recall@0.5": 1 / 2,
        "f1@0.5": 1 / 2,
        "mean_matched_score@0.5": 1,
        "panoptic_quality@0.5": 1 / 2,
    }
    assert METRICS["seg"].measure(prediction, truth) == {"seg": 1 / 2}
    assert METRICS["det"].measure(prediction, truth) == {"det": pytest.approx(0.45)}
