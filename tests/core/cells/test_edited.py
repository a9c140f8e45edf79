from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.cells.edited import with_edits


def test_without_edits_cells_are_as_found() -> None:
    cells = np.array([[5, 5, 0], [0, 2, 2]], np.int32)
    np.testing.assert_array_equal(with_edits(cells, np.zeros_like(cells)), cells)


def test_held_cells_win_their_pixels_and_come_last() -> None:
    cells = np.array([[1, 1, 1, 0, 2, 2], [1, 1, 1, 0, 2, 2]], np.int32)
    edits = np.array([[0, 0, 9, 9, 0, 0], [0, 0, 0, 9, 0, 0]], np.int32)
    np.testing.assert_array_equal(
        with_edits(cells, edits), [[1, 1, 3, 3, 2, 2], [1, 1, 1, 3, 2, 2]]
    )


def test_a_found_cell_more_than_half_of_which_was_edited_goes() -> None:
    cells = np.array([[1, 1, 1, 1, 0, 2, 2, 2, 2]], np.int32)
    edits = np.array([[7, 7, 7, 0, 0, 1, 1, 0, 0]], np.int32)
    # of the other just half: it loses these pixels
    np.testing.assert_array_equal(
        with_edits(cells, edits), [[2, 2, 2, 0, 0, 0, 0, 1, 1]]
    )


def test_no_cell_is_where_people_said_so() -> None:
    cells = np.array([[1, 1, 0, 2, 2, 2]], np.int32)
    edits = np.array([[1, 1, 1, 0, 0, 1]], np.int32)
    np.testing.assert_array_equal(with_edits(cells, edits), [[0, 0, 0, 1, 1, 0]])


def test_parts_of_a_split_cell_stay_apart_whatever_is_found() -> None:
    edits = np.array([[4, 4, 8, 8, 0]], np.int32)
    for found in ([1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 1, 1, 2, 2]):
        left = with_edits(np.array([found], np.int32), edits)[0]
        assert left[0] == left[1]
        assert left[2] == left[3]
        assert 0 not in left[:4]
        assert left[1] != left[2]


@pytest.mark.parametrize("highest", [2**31 - 1, 3])
def test_volumes_and_ids_without_bound(highest: int) -> None:
    cells = np.zeros((2, 1, 3), np.int32)
    cells[:, 0, 0] = 2**30
    edits = np.zeros_like(cells)
    edits[:, 0, 2] = highest
    expected = np.zeros_like(cells)
    expected[:, 0, 0], expected[:, 0, 2] = 1, 2
    np.testing.assert_array_equal(with_edits(cells, edits), expected)
