"""Boxes: grown, joined, shifted, found; and where a field is in an array."""

from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.geometry import boxes

BOX = (slice(2, 5), slice(10, 12))


def test_a_box_knows_its_shape() -> None:
    assert boxes.shape_of(BOX) == (3, 2)


def test_the_centre_of_a_box_may_lie_between_pixels() -> None:
    assert boxes.centre((slice(2, 3), slice(0, 30))) == (2.5, 15.0)


def test_the_full_box_holds_all_pixels() -> None:
    assert boxes.full_box((3, 2)) == (slice(0, 3), slice(0, 2))


@pytest.mark.parametrize(
    ("margins", "limits", "expected"),
    [
        (1, (20, 20), (slice(1, 6), slice(9, 13))),
        (4, (20, 20), (slice(0, 9), slice(6, 16))),
        ((0, 9), (20, 13), (slice(2, 5), slice(1, 13))),
        (3, (slice(1, 6), slice(8, 40)), (slice(1, 6), slice(8, 15))),
    ],
)
def test_a_box_grows_as_far_as_it_may(
    margins: int | tuple[int, int],
    limits: tuple[int, int] | boxes.Box,
    expected: boxes.Box,
) -> None:
    assert boxes.grown(BOX, margins, limits) == expected


def test_the_union_holds_all_boxes() -> None:
    other = (slice(4, 9), slice(0, 3))
    assert boxes.union(BOX, other) == (slice(2, 9), slice(0, 12))
    assert boxes.union(BOX) == BOX


def test_a_box_is_counted_from_a_window() -> None:
    assert boxes.within(BOX, (slice(1, 9), slice(10, 30))) == (slice(1, 4), slice(0, 2))
    # what lies before the window is cut off
    assert boxes.within(BOX, (slice(4, 9), slice(20, 30))) == (slice(0, 1), slice(0, 0))


def test_the_box_around_a_mask() -> None:
    mask = np.zeros((3, 6, 7), bool)
    assert boxes.around(mask) is None
    mask[1, 2, 3] = mask[2, 5, 3] = True
    assert boxes.around(mask) == (slice(1, 3), slice(2, 6), slice(3, 4))


@pytest.mark.parametrize(
    ("axes", "z", "box", "expected"),
    [
        ("yx", 0, BOX, BOX),
        ("tzyx", 4, BOX, (7, 4, *BOX)),
        ("tczyx", 4, None, (7, slice(None), 4, slice(None), slice(None))),
        ("tzyx", None, (slice(0, 2), *BOX), (7, slice(0, 2), *BOX)),
        ("zyx", None, None, (slice(None),) * 3),
        # a single plane as a volume: its axis z is not in the array
        ("cyx", None, (slice(0, 1), *BOX), (slice(None), *BOX)),
    ],
)
def test_where_a_field_is_in_an_array(
    axes: str,
    z: int | None,
    box: boxes.Box | None,
    expected: tuple[int | slice, ...],
) -> None:
    assert boxes.field_index(axes, 7, z, box) == expected


def test_axes_that_are_not_there_have_size_one() -> None:
    sizes = boxes.axis_sizes("tyx", (3, 40, 50))
    assert (sizes["t"], sizes["z"], sizes["y"], sizes["x"]) == (3, 1, 40, 50)
    assert dict(sizes) == {"t": 3, "y": 40, "x": 50}
