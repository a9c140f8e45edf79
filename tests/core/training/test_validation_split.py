"""The part of few labels that is held out: enough of each class, at the least cost."""

from __future__ import annotations

import numpy as np

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.training.validation_split import cheapest_part


def _painted(shape: tuple[int, ...] = (300, 400)) -> np.ndarray:
    """Two painted patches: a large one and, far away, a small one."""
    labels = np.full(shape, IGNORED, np.uint8)
    labels[..., 20:180, 20:220] = 0
    labels[..., 40:160, 60:180:2] = 1
    labels[..., 240:272, 340:372] = 0
    labels[..., 240:256, 340:372] = 1
    return labels


def test_the_small_patch_apart_costs_only_itself() -> None:
    found = cheapest_part([_painted()], 2, (30, 30), 200)
    assert found is not None
    number, (rows, columns) = found
    assert number == 0
    held = _painted()[rows, columns]
    assert (held == 0).sum() >= 200
    assert (held == 1).sum() >= 200
    assert rows.start >= 210
    assert columns.start >= 250


def test_what_is_lost_counts_the_margin() -> None:
    # with a margin that reaches the large patch from anywhere, too much would be lost
    assert cheapest_part([_painted()], 2, (300, 400), 200) is None


def test_a_class_with_too_few_pixels_in_any_box_is_said() -> None:
    labels = np.zeros((300, 300), np.uint8)
    labels[::40, ::40] = 1
    assert cheapest_part([labels], 2, (2, 2), 200) is None


def test_classes_that_nobody_painted_are_not_asked_for() -> None:
    assert cheapest_part([_painted()], 3, (30, 30), 200) is not None


def test_the_cheaper_of_two_fields_is_taken() -> None:
    dense = np.zeros((200, 200), np.uint8)
    dense[:, ::2] = 1
    found = cheapest_part([dense, _painted()], 2, (40, 40), 200)
    assert found is not None
    assert found[0] == 1


def test_a_volume_is_cut_in_y_and_x_only() -> None:
    found = cheapest_part([_painted((3, 300, 400))], 2, (9, 30, 30), 200)
    assert found is not None
    assert found[1][0] == slice(0, 3)


def test_nothing_painted_has_no_part() -> None:
    assert cheapest_part([np.full((64, 64), IGNORED, np.uint8)], 2, (5, 5), 200) is None
