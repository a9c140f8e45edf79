from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.metrics.restoration import pearson, psnr, ssim

TRUTH = np.array([[0.0, 1.0], [2.0, 10.0]])


def test_psnr_is_of_the_range_and_the_mean_square() -> None:
    # 10 log10(10² / 1)
    assert psnr([TRUTH + 1], [TRUTH]) == pytest.approx(20)
    # squares 0 and 4 over eight pixels, 2 on average
    assert psnr([TRUTH, TRUTH - 2], [TRUTH, TRUTH]) == pytest.approx(
        10 * np.log10(100 / 2)
    )
    assert psnr([TRUTH], [TRUTH]) == float("inf")
    assert psnr([TRUTH], [np.ones((2, 2))]) == float("-inf")


def test_whole_numbers_do_not_wrap_around() -> None:
    truth = np.array([[0, 100]], np.uint8)
    found = np.array([[10, 90]], np.uint8)
    assert psnr([found], [truth]) == pytest.approx(20)


def test_pearson_is_one_for_what_differs_by_brightness_and_contrast() -> None:
    assert pearson([3 * TRUTH + 7], [TRUTH]) == pytest.approx(1)
    assert pearson([-TRUTH], [TRUTH]) == pytest.approx(-1)
    assert pearson([np.ones((2, 2))], [TRUTH]) == 0
    # about one mean of all images, not of each
    assert pearson([TRUTH, TRUTH + 5], [TRUTH, TRUTH]) < 0.9


def test_ssim_is_one_for_equals_and_follows_the_formula_for_a_constant_error() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((2, 30, 40))
    assert ssim([image], [image]) == pytest.approx(1)
    # of two constant images but for one pixel that sets the range: the middle of it
    flat = np.full((40, 40), 0.5)
    flat[0, 0], flat[0, 1] = 0, 1
    found = ssim([flat + 0.25], [flat])
    assert found is not None
    luminance = (2 * 0.5 * 0.75 + 1e-4) / (0.5**2 + 0.75**2 + 1e-4)
    assert found == pytest.approx(luminance, abs=0.02)


def test_ssim_needs_planes_of_its_window() -> None:
    small = np.eye(10)
    assert ssim([small], [small]) is None
    assert ssim([small, np.eye(11)], [small, np.eye(11)]) == pytest.approx(1)
