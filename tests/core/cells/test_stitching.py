from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.cells.merging import Slab, merged
from napari_unet.core.cells.stitching import on_each_other, split_off
from napari_unet.core.geometry.blocks import Grid, cut

REACH = 2


def stitch(windows, shape, blocks, *, clear_border=False, order=None):
    """Stitch what was found in the windows of blocks, which are done in some order."""
    ids, found = np.zeros(shape, np.int64), {}
    for k in range(len(blocks)) if order is None else order:
        cells = np.asarray(windows[k], np.int32)
        part, parts, beside = split_off(cells, blocks[k], shape, REACH)
        ids[blocks[k].core], found[k] = part, (parts, beside)
    parts = [found[k][0] for k in range(len(blocks))]
    offsets = np.cumsum([0, *(each.first.size for each in parts)])
    for block, offset in zip(blocks, offsets, strict=False):
        ids[block.core] += np.where(ids[block.core] > 0, offset, 0)
    same = [np.zeros((0, 2), np.int64)]
    for k, block in enumerate(blocks):
        before = np.zeros(shape, np.int64)
        for other in blocks[:k]:
            before[other.core] = ids[other.core]
        pairs = on_each_other(found[k][1], before[block.around(REACH)])
        same.append(pairs + np.array([offsets[k], 0]))
    rows = Grid(blocks).slabs

    def slabs():
        for row in rows:
            yield Slab(
                np.concatenate([parts[k].first for k in row]),
                np.concatenate([parts[k].at_edge for k in row]),
            )

    counts = [sum(parts[k].first.size for k in row) for row in rows]
    pairs = np.concatenate(same)
    tables = merged(slabs, counts, pairs, clear_border=clear_border)
    table = np.concatenate([np.zeros(1, np.uint32), *tables])
    return table[ids].tolist(), parts


def whole(cells, blocks, **options):
    """Stitch blocks that all see the same cells, under ids of their own."""
    cells = np.asarray(cells, np.int32)
    windows = [cells[b.window] * (1 + 2 * n) for n, b in enumerate(blocks)]
    return stitch(windows, cells.shape, blocks, **options)


ROW = cut((1, 12), (1, 4), (0, 3))


def test_a_cell_across_three_blocks_has_one_id():
    line = [[0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 2]]
    assert whole(line, ROW)[0] == line


def test_neighbours_on_both_sides_of_a_border_stay_two():
    line = [[0, 1, 1, 1, 2, 2, 2, 3, 4, 0, 0, 5]]
    assert whole(line, ROW)[0] == line


def test_numbers_are_in_the_order_of_first_pixels_through_all_blocks():
    blocks = cut((4, 8), (4, 4), (2, 2))
    # the scan meets 1 of the left block, 2 of the right one, 3 of the left one
    cells = [
        [0, 0, 0, 1, 0, 0, 2, 2],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [3, 0, 0, 4, 4, 0, 0, 5],
        [3, 0, 0, 4, 4, 0, 0, 0],
    ]
    assert whole(cells, blocks)[0] == cells


def test_a_cell_that_meets_the_next_block_only_at_a_corner_is_one():
    blocks = cut((4, 4), (2, 2), (2, 2))
    cells = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert whole(cells, blocks)[0] == cells


def test_a_u_whose_arms_are_met_first_is_one_cell():
    blocks = cut((4, 8), (2, 4), (2, 2))
    cells = [
        [1, 0, 0, 0, 0, 0, 0, 1],
        [1, 0, 2, 2, 2, 2, 0, 1],
        [1, 0, 0, 0, 0, 0, 0, 1],
        [1, 1, 1, 1, 1, 1, 1, 1],
    ]
    assert whole(cells, blocks)[0] == cells


def test_cells_at_the_image_edge_are_dropped_in_all_blocks():
    blocks = cut((3, 12), (3, 4), (0, 3))
    cells = np.zeros((3, 12), int)
    cells[1, :6] = 1  # its part in the second block touches no edge
    cells[1, 8:10] = 2
    kept = np.zeros((3, 12), int)
    kept[1, 8:10] = 1
    assert whole(cells, blocks, clear_border=True)[0] == kept.tolist()
    # a single line has no upper and lower edge
    line = [[0, 1, 1, 0, 0, 2, 2, 0, 0, 0, 3, 3]]
    assert whole(line, ROW, clear_border=True)[0] == [
        [0, 1, 1, 0, 0, 2, 2, 0, 0, 0, 0, 0]
    ]


def test_a_part_that_two_windows_cut_differently_is_one_cell():
    # the first block sees one cell where the second cuts it; both halves lie in it
    blocks = cut((4, 8), (4, 4), (0, 3))
    first = np.ones((4, 7), int)
    second = np.ones((4, 7), int)
    second[2:] = 2
    assert stitch([first, second], (4, 8), blocks)[0] == np.ones((4, 8), int).tolist()


def test_a_pixel_that_windows_disagree_about_does_not_join_neighbours():
    blocks = cut((6, 8), (6, 4), (0, 3))
    first = np.repeat([[1], [1], [1], [2], [2], [2]], 7, 1)
    second = first.copy()
    second[3, 1:3] = 1
    expected = np.repeat([[1], [1], [1], [2], [2], [2]], 8, 1)
    assert stitch([first, second], (6, 8), blocks)[0] == expected.tolist()


def test_parts_know_their_first_pixel_and_size_in_the_field():
    blocks = cut((2, 8), (2, 4), (0, 2))
    cells = [[0, 0, 0, 0, 0, 0, 0, 7], [0, 0, 0, 3, 3, 3, 0, 0]]
    _, (first, second) = whole(cells, blocks)
    assert (first.first.tolist(), first.sizes.tolist()) == ([11], [1])
    assert (second.first.tolist(), second.sizes.tolist()) == ([12, 7], [2, 1])
    assert second.at_edge.tolist() == [True, True]


def test_no_cells_are_no_numbers():
    assert whole(np.zeros((1, 12)), ROW)[0] == np.zeros((1, 12), int).tolist()
    nothing = Slab(np.zeros(0, np.int64), np.zeros(0, bool))
    none = merged(lambda: [nothing], [0], np.zeros((0, 2), np.int64), clear_border=True)
    assert [table.tolist() for table in none] == [[]]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("shape", [(13, 17), (5, 8, 9)])
def test_random_cells_come_back_as_they_are(seed, shape):
    # connected regions of a coarse random image, some across many blocks
    from scipy.ndimage import label

    rng = np.random.default_rng(seed)
    cells, _ = label(rng.random(shape) < 0.55)
    blocks = cut(shape, (4,) * len(shape), (3,) * len(shape))
    assert whole(cells, blocks)[0] == cells.tolist()


def test_blocks_may_be_done_in_any_order():
    rng = np.random.default_rng(5)
    from scipy.ndimage import label

    cells, _ = label(rng.random((13, 17)) < 0.55)
    blocks = cut(cells.shape, (4, 4), (3, 3))
    for _ in range(5):
        order = rng.permutation(len(blocks)).tolist()
        assert whole(cells, blocks, order=order)[0] == cells.tolist()
