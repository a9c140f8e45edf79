from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_unet.core.images.image import Image
from napari_unet.core.images.normalisation import GreyScale, check_finite, measure


def grey(
    data: np.ndarray, axes: str = "yx", t: int = 0, rule: Any = "structure"
) -> np.ndarray:
    """The image as a network sees it, shape (channels, ...)."""
    image = Image(data, axes)
    planes = [f.read() for f in image.fields(2) if f.t == t]
    return measure(image, t, rule).apply(np.stack(planes, axis=1))[:, :, ...]


def test_statistics_of_a_whole_frame_are_those_by_hand() -> None:
    scale = measure(Image(np.array([[0, 2], [4, 6]], np.uint8), "yx"), 0, "frame")
    # 0.1 % of the way from the first of four sorted values to the last: 0.003 × 2
    assert scale.low == pytest.approx((0.006,))
    assert scale.high == pytest.approx((5.994,))
    assert scale.mean == pytest.approx((3.0,))
    assert scale.sd == pytest.approx((((2 * 2.994**2 + 2) / 4) ** 0.5,))


@pytest.mark.parametrize(
    ("shape", "cell"),
    [
        ((30, 30), np.s_[9:20, 8:21]),
        ((120, 97), np.s_[50:62, 40:52]),
        ((500, 400), np.s_[101:111, 207:217]),
        ((500, 400), np.s_[101:181, 207:287]),
    ],
)
@pytest.mark.parametrize(("ground", "bright"), [(10, 110), (110, 10)])
def test_structure_has_one_share_whatever_it_covers(
    shape: tuple[int, int], cell: Any, ground: int, bright: int
) -> None:
    data = np.full(shape, ground, np.uint8)
    data[cell] = bright
    scale = measure(Image(data, "yx"))
    # four fifths of the ground, one fifth of the cell
    assert scale.mean == pytest.approx((0.8 * ground + 0.2 * bright,))
    assert scale.sd == pytest.approx((100 * (0.2 * 0.8) ** 0.5,))
    assert (scale.low, scale.high) == ((10.0,), (110.0,))
    assert scale.empty == (None,)


def test_an_empty_rim_is_replaced() -> None:
    scale = GreyScale(
        low=(100, 0), high=(300, 9), mean=(200, 0), sd=(50, 1), empty=((7, 180), None)
    )
    block = np.array([[[7, 8, 200]], [[7, 8, 20]]], np.uint16)
    expected = [[[-0.4, -2, 0]], [[7, 8, 9]]]
    np.testing.assert_allclose(scale.apply(block), expected, atol=1e-6)


def test_values_are_clipped_then_shifted_then_scaled() -> None:
    scale = GreyScale(low=(0.0, 10.0), high=(8.0, 30.0), mean=(4.0, 20.0), sd=(2.0, 5))
    block = np.array([[[-50, 0, 5, 8, 900]], [[0, 10, 25, 30, 31]]], np.int16)
    expected = [[[-2, -2, 0.5, 2, 2]], [[-2, -2, 1, 2, 2]]]
    result = scale.apply(block)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, expected)


def test_the_result_has_mean_0_and_deviation_1_in_each_channel() -> None:
    rng = np.random.default_rng(0)
    data = np.stack([rng.normal(5, 0.1, (60, 50)), rng.gamma(2, 900, (60, 50))]).astype(
        np.float32
    )
    result = grey(data, "cyx", rule="frame")
    np.testing.assert_allclose(result.mean(axis=(1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(result.std(axis=(1, 2, 3)), 1, atol=1e-4)


@pytest.mark.parametrize(("rule", "times"), [("structure", 4), ("frame", 1.5)])
def test_copies_with_8_12_and_16_bits_give_the_same_to_rounding(
    rule: str, times: float
) -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:120, :90]
    smooth = (
        32000 + 15000 * np.sin(y / 9) * np.cos(x / 7) + rng.normal(0, 2000, x.shape)
    )
    bits16 = smooth.astype(np.uint16)
    bits12, bits8 = bits16 >> 4, (bits16 >> 8).astype(np.uint8)
    reference = grey(bits16, rule=rule)
    # half a grey value of the coarser copy, in deviations of the image
    half = 128 / float(bits16.std())
    assert np.abs(grey(bits8, rule=rule) - reference).max() < times * half
    assert np.abs(grey(bits12, rule=rule) - reference).max() < times * half / 16
    # an exact multiple, here the full range of 8 bits in 16, makes no difference
    np.testing.assert_allclose(
        grey(bits8.astype(np.uint16) * 257, rule=rule),
        grey(bits8, rule=rule),
        atol=1e-5,
    )
    np.testing.assert_allclose(
        grey(bits8 / 255.0, rule=rule), grey(bits8, rule=rule), atol=1e-5
    )


def test_a_few_hot_and_dead_pixels_do_not_move_the_rest() -> None:
    rng = np.random.default_rng(2)
    clean = rng.normal(1000, 50, (200, 200)).astype(np.uint16)
    spoilt = clean.copy()
    spoilt.ravel()[::4000] = 65535
    spoilt.ravel()[7::4000] = 0
    before, after = grey(clean), grey(spoilt)
    inner = np.abs(before) < 2.5
    inner.ravel()[::4000] = inner.ravel()[7::4000] = False
    assert np.abs(before - after)[inner].max() < 0.01
    assert np.abs(after).max() < 4.5


@pytest.mark.parametrize("value", [0, 1, 65535, 0.1, -3e-8, 1e12])
def test_a_constant_image_becomes_0(value: float) -> None:
    np.testing.assert_array_equal(grey(np.full((30, 40), value)), 0)


def test_an_image_with_little_contrast_is_not_taken_for_constant() -> None:
    data = np.full((20, 20), 60000, np.uint16)
    data[:, 10:] += 1
    np.testing.assert_allclose(grey(data)[0, 0, 0, [0, 19]], [-1, 1], atol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(bad: float) -> None:
    data = np.ones((2, 8, 9), np.float32)
    data[1, 7, 8] = bad
    image = Image(data, "zyx", name="stack 3")
    with pytest.raises(ValueError, match="stack 3: the image has NaN or infinite"):
        measure(image)
    with pytest.raises(ValueError, match="stack 3: the image has NaN or infinite"):
        check_finite(image, data)
    check_finite(image, data[0])


def test_channels_are_measured_on_their_own() -> None:
    rng = np.random.default_rng(3)
    dim = rng.integers(0, 200, (40, 40)).astype(np.float64)
    first, second = grey(np.stack([dim, 7 * dim + 300]), "cyx")
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_slices_share_one_scale_and_time_points_have_their_own() -> None:
    data = np.zeros((2, 2, 6, 6))
    data[0, 0], data[0, 1] = 10, 20
    data[1] = data[0] * 5 + 1
    data[:, :, ::2] += np.array([1, 5]).reshape(2, 1, 1, 1)
    first, second = (grey(data, "tzyx", t=t) for t in (0, 1))
    # the second slice of a frame stays brighter than its first
    assert (first[0, 1] - first[0, 0] > 1).all()
    np.testing.assert_allclose(first, second, atol=1e-5)


class Spy:
    """A large image made as it is read: brighter to the right, below and deeper."""

    dtype = np.dtype(np.uint16)

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.reads: list[tuple[int, slice, slice]] = []

    def __getitem__(self, key: Any) -> np.ndarray:
        z, y, x = key
        self.reads.append(key)
        rows = np.arange(*y.indices(self.shape[1]))[:, None]
        columns = np.arange(*x.indices(self.shape[2]))
        share = z / self.shape[0] + rows / self.shape[1] + columns / self.shape[2]
        return (share * 10000).astype(np.uint16)

    def pixels(self) -> int:
        return sum(
            len(range(*y.indices(self.shape[1])))
            * len(range(*x.indices(self.shape[2])))
            for _, y, x in self.reads
        )


@pytest.mark.parametrize("shape", [(1, 9000, 12000), (90, 3000, 3500)])
def test_a_large_frame_is_judged_by_blocks_spread_all_over_it(
    shape: tuple[int, int, int],
) -> None:
    spy = Spy(shape)
    scale = measure(Image(spy, "zyx"), 0, "frame")
    assert spy.pixels() <= 2**22 < np.prod(shape)
    # the sum of evenly spread shares: mean 0.5 and variance 1/12 for each long axis
    long = 3 if shape[0] > 1 else 2
    assert scale.mean == pytest.approx((5000 * long,), rel=0.04)
    assert scale.sd == pytest.approx((10000 * (long / 12) ** 0.5,), rel=0.1)
    again = Spy(shape)
    assert measure(Image(again, "zyx"), 0, "frame") == scale
    assert again.reads == spy.reads


def test_blocks_end_at_the_edges_of_a_narrow_frame() -> None:
    spy = Spy((1, 40, 200_000))
    measure(Image(spy, "zyx"), 0, "frame")
    for _, y, x in spy.reads:
        assert (y.start, y.stop) == (0, 40)
        assert 0 <= x.start < x.stop <= 200_000
        assert x.stop - x.start == 256
    assert spy.reads[0][2].start == 0
    assert spy.reads[-1][2].stop == 200_000


def test_a_frame_that_is_not_large_is_read_whole_and_once() -> None:
    spy = Spy((3, 30, 20))
    measure(Image(spy, "zyx"))
    assert [z for z, _, _ in spy.reads] == [0, 1, 2]
    assert spy.pixels() == 3 * 30 * 20


def test_a_few_bright_pixels_in_a_flat_image_are_kept() -> None:
    data = np.full((100, 100), 7, np.uint16)
    data[50, 50:55] = 900  # fewer than one in a thousand
    share = 5 / 10000
    scale = measure(Image(data, "yx"), 0, "frame")
    assert scale.mean == pytest.approx((7 + 893 * share,))
    assert scale.sd == pytest.approx((893 * (share * (1 - share)) ** 0.5,))
    scale = measure(Image(data, "yx"), 0, "structure")
    assert scale.mean == pytest.approx((7 + 893 * 0.2,))
    assert scale.sd == pytest.approx((893 * 0.4,))


@pytest.mark.parametrize(
    ("dtype", "offset", "is_lost"),
    [
        ("u4", 0, False),
        ("u4", 2**24, False),
        ("u4", 2**31, True),
        ("i4", -(2**31) + 500, True),
        ("i8", 2**40, True),
        ("f8", 1e6, False),
        ("f8", 1e9, True),
        ("f8", -1e9, True),
        ("f8", 1e15, False),  # by rounding alone, so it is constant
    ],
)
def test_contrast_that_is_lost_in_float32_is_no_garbage(
    dtype: str, offset: float, is_lost: bool
) -> None:
    rng = np.random.default_rng(0)
    cells = rng.normal(100, 10, (64, 64)).round()
    cells[20:40, 20:40] += 200
    plain, moved = cells.astype(dtype), (cells + offset).astype(dtype)
    if is_lost:
        with pytest.raises(ValueError, match="less than 32 bits can hold; subtract"):
            measure(Image(moved, "yx"))
    elif offset < 1e15:
        np.testing.assert_allclose(grey(moved), grey(plain), atol=0.05)
    constant = np.full((64, 64), offset, dtype)
    np.testing.assert_array_equal(grey(constant), 0)
