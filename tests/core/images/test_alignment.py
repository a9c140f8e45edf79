from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_unet.core.images.alignment import find_shift


def scene(seed: int = 0, shape: tuple[int, int] = (120, 90)) -> np.ndarray:
    return gaussian_filter(np.random.default_rng(seed).normal(size=shape), 0.7)


def shifted(image: np.ndarray, y: int, x: int, size: int = 64) -> np.ndarray:
    """A part of an image in which all is y further down and x further right."""
    return image[20 - y : 20 - y + size, 12 - x : 12 - x + size]


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, -1), (3, -2), (-11, 7)])
@pytest.mark.parametrize("seed", range(3))
def test_a_shift_is_found_to_the_pixel(seed: int, shift: tuple[int, int]) -> None:
    image = scene(seed)
    assert find_shift(shifted(image, 0, 0), shifted(image, *shift)) == shift


@pytest.mark.parametrize("seed", range(3))
def test_brightness_contrast_sign_and_noise_do_not_matter(seed: int) -> None:
    image = scene(seed)
    rng = np.random.default_rng(seed)
    one, other = shifted(image, 0, 0), shifted(image, 3, -5)
    noisy = one + rng.normal(0, 0.5 * one.std(), one.shape)
    assert find_shift(noisy, 1000 - 40 * other) == (3, -5)


def test_what_has_nothing_in_common_has_no_shift() -> None:
    one, other = scene(1), scene(2)
    assert find_shift(one, other) is None
    assert find_shift(one, np.zeros_like(one)) is None
    assert find_shift(one[:31], one[:31]) is None


def test_what_repeats_itself_is_not_taken_for_shifted() -> None:
    y, x = np.mgrid[:96, :96]
    stripes = np.sin(2 * np.pi * x / 12) + np.sin(2 * np.pi * y / 8)
    rng = np.random.default_rng(0)
    noisy = stripes + rng.normal(0, 0.1, stripes.shape)
    assert find_shift(noisy, stripes) in (None, (0, 0))


@pytest.mark.parametrize("seed", range(3))
def test_a_blurred_copy_is_where_it_is(seed: int) -> None:
    image = scene(seed)
    blurred = gaussian_filter(image, 1.5)
    assert find_shift(shifted(image, 0, 0), shifted(blurred, 0, 0)) == (0, 0)
    assert find_shift(shifted(image, 0, 0), shifted(blurred, 4, 0)) == (4, 0)
