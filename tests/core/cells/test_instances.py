from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage as ndi

from napari_unet.core.cells.instances import (
    class_probabilities,
    segment_image,
    segment_instances,
)
from napari_unet.core.images.image import Image
from napari_unet.core.settings import Segmentation

ALL = Segmentation(min_size=0, ridge=0)  # nothing dropped, nothing grown
BBBC039 = Path(__file__).parents[4] / "shared/data/bbbc039/labels"


def _two(foreground):
    """Probabilities of background and one class of cells."""
    p = np.asarray(foreground, np.float32)
    return np.stack([1 - p, p])


def _rows(rows):
    """One digit for each pixel, as an image of ids."""
    return np.array([[int(c) for c in row] for row in rows], np.int32)


def _disks(*centres, radius=8, shape=(40, 60)):
    """True within the disks or balls."""
    grid = np.indices(shape)
    mask = np.zeros(shape, bool)
    for centre in centres:
        offset = grid - np.reshape(centre, (-1,) + (1,) * len(shape))
        mask |= (offset**2).sum(axis=0) <= radius**2
    return mask


def test_cells_are_numbered_in_scan_order_from_1():
    p = _rows(["00001", "11000", "11011"])
    cells = segment_instances(_two(p), ALL)
    assert cells.dtype == np.int32
    np.testing.assert_array_equal(cells, _rows(["00001", "22000", "22033"]))


def test_a_probability_on_the_threshold_is_background():
    p = np.array([[0.5, 0.51, 0.0, 0.6]])
    assert segment_instances(_two(p), ALL).tolist() == [[0, 1, 0, 2]]
    higher = ALL.replace(threshold=0.55)
    assert segment_instances(_two(p), higher).tolist() == [[0, 0, 0, 1]]


def test_small_cells_count_only_if_the_network_is_sure():
    p = np.zeros((12, 40))
    p[2:8, 2:8] = 0.9
    p[2:8, 12:18] = 0.7
    p[2:5, 22:25] = 0.9
    p[1:11, 28:38] = 0.7
    found = segment_instances(_two(p), ALL.replace(min_size=20, unsure_size=50))
    # large ones count anyway, and those that are smaller yet never do
    assert np.unique(found[p > 0]).tolist() == [0, 1, 2]
    assert found[4, 4] > 0
    assert found[4, 32] > 0


def test_of_which_class_a_small_cell_is_need_not_be_sure():
    one = np.zeros((10, 10))
    one[2:8, 2:8] = 0.5
    other = np.where(one > 0, 0.4, 0)
    p = np.stack([1 - one - other, one, other])
    found = segment_instances(p, ALL.replace(threshold=0.4, unsure_size=50))
    assert found.max() == 1


def test_overlapping_disks_are_cut_at_their_neck():
    p = _disks((20, 20), (20, 34))
    cells = segment_instances(_two(p), ALL)
    assert cells.max() == 2
    assert np.all(cells[:, :26][p[:, :26]] == 1)
    assert np.all(cells[:, 29:][p[:, 29:]] == 2)
    np.testing.assert_array_equal(cells > 0, p)


def test_a_dip_above_the_threshold_cuts_a_cell_without_a_neck():
    p = np.zeros((30, 50))
    p[5:25, 5:45] = 0.98
    whole = segment_instances(_two(p), ALL)
    p[5:25, 24:26] = 0.6
    cut = segment_instances(_two(p), ALL)
    assert whole.max() == 1
    assert cut.max() == 2
    assert np.all(cut[5:25, 5:24] == 1)
    assert np.all(cut[5:25, 26:45] == 2)
    np.testing.assert_array_equal(cut > 0, whole > 0)


def test_a_long_bent_cell_with_rough_sides_stays_whole():
    y, x = np.indices((80, 120))
    width = 6 + 0.7 * np.sin(x / 5)
    p = np.abs(y - 40 - 20 * np.sin(x / 25)) < width
    assert segment_instances(_two(p), ALL).max() == 1


def test_pinholes_of_noise_do_not_cut():
    p = _disks((20, 30), radius=15).astype(float)
    p[15:30:5, 25:40:5] = 0
    cells = segment_instances(_two(p), ALL)
    np.testing.assert_array_equal(cells, _disks((20, 30), radius=15))


def test_the_limits_of_a_cut_are_settings():
    p = _two(_disks((20, 20), (20, 34)))  # half widths: cells 8, neck about 4
    assert segment_instances(p, ALL.replace(min_distance=6, neck=0)).max() == 1
    assert segment_instances(p, ALL.replace(min_distance=2, neck=0)).max() == 2
    assert segment_instances(p, ALL.replace(min_distance=0, neck=0.7)).max() == 1
    assert segment_instances(p, ALL.replace(min_distance=0, neck=0.3)).max() == 2


@pytest.mark.parametrize(
    ("ridge", "gap", "given"), [(1, 1, 1), (1, 2, 0), (2, 2, 1), (2, 3, 0)]
)
def test_gaps_up_to_the_ridge_go_to_the_nearer_cell(ridge, gap, given):
    p = np.zeros((9, 20))
    p[2:7, 2:8] = 1
    p[2:7, 8 + gap : 16] = 1
    cells = segment_instances(_two(p), ALL.replace(ridge=ridge))
    between = cells[2:7, 8 : 8 + gap]
    assert np.all(between > 0) == bool(given)
    if given and gap == 2:
        assert between.tolist() == [[1, 2]] * 5
    # the open sides do not grow
    assert not cells[:, :2].any()
    assert not cells[:, 16:].any()
    assert not cells[0].any()


def test_a_notch_of_one_cell_is_no_ridge():
    p = _rows(["11111", "11011", "11011"])
    cells = segment_instances(_two(p), ALL.replace(ridge=2))
    np.testing.assert_array_equal(cells, p)


def test_holes_are_filled_unless_asked_not_to():
    p = _rows(["0000000", "0111110", "0100010", "0100010", "0111110", "0000000"])
    full = segment_instances(_two(p), ALL)
    assert np.all(full[1:5, 1:6] == 1)
    np.testing.assert_array_equal(
        segment_instances(_two(p), ALL.replace(fill_holes=False)), p
    )


@pytest.mark.parametrize(("min_size", "left"), [(6, 2), (7, 1), (13, 0)])
def test_cells_below_the_least_size_are_dropped(min_size, left):
    p = np.zeros((10, 20))
    p[1:3, 1:4] = 1  # 6 pixels
    p[5:8, 10:14] = 1  # 12 pixels
    cells = segment_instances(_two(p), Segmentation(min_size=min_size))
    assert cells.max() == left
    assert np.count_nonzero(cells) == {2: 18, 1: 12, 0: 0}[left]


def test_cells_at_the_edge_are_dropped_on_request():
    p = _two(_rows(["100000", "000000", "001100", "000000", "000001"]))
    assert segment_instances(p, ALL).max() == 3
    cells = segment_instances(p, ALL.replace(clear_border=True))
    np.testing.assert_array_equal(
        cells, _rows(["0" * 6, "0" * 6, "001100"] + ["0" * 6] * 2)
    )


def test_a_volume_is_cut_like_a_plane():
    p = _disks((8, 10, 10), (8, 10, 22), radius=6, shape=(17, 21, 31))
    cells = segment_instances(_two(p), ALL)
    assert cells.max() == 2
    assert (cells[8, 10, 10], cells[8, 10, 22]) == (1, 2)
    np.testing.assert_array_equal(cells > 0, p)


def test_thick_slices_count_by_their_spacing():
    # every third slice of two balls on top of each other
    p = _disks((11, 12, 12), (27, 12, 12), radius=9, shape=(37, 25, 25))[1::3]
    assert segment_instances(_two(p), ALL, spacing=(3, 1, 1)).max() == 2
    assert segment_instances(_two(p), ALL).max() == 1


def test_classes_are_segmented_on_their_own_with_ids_through_all():
    first = _rows(["11100", "11100", "00000"])
    second = _rows(["00011", "00011", "00000"])
    p = np.stack([1 - first - second, first, second]).astype(np.float32)
    cells = segment_instances(p, ALL)
    np.testing.assert_array_equal(cells, _rows(["11122", "11122", "00000"]))
    assert class_probabilities(cells, p).tolist() == [[0, 1, 0], [0, 0, 1]]


def test_a_low_threshold_gives_each_pixel_to_its_likelier_class():
    p = np.array([[[0.1, 0.1]], [[0.5, 0.4]], [[0.4, 0.5]]])
    cells = segment_instances(p, ALL.replace(threshold=0.3))
    assert cells.tolist() == [[1, 2]]


def test_regions_are_neither_cells_nor_given_away():
    cells = _rows(["11100", "10100", "11100"])
    region = _rows(["00011", "01011", "00011"])
    p = np.stack([1 - cells - region, region, cells]).astype(np.float32)
    found = segment_instances(p, ALL.replace(ridge=2), cell_classes=[2])
    np.testing.assert_array_equal(found, cells)
    assert class_probabilities(found, p, [2]).tolist() == [[0, 1]]
    assert not segment_instances(p, ALL, cell_classes=[]).any()


def test_each_class_of_a_cell_has_a_mean_probability_and_0_without_pixels():
    p = np.array([[[0.0, 0.1, 0.05]], [[1.0, 0.25, 0.25]], [[0.0, 0.65, 0.7]]])
    means = class_probabilities(np.array([[3, 3, 3]]), p)
    np.testing.assert_allclose(means, [[0, 0, 0, 0.5], [0, 0, 0, 0.45]])
    means = class_probabilities(np.array([[1, 2, 2]]), p)
    np.testing.assert_allclose(means, [[0, 1, 0.25], [0, 0, 0.675]])


def test_empty_and_full_images_have_no_cell_and_one():
    assert not segment_instances(_two(np.zeros((5, 6)))).any()
    assert np.all(segment_instances(_two(np.ones((5, 6)))) == 1)
    assert not segment_instances(_two(np.ones((5, 6))), Segmentation(threshold=1)).any()


def test_the_input_is_left_alone():
    p = _two(_disks((20, 20), (20, 34)))
    before = p.copy()
    segment_instances(p)
    np.testing.assert_array_equal(p, before)


@pytest.mark.parametrize("shape", [(5, 6), (1, 5, 6), (2, 2, 2, 5, 6)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"at least 2 classes, found shape \("):
        segment_instances(np.zeros(shape, np.float32))


@pytest.mark.parametrize("classes", [[0], [2], [1, 1], [-1]])
def test_other_classes_are_refused(classes):
    with pytest.raises(ValueError, match="different numbers from 1 to 1, found"):
        segment_instances(np.zeros((2, 5, 6), np.float32), cell_classes=classes)


@pytest.mark.parametrize("spacing", [(1,), (1, 1, 1), (0, 1)])
def test_a_spacing_that_does_not_fit_is_refused(spacing):
    with pytest.raises(ValueError, match="2 positive values, found"):
        segment_instances(np.zeros((2, 5, 6), np.float32), spacing=spacing)


def test_cells_of_another_shape_have_no_probabilities():
    with pytest.raises(ValueError, match=r"\(5, 7\) is not that of .* \(2, 5, 6\)"):
        class_probabilities(np.zeros((5, 7), int), np.zeros((2, 5, 6), np.float32))


def _movie():
    """Two frames of three slices: a cell in all slices, and one at the right edge."""
    p = np.zeros((2, 3, 6, 9), np.float32)  # tzyx
    p[0, :, 1:4, 1:4] = 1
    p[0, 1:, 1:4, 6:9] = 1
    p[1, 2, 2:5, 3:6] = 1
    return p


def test_slices_are_linked_and_frames_start_at_1():
    cells = segment_image(Image(np.stack([1 - _movie(), _movie()], 1), "tczyx"), 2, ALL)
    expected = _movie().astype(int)
    expected[0, :, :, 6:] *= 2
    np.testing.assert_array_equal(cells, expected)
    assert cells.dtype == np.int32


def test_unlinked_slices_have_ids_of_their_own():
    settings = ALL.replace(link_z="none")
    cells = segment_image(Image(_two(_movie()[0]), "czyx"), 2, settings)
    assert cells[:, 2, 2].tolist() == [1, 2, 4]
    assert cells[:, 2, 7].tolist() == [0, 3, 5]


def test_the_least_overlap_of_slices_is_a_setting():
    p = np.zeros((2, 4, 6))
    p[0, :, :4] = 1
    p[1, :, 2:] = 1  # IoU 1/3
    image = Image(_two(p), "czyx")
    assert segment_image(image, 2, ALL.replace(link_iou=0.33)).max() == 1
    assert segment_image(image, 2, ALL.replace(link_iou=0.34)).max() == 2


def test_a_linked_cell_at_the_edge_in_one_slice_is_dropped_from_all():
    p = np.zeros((3, 6, 9))
    p[0, 1:4, 2:6] = 1
    p[1, 1:4, 1:6] = 1
    p[2, 1:4, 0:6] = 1
    p[:, 1:4, 7] = 1
    settings = ALL.replace(clear_border=True)
    cells = segment_image(Image(_two(p), "czyx"), 2, settings)
    assert not cells[:, :, :7].any()
    assert np.all(cells[:, 1:4, 7] == 1)


def test_a_3d_network_sees_volumes():
    cells = segment_image(Image(_two(_movie()[0]), "czyx"), 3, ALL)
    assert cells.shape == (3, 6, 9)
    # the second cell starts a slice later but is one cell without any linking
    assert cells[:, 2, 2].tolist() == [1, 1, 1]
    assert cells[:, 2, 7].tolist() == [0, 2, 2]


def test_axes_of_the_result_are_those_of_the_image_in_order():
    p = np.moveaxis(_two(_movie()[0]), 0, -1)  # zyxc
    assert segment_image(Image(p, "zyxc"), 2).shape == (3, 6, 9)
    assert segment_image(Image(p[0], "yxc"), 2).shape == (6, 9)
    assert segment_image(Image(p[0], "yxc"), 3).shape == (6, 9)
    assert segment_image(Image(p, "tyxc"), 2).shape == (3, 6, 9)


def test_networks_have_2_or_3_axes():
    with pytest.raises(ValueError, match="2 or 3 spatial axes, found 4"):
        segment_image(Image(_two(np.zeros((5, 6))), "cyx"), 4)


@pytest.mark.skipif(not BBBC039.is_dir(), reason="the real masks are not here")
def test_real_touching_nuclei_come_back_from_blurred_ridges():
    truth = tifffile.imread(sorted(BBBC039.glob("*.tif"))[0]).astype(np.int64)
    largest = ndi.maximum_filter(truth, 3)
    smallest = ndi.minimum_filter(np.where(truth > 0, truth, 10**6), 3)
    p = ndi.gaussian_filter(((truth > 0) & (largest == smallest)).astype(np.float32), 1)
    cells = segment_instances(_two(p))
    overlap = np.zeros((truth.max() + 1, cells.max() + 1))
    np.add.at(overlap, (truth, cells), 1)
    union = overlap.sum(1, keepdims=True) + overlap.sum(0) - overlap
    matched = (overlap[1:, 1:] > 0.5 * union[1:, 1:]).sum()
    there = np.count_nonzero(overlap.sum(1)[1:])
    assert matched / (there + cells.max() - matched) > 0.9
