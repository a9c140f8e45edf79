from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.measure import label, regionprops

from napari_unet.core.cells.hulls import hull_sizes


def cells(*rows: str) -> np.ndarray:
    return np.array([[int(letter) for letter in row] for row in rows], np.int32)


@pytest.mark.parametrize(
    ("plane", "sizes"),
    [
        (cells("1"), [1]),
        (cells("111"), [3]),
        (cells("1", "0", "1"), [3]),
        (cells("101", "111"), [6]),
        (cells("100", "000", "001"), [3]),
        # the notch of an L is cut along its diagonal
        (cells("1000", "1000", "1000", "1111"), [10]),
        (cells("1202", "1222"), [2, 6]),
        (cells("000"), []),
    ],
)
def test_hulls_by_hand(plane: np.ndarray, sizes: list[int]) -> None:
    assert hull_sizes(plane).tolist() == sizes


@pytest.mark.parametrize("seed", range(20))
def test_hulls_are_those_of_scikit_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 60, 2)
    smooth = gaussian_filter(rng.random(shape), rng.choice([0.0, 1.0, 3.0]))
    plane = label(smooth > np.quantile(smooth, rng.random())).astype(np.int32)
    if seed % 2:  # cells in pieces
        plane = (plane % 3).astype(np.int32)
        plane = np.unique(plane, return_inverse=True)[1].reshape(shape).astype(np.int32)
        plane = plane if (plane == 0).any() else plane + 1
    expected = [region.area_convex for region in regionprops(plane)]
    assert hull_sizes(plane).tolist() == expected
