from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.cells.labelmap import sizes
from napari_unet.core.cells.linking import (
    SliceLinker,
    add_overlaps,
    count_overlaps,
    link_slices,
)


def _stack(*slices):
    """A stack of slices of one row each."""
    return np.array(slices, np.int32)[:, np.newaxis, :]


def test_a_cell_keeps_its_id_whatever_it_is_called_in_each_slice():
    cells = _stack([1, 1, 0, 2], [7, 7, 0, 3], [3, 3, 0, 7])
    expected = _stack([1, 1, 0, 2], [1, 1, 0, 2], [1, 1, 0, 2])
    linked = link_slices(cells, 0.25)
    assert linked.dtype == np.int32
    np.testing.assert_array_equal(linked, expected)


def test_equal_ids_without_overlap_are_different_cells():
    np.testing.assert_array_equal(
        link_slices(_stack([1, 1, 0, 0], [0, 0, 1, 1]), 0.0),
        _stack([1, 1, 0, 0], [0, 0, 2, 2]),
    )


@pytest.mark.parametrize(("min_iou", "same"), [(0.25, True), (0.26, False)])
def test_the_limit_itself_still_links(min_iou, same):
    # 1 pixel shared of 4: IoU is 0.25
    linked = link_slices(_stack([1, 1, 0, 0], [0, 1, 1, 1]), min_iou)
    assert linked[1, 0, 1] == (1 if same else 2)


def test_a_split_goes_on_in_the_larger_part():
    np.testing.assert_array_equal(
        link_slices(_stack([1, 1, 1, 1, 1, 1], [1, 1, 0, 2, 2, 2]), 0.1),
        _stack([1, 1, 1, 1, 1, 1], [2, 2, 0, 1, 1, 1]),
    )


def test_of_equal_parts_the_lower_id_goes_on():
    np.testing.assert_array_equal(
        link_slices(_stack([1, 1, 1, 1], [2, 2, 1, 1]), 0.1),
        _stack([1, 1, 1, 1], [2, 2, 1, 1]),
    )


def test_a_merger_goes_on_as_its_best_overlap():
    np.testing.assert_array_equal(
        link_slices(_stack([1, 2, 2, 2], [1, 1, 1, 1]), 0.1),
        _stack([1, 2, 2, 2], [2, 2, 2, 2]),
    )


def test_best_means_iou_not_shared_pixels():
    # the large cell shares 3 of 10 pixels with cell 1, the small one 2 of 5
    above = [1] * 5 + [0] * 5
    below = [2] * 2 + [3] * 8
    linked = link_slices(_stack(above, below), 0.1)
    assert linked[1, 0, 0] == 1
    assert linked[1, 0, 9] == 2


def test_a_missing_slice_ends_a_cell():
    linked = link_slices(_stack([1, 1], [0, 0], [1, 1]), 0.1)
    np.testing.assert_array_equal(linked, _stack([1, 1], [0, 0], [2, 2]))


def test_background_on_cells_is_no_overlap_and_rows_do_not_mix():
    cells = np.zeros((2, 3, 3), np.uint16)
    cells[0, 0] = 1
    cells[0, 2] = 2
    cells[1, 1] = 1
    cells[1, 2] = 2
    expected = np.zeros((2, 3, 3), np.int32)
    expected[0, 0], expected[0, 2], expected[1, 1], expected[1, 2] = 1, 2, 3, 2
    np.testing.assert_array_equal(link_slices(cells, 0.5), expected)


def test_separate_slices_share_no_id():
    np.testing.assert_array_equal(
        link_slices(_stack([1, 1, 4], [0, 1, 1], [0, 0, 0], [2, 1, 0]), None),
        _stack([1, 1, 2], [0, 3, 3], [0, 0, 0], [5, 4, 0]),
    )


def test_a_cell_at_the_edge_of_one_slice_is_dropped_from_all():
    np.testing.assert_array_equal(
        link_slices(
            _stack([0, 1, 1, 0, 2, 0], [1, 1, 1, 0, 2, 0]), 0.1, clear_border=True
        ),
        _stack([0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 1, 0]),
    )


@pytest.mark.parametrize("min_iou", [None, 0.5])
def test_only_stacks_of_ids_are_taken(min_iou):
    with pytest.raises(ValueError, match=r"shape \(z, y, x\), found int64 .* \(2, 2\)"):
        link_slices(np.zeros((2, 2), np.int64), min_iou)
    with pytest.raises(ValueError, match=r"integer ids .* found float32"):
        link_slices(np.zeros((2, 2, 2), np.float32), min_iou)
    with pytest.raises(ValueError, match="0 or more, found -3"):
        link_slices(np.full((1, 2, 2), -3), min_iou)


@pytest.mark.parametrize("min_iou", [-0.1, 1.5])
def test_an_overlap_outside_0_to_1_is_refused(min_iou):
    with pytest.raises(ValueError, match=f"0 to 1, found {min_iou}"):
        link_slices(_stack([1]), min_iou)


def test_an_empty_slice_or_stack_stays_empty():
    assert not link_slices(np.zeros((3, 4, 4), np.int32), 0.1).any()
    assert link_slices(np.zeros((0, 4, 4), np.int32), 0.1).shape == (0, 4, 4)


def test_slices_counted_in_parts_are_linked_as_whole_ones():
    rng = np.random.default_rng(2)
    stack = np.repeat(np.repeat(rng.integers(0, 9, (4, 6, 8)), 3, 1), 3, 2)
    linker = SliceLinker(0.2)
    for z, plane in enumerate(stack):
        overlaps = None
        if z:
            above = stack[z - 1]
            parts = [slice(0, 5), slice(5, 6), slice(6, 18)]
            overlaps = add_overlaps([count_overlaps(above[p], plane[p]) for p in parts])
            whole = count_overlaps(above, plane)
            for found, expected in zip(overlaps, whole, strict=True):
                np.testing.assert_array_equal(found, expected)
        ids = linker.add(sizes(plane), overlaps)
        np.testing.assert_array_equal(ids[plane], link_slices(stack, 0.2)[z])
    assert linker.last == link_slices(stack, 0.2).max()


def test_overlaps_are_counted_by_pairs():
    above = np.array([[1, 1, 0, 2], [1, 1, 3, 2]])
    below = np.array([[5, 5, 5, 0], [5, 4, 4, 4]])
    assert [c.tolist() for c in count_overlaps(above, below)] == [
        [1, 1, 2, 3],
        [4, 5, 4, 4],
        [1, 3, 1, 1],
    ]
