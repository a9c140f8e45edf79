from __future__ import annotations

import pytest

from napari_unet.core.network.architecture import Architecture, Level, u_shape

# 18 -> 16 -> 14, pooled 7 -> 5 -> 3, up 6 -> 4 -> 2
SMALL = u_shape(ndim=2, channels=1, classes=2, width=1, depth=1)


def test_peak_of_a_small_network_is_that_by_hand() -> None:
    assert SMALL.input_size((2, 2)) == (18, 18)
    # the image and what the first convolution makes of it
    assert SMALL.peak_values((2, 2)) == 18**2 + 16**2


def test_peak_where_the_bottom_is_widest_counts_the_skips_above_it() -> None:
    # two maps of 100 channels on 5 × 5 pixels, while the skip of 14 × 14 waits
    bottom = SMALL.levels[1].replace(down=(100, 100))
    wide = SMALL.replace(levels=(SMALL.levels[0], bottom))
    assert wide.peak_values((2, 2)) == 14**2 + 2 * 100 * 5**2


def test_peak_counts_both_paths_where_they_meet() -> None:
    levels = (SMALL.levels[0].replace(up_conv=50), SMALL.levels[1])
    # skip and up-convolved map, and both of them joined on 6 × 6 pixels
    assert SMALL.replace(levels=levels).peak_values((2, 2)) == (
        14**2 + 50 * 6**2 + 51 * 6**2
    )


def test_peak_counts_the_channels_of_the_image() -> None:
    assert SMALL.replace(channels=50).peak_values((2, 2)) == 50 * 18**2 + 16**2


def test_peak_counts_all_axes_of_a_volume() -> None:
    table = u_shape(ndim=3, channels=1, classes=2, width=1, depth=1)
    assert table.peak_values((2, 2, 2)) == 18**3 + 16**3


def test_values_kept_for_the_gradient_are_those_by_hand() -> None:
    # what the convolutions read: from the image down, and up again to the scores
    down = 18**2 + 16**2 + 7**2 + 2 * 5**2
    assert SMALL.trace.kept_values((2, 2)) == down + 2 * 3**2 + 2 * 6**2 + 4**2 + 2**2


def test_the_multiplications_of_a_small_network_are_counted() -> None:
    table = Architecture(
        channels=3,
        classes=4,
        levels=(
            Level(down=(5, 6), up=(7, 8), up_conv=9, kernel=(3, 3), pool=(2, 2)),
            Level(down=(10, 11), kernel=(3, 3), pool=(1, 1)),
        ),
    )
    # 18 -> 16 -> 14, pooled 7 -> 5 -> 3, up 6 -> 4 -> 2
    assert table.input_size((2, 2)) == (18, 18)
    assert table.flops((2, 2)) == (
        16**2 * 9 * 3 * 5
        + 14**2 * 9 * 5 * 6
        + 5**2 * 9 * 6 * 10
        + 3**2 * 9 * 10 * 11
        + 6**2 * 11 * 9
        + 4**2 * 9 * (9 + 6) * 7
        + 2**2 * 9 * 7 * 8
        + 2**2 * 8 * 4
    )


def test_more_reductions_than_any_network_has_are_refused() -> None:
    top = SMALL.levels[0].replace(pool=(10**6, 2))
    with pytest.raises(ValueError, match="reduces maps 1000000 times, at most 4096"):
        assert SMALL.replace(levels=(top, SMALL.levels[1])).halo
