from __future__ import annotations

from itertools import pairwise

import pytest

from napari_unet.core.events import Judging, StepDone, TrainingStarted
from napari_unet.session.training import run_progress
from napari_unet.session.training.run_progress import (
    MOST_POINTS,
    LearningCurve,
    RunProgress,
)


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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(run_progress, "monotonic", lambda: now[0])
    return now


def test_the_time_that_is_left_goes_on_between_steps(clock: list[float]) -> None:
    progress = RunProgress()
    assert progress.left() is None
    progress.add(TrainingStarted(0, "cpu", "fp32", ""))
    progress.add(StepDone(1, 0.5, 0.1, 30.0))
    assert progress.left() == 30
    clock[0] += 8
    assert progress.left() == 22
    assert progress.slowness() == ""
    # a number that stands still would be wrong
    clock[0] += 8
    assert progress.left() is None
    assert progress.slowness() == "no step for 16 s"
    progress.add(Judging(1))
    assert progress.left() is None


def test_few_steps_in_a_minute_are_told(clock: list[float]) -> None:
    progress = RunProgress()
    progress.add(TrainingStarted(0, "cpu", "fp32", ""))
    for step in range(12):
        clock[0] += 5
        progress.add(StepDone(step, 0.5, 0.1, 30.0))
    assert progress.slowness() == "only 12 steps in a minute"
    for step in range(100):
        clock[0] += 0.5
        progress.add(StepDone(step, 0.5, 0.1, 30.0))
    assert progress.slowness() == ""
