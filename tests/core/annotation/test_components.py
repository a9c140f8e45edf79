from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage as ndi

from napari_unet.core.annotation.components import (
    cells_of,
    count_necked,
    remove_specks,
    speck_size,
    split_components,
)

DSB = Path(__file__).parents[4] / "shared/data/dsb2018_fluo/labels"


def _ids(rows):
    return np.array([[int(c) for c in row] for row in rows], np.int32)


def test_cells_come_by_id_with_their_largest_piece_first():
    cells = cells_of(_ids(["3001122", "0331022", "2000000"]))
    assert [(c.label, c.size) for c in cells] == [(2, 5), (3, 3)]
    assert [p.size for p in cells[0].components] == [4, 1]
    assert cells[0].components[0].centre == (0.5, 5.5)
    assert cells[0].components[1].centre == (2, 0)
    assert len(cells[1].components) == 1  # connected across the corner


def test_touching_cells_of_other_ids_are_no_piece():
    (first, second) = cells_of(_ids(["2233"]))
    assert (first.size, second.size) == (2, 2)


def test_without_cells_there_are_none():
    assert cells_of(_ids(["0110"])) == []


@pytest.mark.parametrize(
    ("usual", "size"), [(1000, 20), (450, 9), (100, 9), (36, 9), (12, 3)]
)
def test_specks_are_small_beside_the_usual_cell(usual, size):
    assert speck_size(usual) == size


def test_splitting_keeps_the_id_of_the_largest_piece():
    labels = _ids(["2011221", "0330221", "2200000"])
    split = split_components(labels, 2, 7)
    np.testing.assert_array_equal(split, _ids(["8011221", "0330221", "7700000"]))
    assert split.dtype == labels.dtype
    assert labels[0, 0] == 2


def test_splitting_one_piece_changes_nothing():
    labels = _ids(["0022", "1102"])
    np.testing.assert_array_equal(split_components(labels, 2, 3), labels)


@pytest.mark.parametrize("label", [1, 5])
def test_only_cells_that_are_there_can_be_split(label):
    with pytest.raises(ValueError, match=f"no cell of id {label} here"):
        split_components(_ids(["1220"]), label, 9)


@pytest.mark.parametrize("next_id", [1, 2, 3])
def test_new_ids_must_be_free(next_id):
    with pytest.raises(ValueError, match=f"ids from {next_id} up are not free"):
        split_components(_ids(["202033"]), 2, next_id)


def test_specks_are_not_annotated_any_more_and_the_rest_stays():
    labels = np.ones((20, 30), np.int32)
    labels[2:12, 2:12] = 5
    labels[15:18, 2:5] = 5  # 9 pixels
    labels[15:17, 10:14] = 6  # 8 pixels, a cell of its own
    labels[0, 29] = 0
    left = remove_specks(labels, 9)
    expected = labels.copy()
    expected[15:17, 10:14] = 0
    np.testing.assert_array_equal(left, expected)
    np.testing.assert_array_equal(remove_specks(labels, 9, spared=[6]), labels)
    assert left.dtype == labels.dtype


def test_the_size_of_specks_follows_from_the_median_cell():
    labels = np.zeros((40, 40), np.int32)
    for number in range(3):
        labels[12 * number : 12 * number + 10, :10] = number + 2  # 100 pixels each
    labels[30:32, 30:34] = 3  # 8 of them
    labels[20:23, 30:33] = 4  # 9
    left = remove_specks(labels)
    assert not left[30:32, 30:34].any()
    assert np.count_nonzero(left) == np.count_nonzero(labels) - 8
    np.testing.assert_array_equal(remove_specks(left), left)
    assert not remove_specks(np.zeros((3, 3), np.int32)).any()


def _disks(*centres, radius=10):
    y, x = np.indices((40, 70))
    return np.any(
        [(y - a) ** 2 + (x - b) ** 2 <= radius**2 for a, b in centres], axis=0
    )


def test_a_waist_is_found_between_two_disks_of_one_id():
    labels = 4 * _disks((20, 20), (20, 38)).astype(np.int32)
    (cell,) = cells_of(labels)
    assert count_necked(labels, cell, 317) == 2
    assert count_necked(labels, cell, 1000) == 1  # then it is a usual cell


def test_a_disk_and_a_rod_have_no_waist():
    for mask in (_disks((20, 20)), np.pad(np.ones((12, 50), bool), 10)):
        labels = 4 * mask.astype(np.int32)
        (cell,) = cells_of(labels)
        assert count_necked(labels, cell, 0.5 * cell.size) == 1


@pytest.mark.skipif(not DSB.is_dir(), reason="the real masks are not here")
def test_merged_real_nuclei_are_found_and_true_ones_seldom_are():
    true, alarms, pairs, found = 0, 0, 0, 0
    for path in sorted(DSB.glob("*.tif"))[::2]:
        labels = tifffile.imread(path).astype(np.int32)
        labels[labels > 0] += 1
        cells = cells_of(labels)
        usual = float(np.median([cell.size for cell in cells]))
        true += len(cells)
        alarms += sum(count_necked(labels, cell, usual) > 1 for cell in cells)
        for one, other in _touching(labels):
            merged = np.where(labels == one, other, np.where(labels == other, other, 0))
            (cell,) = cells_of(merged)
            pairs += 1
            found += count_necked(merged, cell, usual) > 1
    assert alarms < 0.01 * true
    assert pairs > 50
    assert found > 0.6 * pairs


def _touching(labels):
    """Pairs of cells of some size with a border of three pixels or more."""
    sizes = np.bincount(labels.ravel())
    least = 0.3 * np.median(sizes[2:][sizes[2:] > 0])
    grown = ndi.grey_dilation(labels, footprint=[[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    border = (grown != labels) & (labels > 0)
    pairs, counts = np.unique(
        np.stack([labels[border], grown[border]]), axis=1, return_counts=True
    )
    return [
        (a, b)
        for (a, b), n in zip(pairs.T.tolist(), counts, strict=True)
        if n >= 3 and min(sizes[a], sizes[b]) >= least
    ]
