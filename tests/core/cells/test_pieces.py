"""Pieces of regions that go, and which rule says so."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.cells.class_map import class_map
from napari_unet.core.cells.pieces import choose_largest, tidy
from napari_unet.core.images.image import Image
from napari_unet.core.settings import Segmentation

ALL = Segmentation()


def classes(*rows: str) -> np.ndarray:
    return np.array([list(row) for row in rows]).astype(np.uint8)


def probabilities(of: np.ndarray, count: int = 3) -> np.ndarray:
    return np.stack([of == k for k in range(count)]).astype(np.float32)


MAP = classes(
    "1110002",
    "1110000",
    "0000011",
    "2220011",
    "2120000",
)


def test_small_pieces_become_what_they_border_on_most() -> None:
    found = tidy(MAP, ALL.replace(smallest_piece=4), (1, 2))
    assert np.array_equal(
        found,
        classes(
            "1110000",  # the 2 in the corner
            "1110000",
            "0000011",
            "2220011",
            "2220000",  # the 1 has three borders with 2, and none with 0
        ),
    )


def test_a_piece_of_just_the_smallest_size_stays() -> None:
    assert np.array_equal(tidy(MAP, ALL.replace(smallest_piece=1), (1, 2)), MAP)
    assert (tidy(MAP, ALL.replace(smallest_piece=5), (1, 2)) == 1).sum() == 6
    assert (tidy(MAP, ALL.replace(smallest_piece=6), (1, 2)) == 1).sum() == 6
    assert (tidy(MAP, ALL.replace(smallest_piece=7), (1, 2)) == 1).sum() == 0


def test_only_the_largest_piece_of_a_class_is_kept() -> None:
    found = tidy(MAP, ALL.replace(largest_only=(1,)), (1, 2))
    assert np.array_equal(
        found,
        classes("1110002", "1110000", "0000000", "2220000", "2220000"),
    )
    # of two that are as large the first
    equal = classes("11011")
    assert np.array_equal(
        tidy(equal, ALL.replace(largest_only=(1,)), (1,)), classes("11000")
    )


def test_pieces_become_no_cells() -> None:
    # class 2 are cells: they neither go nor grow
    found = tidy(classes("222", "212", "222"), ALL.replace(smallest_piece=5), (1,))
    assert np.array_equal(found, classes("222", "202", "222"))


def test_what_fills_all_stays() -> None:
    every = np.ones((2, 2), np.uint8)
    assert np.array_equal(tidy(every, ALL.replace(smallest_piece=9), (1,)), every)


@pytest.mark.parametrize("ndim", [2, 3])
def test_pieces_are_those_of_a_slice_or_of_a_volume(ndim: int) -> None:
    stack = np.zeros((2, 2, 3, 4), np.uint8)  # t, z, y, x
    stack[0, 0, 0, :2] = stack[0, 1, 0, 0] = 1
    stack[0, 1, 2, 2:] = 1
    stack[1, 0] = 1
    said = Image(np.moveaxis(probabilities(stack, 2), 0, 1), "tczyx")
    only = ALL.replace(largest_only=(1,))
    found = class_map(said, Image(stack, "tzyx"), ndim, only, ())
    wanted = stack.copy()
    if ndim == 2:
        wanted[0, 1, 0, 0] = 0  # one pixel in its slice, and there are two
    else:
        wanted[0, 1, 2, 2:] = 0  # two in the volume, and there are three
    assert np.array_equal(found, wanted)


def test_without_a_wish_classes_are_the_most_probable() -> None:
    images = Image(probabilities(MAP), "cyx"), Image(MAP, "yx")
    assert np.array_equal(class_map(*images, 2, ALL, ()), MAP)
    # cells have no pieces
    asked = ALL.replace(smallest_piece=9, largest_only=(1, 2))
    assert np.array_equal(class_map(*images, 2, asked, (1, 2)), MAP)


@pytest.mark.parametrize("seed", range(10))
def test_what_is_tidied_has_no_small_pieces_of_what_it_began_with(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 3, (12, 14)).astype(np.uint8)
    once = tidy(found, ALL.replace(largest_only=(1, 2)), (1, 2))
    # class 2 comes last: what became 1 before may be a piece of its own
    assert label(once == 2)[1] <= 1
    kept = found == once
    assert (once[~kept] != found[~kept]).all()
    assert np.isin(found[~kept], (1, 2)).all()


def test_the_largest_piece_alone_is_kept_where_that_is_better() -> None:
    truth = classes("11100", "11100", "00000", "00022")
    seen = classes("11101", "11100", "00000", "22022")  # a speck of 1, a piece of 2
    other = classes("00011", "00011", "20000", "20000")
    parts = [(probabilities(seen), truth), (probabilities(other), other)]
    settings, gains = choose_largest(parts, ALL, (1, 2))
    assert settings.largest_only == (1,)
    # 2 * 6 / 13, and 1 of the other; the first of two pieces of 2 is the wrong one
    assert gains == {1: (pytest.approx((12 / 13 + 1) / 2), 1.0)}
    # where nothing is known nothing is lost
    ignored = truth.copy()
    ignored[0, 4] = IGNORED
    parts[0] = probabilities(seen), ignored
    assert choose_largest(parts, ALL, (1, 2)) == (ALL, {})


def test_by_one_slice_it_is_not_judged() -> None:
    truth, seen = classes("1100"), classes("1101")
    one = [(probabilities(seen), truth)]
    assert choose_largest(one, ALL, (1,)) == (ALL, {})
    assert choose_largest(one * 2, ALL, (1,))[0].largest_only == (1,)


def test_settings_are_for_the_pixels_of_the_model() -> None:
    asked = ALL.replace(smallest_piece=100, largest_only=(2,))
    shrunk = asked.for_pixels((0.5, 0.5))
    assert (shrunk.smallest_piece, shrunk.largest_only) == (400, (2,))
    assert asked.is_later
    assert not ALL.is_later
    assert "largest_only" not in ALL.model_dump()
    assert Segmentation.model_validate_json(asked.model_dump_json()) == asked
