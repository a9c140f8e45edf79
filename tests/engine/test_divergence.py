from __future__ import annotations

import pytest

from napari_unet.engine.training.divergence import SingleClassGuard, loss_trouble


def test_thirty_looks_with_one_class_and_a_standing_loss_are_too_many() -> None:
    guard = SingleClassGuard()
    answers = [guard.look(2, 1, 0.7) for _ in range(30)]
    assert answers.index(True) == 29


def test_a_single_look_that_sees_both_classes_begins_the_row_anew() -> None:
    guard = SingleClassGuard()
    for _ in range(29):
        assert not guard.look(2, 1, 0.7)
    assert not guard.look(2, 2, 0.7)
    answers = [guard.look(2, 1, 0.7) for _ in range(30)]
    assert answers.index(True) == 29


def test_a_loss_that_falls_is_left_alone_however_long_it_takes() -> None:
    guard = SingleClassGuard()
    assert not any(guard.look(3, 1, 0.7 * 0.999**k) for k in range(5000))


def test_a_loss_that_falls_too_slowly_or_grows_does_not_count_as_learning() -> None:
    slow, growing = SingleClassGuard(), SingleClassGuard()
    assert any(slow.look(2, 1, 0.7 * 0.9999**k) for k in range(400))
    assert any(growing.look(2, 1, 0.7 * 1.01**k) for k in range(400))


def test_labels_of_one_class_neither_count_nor_end_the_row() -> None:
    guard = SingleClassGuard()
    for _ in range(29):
        guard.look(2, 1, 0.7)
        assert not guard.look(1, 1, 0.7)
        assert not guard.look(1, 2, 0.7)
    assert guard.look(2, 1, 0.7)


@pytest.mark.parametrize(
    ("loss", "step", "smoothed", "lowest", "said"),
    [
        (float("nan"), 3, 0.5, 0.5, "no longer a number"),
        (float("inf"), 3, 0.5, 0.5, "no longer a number"),
        (9.0, 26, 2.6, 0.5, "grew from 0.5 to 2.6"),
        (9.0, 26, 2.5, 0.5, None),
        (9.0, 25, 2.6, 0.5, None),
        (9.0, 0, None, None, None),
    ],
)
def test_a_loss_that_is_no_number_or_has_grown_is_told(
    loss: float,
    step: int,
    smoothed: float | None,
    lowest: float | None,
    said: str | None,
) -> None:
    told = loss_trouble(loss, step, smoothed, lowest)
    assert (told is None) if said is None else (said in (told or ""))
