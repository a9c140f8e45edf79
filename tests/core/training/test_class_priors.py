from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from napari_unet.core.training.class_priors import correction, estimate_shares


def posteriors(
    true: tuple[float, ...], learnt: tuple[float, ...], apart: float = 2.0
) -> np.ndarray:
    """What Bayes' rule says with the learnt shares of values drawn by the true ones."""
    rng = np.random.default_rng(0)
    drawn = rng.choice(len(true), 20_000, p=true)
    values = drawn * apart + rng.normal(size=len(drawn))
    likelihood = np.exp(-((values - apart * np.arange(len(true))[:, None]) ** 2) / 2)
    joint = likelihood * np.array(learnt)[:, None]
    return joint / joint.sum(axis=0)


@pytest.mark.parametrize(
    ("true", "learnt"),
    [
        ((0.8, 0.2), (0.5, 0.5)),
        ((0.25, 0.75), (0.5, 0.5)),
        ((0.6, 0.3, 0.1), (0.2, 0.4, 0.4)),
        ((0.9, 0.1), (0.9, 0.1)),
    ],
)
def test_the_true_shares_are_found_whatever_was_learnt(
    true: tuple[float, ...], learnt: tuple[float, ...]
) -> None:
    found = estimate_shares(
        posteriors(true, learnt), np.array(learnt), np.zeros(len(true), int)
    )
    assert_allclose(found, true, atol=0.015)
    assert found.sum() == pytest.approx(1)


def test_labelled_pixels_count_as_what_they_are() -> None:
    learnt = np.array([0.5, 0.5])
    unknown = posteriors((0.8, 0.2), (0.5, 0.5))
    found = estimate_shares(unknown, learnt, np.array([0, unknown.shape[1]]))
    assert_allclose(found, [0.4, 0.6], atol=0.03)
    everything = estimate_shares(np.zeros((2, 0)), learnt, np.array([30, 70]))
    assert_allclose(everything, [0.3, 0.7])


def test_corrected_scores_are_those_of_the_right_shares() -> None:
    true, learnt = (0.3, 0.7), (0.5, 0.5)
    added = correction(np.array(true), np.array(learnt))
    scores = np.log(posteriors(true, learnt)) + added[:, None]
    corrected = np.exp(scores) / np.exp(scores).sum(axis=0)
    assert_allclose(corrected, posteriors(true, true), rtol=1e-9)


def test_what_was_learnt_is_not_turned_upside_down() -> None:
    assert_allclose(correction(np.array([0.3, 0.7]), np.array([0.3, 0.7])), 0)
    added = correction(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    assert added[0] - added[1] == pytest.approx(np.log(10))


@pytest.mark.parametrize(
    "unknown",
    [
        # sure of a third class, which nobody painted, everywhere or here and there
        [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]],
        [[0.0, 0.9, 0.1, 0.0], [0.0, 0.1, 0.9, 0.0]],
        [[0.0, np.nan, 0.5, 0.4], [0.0, 0.3, 0.5, 0.4]],
        [[1e-320, 1.0, 0.0, 1e-38], [0.0, 0.0, 1.0, 1e-38]],
    ],
)
@pytest.mark.parametrize("labelled", [(0, 0), (0, 7), (3, 3)])
def test_where_the_network_is_sure_of_a_class_nobody_painted_nothing_is_told(
    unknown: list[list[float]], labelled: tuple[int, int]
) -> None:
    learnt = np.array([0.5, 0.5])
    found = estimate_shares(np.array(unknown), learnt, np.array(labelled))
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(1)
    assert np.isfinite(correction(found, learnt)).all()


def test_the_pixels_of_another_class_change_no_share() -> None:
    learnt = np.array([0.5, 0.5])
    unknown = posteriors((0.8, 0.2), (0.5, 0.5))
    more = np.concatenate([unknown, np.zeros((2, 5000))], axis=1)
    nothing = np.zeros(2, int)
    assert_allclose(
        estimate_shares(more, learnt, nothing),
        estimate_shares(unknown, learnt, nothing),
    )
