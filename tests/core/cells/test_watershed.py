from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.cells.labelmap import renumber
from napari_unet.core.cells.watershed import watershed


def _basins(height, depth=0.0, share=0.0):
    basins = watershed(np.array(height, np.float32), depth, share)
    return renumber(basins, np.ones(basins.max() + 1, bool)).tolist()


def test_a_saddle_cuts_only_if_deep_enough():
    height = [[0, 2, 5, 3, 6, 2, 0]]  # the lower peak stands 2 above the saddle
    assert _basins(height, depth=1.9)[0] in (
        [0, 1, 1, 1, 2, 2, 0],
        [0, 1, 1, 2, 2, 2, 0],
    )
    assert _basins(height, depth=2.1) == [[0, 1, 1, 1, 1, 1, 0]]


def test_the_share_is_of_the_lower_peak():
    height = [[5, 3, 10]]  # 2 of 5 is 0.4
    assert max(_basins(height, share=0.39)[0]) == 2
    assert max(_basins(height, share=0.41)[0]) == 1


def test_the_saddle_goes_to_the_steeper_side():
    assert _basins([[5, 3, 6]]) == [[1, 2, 2]]
    assert _basins([[6, 3, 5]]) == [[1, 1, 2]]


def test_a_bump_joins_its_neighbour_but_not_both_of_its_neighbours():
    height = [[9, 2, 4, 3, 9]]  # the bump of 4 is 1 above one saddle, 2 above the other
    assert _basins(height, depth=1.5) == [[1, 1, 2, 2, 2]]


def test_diagonal_pixels_are_not_neighbours():
    assert _basins([[1, 0], [0, 1]]) == [[1, 0], [0, 2]]


def test_a_plateau_is_one_basin_even_at_depth_zero():
    assert _basins(np.ones((5, 5))) == [[1] * 5] * 5


def test_lines_do_not_wrap_around_the_edge():
    assert _basins([[0, 0, 1], [1, 0, 0]]) == [[0, 0, 1], [2, 0, 0]]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_it_cuts_along_any_axis_of_a_volume(axis):
    line = np.array([0, 2, 5, 2.5, 6, 0])
    height = np.moveaxis(np.tile(line, (2, 3, 1)), 2, axis)
    split = np.moveaxis(np.array(_basins(height, depth=2.0)), axis, 2)
    np.testing.assert_array_equal(split, np.tile([0, 1, 1, 2, 2, 0], (2, 3, 1)))


def test_nothing_high_is_nothing():
    assert _basins(np.zeros((2, 3))) == [[0, 0, 0], [0, 0, 0]]
    assert _basins([[-1, -2]]) == [[0, 0]]


def test_of_equal_heights_the_first_in_reading_order_begins():
    # two peaks of one height: the saddle between them goes to the first
    assert _basins([[0, 4, 1, 4, 0]]) == [[0, 1, 1, 2, 0]]
    assert _basins([[0], [4], [1], [4]]) == [[0], [1], [1], [2]]


def test_a_volume_is_numbered_through_its_slices():
    height = np.zeros((3, 2, 4), np.float32)
    height[0, 0, 0] = height[2, 1, 3] = 1
    basins = np.array(_basins(height))
    assert (basins[0, 0, 0], basins[2, 1, 3]) == (1, 2)
    assert np.count_nonzero(basins) == 2


@pytest.mark.parametrize("highest", [1, 40, 3000])
def test_basins_do_not_depend_on_what_else_is_in_the_image(highest):
    rough = np.random.default_rng(0).random((40, 40)).astype(np.float32) * 3 + 0.5
    with_other = np.pad(rough, ((0, 0), (0, 9)))
    with_other[10:30, 42:] = highest
    basins = watershed(with_other, 0.2, 0.1)[:, :40]
    beside = renumber(basins, np.ones(basins.max() + 1, bool)).tolist()
    assert beside == _basins(rough, depth=0.2, share=0.1)
    assert basins.max() > 10


def test_heights_beyond_all_levels_are_plateaus():
    assert _basins([[5000, 4500, 6000]]) == [[1, 1, 1]]
    assert _basins([[0.01, 0.001, 0.02, 0, 0.03]]) == [[1, 1, 1, 0, 2]]
