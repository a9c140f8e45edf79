from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_unet.core.images.smoothing import smooth


@pytest.mark.parametrize(
    ("shape", "sigma"),
    [
        ((60, 50), (1.0, 1.0)),
        ((5, 20, 30), (0.4, 1.0, 2.3)),
        ((2, 3), (1.0, 1.0)),  # mirrored more than once
        ((1, 1), (1.0, 1.0)),
        ((40, 30), (1.0, 0.0)),
    ],
)
def test_it_is_scipys_to_the_last_bit(shape, sigma):
    values = np.random.default_rng(5).random(shape, dtype=np.float32)
    before = values.copy()
    smoothed = smooth(values, sigma)
    assert smoothed.dtype == np.float32
    np.testing.assert_array_equal(smoothed, ndi.gaussian_filter(values, sigma))
    np.testing.assert_array_equal(values, before)


def test_a_point_spreads_as_a_bell_along_its_axis():
    values = np.zeros((9, 9), np.float32)
    values[4, 4] = 1
    column = smooth(values, (1.0, 0.0))[:, 4]
    bell = np.exp(-0.5 * np.arange(-4, 5) ** 2)
    np.testing.assert_allclose(column, bell / bell.sum(), rtol=1e-6)


def test_it_reads_any_layout_of_memory():
    values = np.random.default_rng(5).random((20, 30), dtype=np.float32)
    np.testing.assert_array_equal(
        smooth(values.T, (1, 2)), ndi.gaussian_filter(values.T, (1, 2))
    )
