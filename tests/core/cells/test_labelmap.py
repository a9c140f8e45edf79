from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.cells.labelmap import at_edge, close_ridges, renumber, sizes


def _ids(rows):
    return np.array([[int(c) for c in row] for row in rows], np.int32)


def test_sizes_count_each_id_and_the_background():
    assert sizes(_ids(["0113", "0103"])).tolist() == [3, 3, 0, 2]


def test_numbers_follow_the_first_pixels_of_what_is_kept():
    cells = _ids(["0443", "1443"])
    keep = np.array([False, True, True, False, True])
    np.testing.assert_array_equal(renumber(cells, keep), _ids(["0110", "2110"]))


def test_a_volume_of_one_slice_has_no_edge_in_z():
    cells = _ids(["00000", "01110", "01010", "01110", "00000"])
    assert at_edge(cells[np.newaxis]).tolist() == [True, False]


def test_the_edge_is_the_outermost_pixel_on_each_side():
    cells = _ids(["01000", "00002", "05060", "30000", "00040"])
    assert at_edge(cells).tolist() == [True, True, True, True, True, False, False]


def _close(rows, width, spacing=(1, 1)):
    return close_ridges(_ids(rows), width, spacing)


def test_the_middle_of_a_gap_goes_to_the_nearer_cell_then_to_the_lower_id():
    np.testing.assert_array_equal(_close(["20001"], 3), _ids(["22111"]))
    np.testing.assert_array_equal(_close(["20001"], 2), _ids(["20001"]))
    np.testing.assert_array_equal(_close(["2001"], 2), _ids(["2211"]))


def test_beside_the_end_of_a_border_nothing_grows():
    cells = _ids(["00000", "01122", "01122", "00000"])
    np.testing.assert_array_equal(close_ridges(cells, 2, (1, 1)), cells)


def test_a_ridge_of_one_pixel_closes_along_any_direction():
    diagonal = _close(["1110", "1102", "1022", "0222"], 1)
    np.testing.assert_array_equal(diagonal, _ids(["1110", "1112", "1122", "0222"]))
    volume = np.zeros((3, 2, 2), np.int32)
    volume[0], volume[2] = 1, 2
    assert np.all(close_ridges(volume, 1, (1, 1, 1))[1] == 1)


def test_the_shortest_line_through_a_pixel_counts():
    # up and down the gap is 1 pixel wide, left and right 2
    cells = _close(["002", "100", "003"], 2)
    assert cells[1, 2] == 2


def test_gaps_across_thick_slices_are_wider():
    cells = np.array([[[1]], [[0]], [[2]]], np.int32)
    assert close_ridges(cells, 2.9, (3, 1, 1))[1, 0, 0] == 0
    assert close_ridges(cells, 3, (3, 1, 1))[1, 0, 0] == 1


@pytest.mark.parametrize("rows", [["1001"], ["1000"], ["0000"]])
def test_without_a_second_cell_there_is_no_gap(rows):
    np.testing.assert_array_equal(_close(rows, 9), _ids(rows))


def test_an_image_narrower_than_the_gap_ends_the_search():
    np.testing.assert_array_equal(_close(["10", "02"], 50), _ids(["10", "02"]))


def test_a_gap_between_three_cells_is_closed_from_all_sides():
    # 3 and 1 lie on a line through the gap, 2 faces nobody on its own line
    np.testing.assert_array_equal(_close(["020", "301"], 1), _ids(["020", "311"]))


def test_no_gap_leads_through_a_third_cell():
    np.testing.assert_array_equal(_close(["10203"], 1), _ids(["11223"]))
