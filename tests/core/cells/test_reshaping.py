from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.core.cells.reshaping import (
    added,
    cells_under,
    merged,
    neighbour,
    redrawn,
    split,
    window,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

TWO = np.array(
    [
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 2, 2, 0],
        [0, 1, 1, 1, 0, 2, 2, 0],
        [0, 1, 1, 1, 0, 2, 2, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ],
    np.int32,
)


def path(*points: tuple[float, float]) -> NDArray[np.float64]:
    return np.array(points, np.float64)


def test_a_path_touches_cells_in_its_order() -> None:
    assert cells_under(TWO, path((2, 7), (2, 0))) == [2, 1]
    assert cells_under(TWO, path((0, 0))) == []
    # what is outside the plane does not count
    assert cells_under(TWO, path((2, -9), (2, 1))) == [1]


def test_merging_closes_the_gap_where_cells_are_near() -> None:
    np.testing.assert_array_equal(
        merged(TWO, [1, 2]),
        [
            [0, 0, 0, 0, 0, 0, 0, 0],
            [0, 1, 1, 1, 0, 1, 1, 0],
            [0, 1, 1, 1, 1, 1, 1, 0],
            [0, 1, 1, 1, 0, 1, 1, 0],
            [0, 0, 0, 0, 0, 0, 0, 0],
        ],
    )


def test_merging_leaves_a_third_cell_in_the_gap() -> None:
    three = TWO.copy()
    three[:, 4] = 3
    found = merged(three, [2, 1])
    np.testing.assert_array_equal(found == 3, three == 3)
    np.testing.assert_array_equal(found == 2, TWO > 0)


def test_the_neighbour_is_the_one_with_most_pixels_near() -> None:
    cells = np.array([[3, 0, 0], [1, 1, 2], [1, 1, 2]], np.int32)
    assert neighbour(cells, 1, 1) == 2
    with pytest.raises(ValueError, match="no neighbour"):
        neighbour(TWO, 1, 1)


@pytest.mark.parametrize("ends", [(0, 4), (1, 3), (2, 3)])
def test_a_line_parts_a_cell_also_where_it_ends_inside(ends: tuple[int, int]) -> None:
    found = split(TWO, path((ends[0], 2), (ends[1], 2)), 7)
    # the line's own pixels go to the nearest part; of equal parts the first keeps it
    np.testing.assert_array_equal(found[1:4, 1] == 1, True)
    np.testing.assert_array_equal(found[1:4, 3] == 7, True)
    np.testing.assert_array_equal(found > 0, TWO > 0)
    np.testing.assert_array_equal(found == 2, TWO == 2)


def test_a_slanted_line_leaves_no_bridge() -> None:
    square = np.ones((6, 6), np.int32)
    found = split(square, path((-1, -1), (6, 6)), 2)
    assert set(found.ravel().tolist()) == {1, 2}
    assert found[0, 5] != found[5, 0]
    assert np.count_nonzero(found == 2) >= 15


def test_a_bent_line_may_make_three_parts() -> None:
    bar = np.ones((3, 9), np.int32)
    found = split(bar, path((-1, 2), (3, 2), (3, 5), (-1, 5)), 4)
    assert len(np.unique(found)) == 3
    assert {4, 5} < set(np.unique(found).tolist())


def test_lines_that_part_nothing_say_so() -> None:
    with pytest.raises(ValueError, match="no cell"):
        split(TWO, path((0, 0), (0, 7)), 3)
    with pytest.raises(ValueError, match="does not part"):
        split(TWO, path((1, 1), (1, 1)), 3)


def test_a_stroke_around_a_cell_adds_it_with_what_is_inside() -> None:
    empty = np.zeros((5, 6), np.int32)
    found = added(empty, path((1, 1), (1, 4), (3, 4), (3, 1)), 3, 2)
    expected = np.zeros_like(empty)
    expected[1:4, 1:5] = 3
    np.testing.assert_array_equal(found, expected)


def test_a_click_adds_a_disc() -> None:
    found = added(np.zeros((5, 5), np.int32), path((2, 2)), 3, 1)
    np.testing.assert_array_equal(
        found,
        [
            [0, 0, 0, 0, 0],
            [0, 3, 3, 3, 0],
            [0, 3, 3, 3, 0],
            [0, 3, 3, 3, 0],
            [0, 0, 0, 0, 0],
        ],
    )


def test_added_and_redrawn_cells_leave_others_their_pixels() -> None:
    around = path((0, 0), (0, 4), (4, 4), (4, 0))
    found = added(TWO, around, 3, 2)
    np.testing.assert_array_equal(found == 1, TWO == 1)
    assert np.count_nonzero(found == 3) == 25 - 9
    found = redrawn(TWO, path((0, 0), (0, 5), (4, 5), (4, 0)))
    np.testing.assert_array_equal(found == 2, TWO == 2)
    assert np.count_nonzero(found == 1) == 30 - 3
    with pytest.raises(ValueError, match="no room"):
        added(TWO, path((1, 1), (1, 2), (2, 2)), 3, 2)


def test_a_redrawn_cell_gives_up_what_is_outside() -> None:
    found = redrawn(TWO, path((1, 1), (1, 2), (2, 2), (2, 1)))
    expected = np.where(TWO == 2, 2, 0)
    expected[1:3, 1:3] = 1
    np.testing.assert_array_equal(found, expected)


def test_a_window_holds_the_cells_of_a_path_whole() -> None:
    cells = np.zeros((200, 300), np.int32)
    cells[20:180, 50:60] = 4
    box = window(cells, path((100, 55)), 3)
    assert box[0].start <= 17
    assert box[0].stop >= 183
    assert box[1].start <= 47
    assert box[1].stop >= 63
    small = window(cells, path((5, 250), (8, 260)), 3)
    assert [(s.start, s.stop) for s in small] == [(2, 12), (247, 264)]
