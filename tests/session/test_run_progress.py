from __future__ import annotations

from itertools import pairwise

import pytest

from napari_unet.session.training.run_progress import MOST_POINTS, LearningCurve


def test_the_loss_is_smoothed_without_a_pull_to_zero() -> None:
    curve = LearningCurve()
    assert curve.loss is None
    curve.add(1, 0.5, 2.0)
    assert curve.loss == pytest.approx(2.0)
    curve.add(2, 1.0, 1.0)
    # weights 0.9 * 0.1 and 0.1, over their sum
    assert curve.loss == pytest.approx((0.09 * 2 + 0.1 * 1) / 0.19)
    assert curve.points[0] == (1, 0.5, pytest.approx(2.0))


def test_a_long_run_is_thinned_out_evenly() -> None:
    curve = LearningCurve()
    for step in range(1, 10_001):
        curve.add(step, step / 10, 1.0)
    steps = [point[0] for point in curve.points]
    assert MOST_POINTS / 2 <= len(steps) <= MOST_POINTS
    assert steps[0] == 1
    assert {b - a for a, b in pairwise(steps)} == {8}
    assert steps[-1] > 9_990


def test_scores_are_kept_in_order() -> None:
    curve = LearningCurve()
    curve.add_score(10, 0.5, 0.4)
    curve.add_score(20, 0.6, 0.3)
    assert curve.scores == [(10, 0.5, 0.4), (20, 0.6, 0.3)]
