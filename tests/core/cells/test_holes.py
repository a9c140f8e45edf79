from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_unet.core.cells.holes import fill_holes, fill_pinholes


def _ids(rows):
    return np.array([[int(c) for c in row] for row in rows], np.int32)


def test_a_hole_is_filled_by_the_cell_around_it():
    cells = _ids(["11100", "10100", "11102"])
    np.testing.assert_array_equal(fill_holes(cells), _ids(["11100", "11100", "11102"]))


def test_a_hole_with_a_cell_or_between_cells_or_open_at_the_edge_stays():
    island = _ids(["11111", "10001", "10201", "10001", "11111"])
    between = _ids(["1112", "1022", "1122"])
    bay = _ids(["111", "001", "111"])
    for cells in (island, between, bay):
        np.testing.assert_array_equal(fill_holes(cells), cells)


@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
def test_a_hole_open_only_at_its_last_line_or_column_stays(axes):
    cells = _ids(["1111", "1011", "1001"]).transpose(axes)
    np.testing.assert_array_equal(fill_holes(cells), cells)
    np.testing.assert_array_equal(fill_holes(cells[::-1, ::-1]), cells[::-1, ::-1])


def test_a_hole_connects_across_corners():
    cells = _ids(["0111", "1011", "1111"])
    np.testing.assert_array_equal(fill_holes(cells), cells)


def test_a_cell_that_touches_a_hole_with_a_corner_only_is_around_it_too():
    cells = _ids(["2111", "1011", "1111"])
    np.testing.assert_array_equal(fill_holes(cells), cells)


def test_holes_of_volumes_are_closed_on_all_six_sides():
    cells = np.ones((3, 3, 3), np.int32)
    cells[1, 1, 1] = 0
    assert fill_holes(cells).all()
    cells[0, 1, 1] = 0
    assert fill_holes(cells)[1, 1, 1] == 0


def test_a_volume_of_one_slice_has_holes_but_no_edge_in_z():
    cells = _ids(["00000", "01110", "01010", "01110", "00000"])
    assert fill_holes(cells[np.newaxis])[0, 2, 2] == 1


def test_pinholes_are_filled_up_to_a_size_also_at_the_edge():
    mask = _ids(["1111110", "1011111", "1110010"]) > 0
    np.testing.assert_array_equal(
        fill_pinholes(mask, 2), _ids(["1111111", "1111111", "1110011"]) > 0
    )
    assert fill_pinholes(mask, 3).all()
    np.testing.assert_array_equal(fill_pinholes(mask, 0), mask)


def test_pinholes_count_all_pixels_that_touch_also_with_corners():
    mask = _ids(["01111", "10111", "11101", "11111"]) > 0
    assert np.count_nonzero(~fill_pinholes(mask, 2)) == 2
    # a U, whose two arms meet only at its foot
    u = _ids(["11111", "10101", "10001", "11111"]) > 0
    np.testing.assert_array_equal(fill_pinholes(u, 5), u)
    assert fill_pinholes(u, 6).all()


@pytest.mark.parametrize("shape", [(30, 40), (6, 9, 12), (1, 40)])
def test_pinholes_of_noise_are_those_of_scipy(shape):
    rng = np.random.default_rng(2)
    for share in (0.3, 0.6, 0.9):
        mask = rng.random(shape) < share
        regions, _ = ndi.label(~mask, np.ones((3,) * len(shape)))
        small = (np.bincount(regions.ravel()) < 5)[regions]
        np.testing.assert_array_equal(fill_pinholes(mask, 5), mask | small)


def test_the_input_is_left_alone():
    cells = _ids(["111", "101", "111"])
    before = cells.copy()
    fill_holes(cells)
    fill_pinholes(cells > 0, 5)
    np.testing.assert_array_equal(cells, before)
