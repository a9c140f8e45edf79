from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_unet.core.geometry.distance import distance_inside


def test_distances_are_between_pixel_centres():
    mask = np.ones((3, 4), bool)
    mask[0, 0] = False
    squares = [[0, 1, 4, 9], [1, 2, 5, 10], [4, 5, 8, 13]]
    result = distance_inside(mask)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, np.sqrt(squares), rtol=1e-6)


def test_spacing_stretches_its_axis():
    mask = np.ones((3, 4), bool)
    mask[0, 0] = False
    expected = [[0, 1, 2, 3], [2.5, 7.25**0.5, 10.25**0.5, 15.25**0.5]]
    result = distance_inside(mask, (2.5, 1))
    np.testing.assert_allclose(result[:2], expected, rtol=1e-6)


def test_the_edge_of_the_image_is_not_background():
    np.testing.assert_array_equal(
        distance_inside(np.array([[True, True, False, True]])), [[2, 1, 0, 1]]
    )


def test_an_image_full_of_mask_is_as_deep_as_its_diagonal():
    np.testing.assert_allclose(distance_inside(np.ones((3, 4), bool)), 5)


@pytest.mark.parametrize("shape", [(40, 50), (9, 20, 30), (1, 7), (7, 1)])
@pytest.mark.parametrize("spacing", [1.0, 2.3])
def test_random_masks_agree_with_scipy(shape, spacing):
    mask = np.random.default_rng(3).random(shape) < 0.9
    mask.flat[0] = False
    steps = (spacing, *(1.0,) * (len(shape) - 1))
    expected = ndi.distance_transform_edt(mask, sampling=steps)
    np.testing.assert_allclose(distance_inside(mask, steps), expected, rtol=1e-6)


@pytest.mark.parametrize("length", [253, 254, 255, 300, 700])
def test_long_runs_agree_with_scipy_like_short_ones(length):
    # runs of mask of more than 256 pixels are worked on in another way
    mask = np.ones((9, length + 4), bool)
    mask[:, [1, length + 2]] = False
    mask[4, length // 3] = False
    mask[:2, 40] = False
    expected = ndi.distance_transform_edt(mask, sampling=(1, 1.7))
    np.testing.assert_allclose(distance_inside(mask, (1, 1.7)), expected, rtol=1e-6)


def test_columns_without_background_are_as_deep_as_their_neighbours_let_them_be():
    mask = np.ones((4, 5), bool)
    mask[:, 2] = False
    np.testing.assert_array_equal(distance_inside(mask), [[2, 1, 0, 1, 2]] * 4)
