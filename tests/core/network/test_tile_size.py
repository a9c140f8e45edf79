from __future__ import annotations

from itertools import pairwise
from math import inf

import pytest

from napari_unet.core.network.architecture import Architecture, paper, u_shape
from napari_unet.core.network.tile_size import (
    choose_output,
    halve_output,
    kept_values,
    output_with_stride,
    peak_values,
)

SMALL = u_shape(ndim=2, channels=1, classes=2, width=1, depth=1)
FLAT = u_shape(ndim=3, channels=1, classes=2, width=2, depth=2, flat=(1, 0, 0))


def test_peak_of_a_small_network_is_that_by_hand() -> None:
    # An input of 18 × 18 for an output of 2 × 2. The expanding path counts most: skip,
    # up-convolved map and both joined (twice 2), two convolutions of 1: 6 maps.
    assert SMALL.input_size((2, 2)) == (18, 18)
    assert peak_values(SMALL, (2, 2)) == 18 * 18 * 6


def test_peak_where_the_bottom_is_widest_counts_the_skips_above_it() -> None:
    # A bottom of 2 + 2 maps on 7 × 7 pixels grows with its width, a skip stays alive.
    bottom = SMALL.levels[1].replace(down=(100, 100))
    wide = SMALL.replace(levels=(SMALL.levels[0], bottom))
    assert peak_values(wide, (2, 2)) == 18 * 18 + 7 * 7 * (1 + 200)


def test_peak_counts_the_channels_of_the_image() -> None:
    many = SMALL.replace(channels=50)
    assert peak_values(many, (2, 2)) == 18 * 18 * (50 + 2)


def test_peak_counts_all_axes_of_a_volume() -> None:
    table = u_shape(ndim=3, channels=1, classes=2, width=1, depth=1)
    assert peak_values(table, (2, 2, 2)) == 18**3 * 6


def test_values_kept_for_the_gradient_are_those_by_hand() -> None:
    # The image and one map of 16 × 16, then one of 7 × 7 and two of 5 × 5.
    assert kept_values(SMALL, (2, 2)) == 18 * 18 + 16 * 16 + 7 * 7 + 2 * 5 * 5


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((100, 100), (100, 100)),
        # 1024 at most, and two even tiles rather than a full one and a sliver
        ((1025, 1024), (516, 1024)),
        ((1, 1), (4, 4)),
        ((3000, 40), (1000, 40)),
    ],
)
def test_tiles_cut_a_field_evenly(
    shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=4, depth=2)
    assert choose_output(table, shape, inf) == expected


@pytest.mark.parametrize("table", [SMALL, paper(), FLAT], ids=["small", "paper", "3-D"])
@pytest.mark.parametrize("size", [1, 17, 300, 5000])
@pytest.mark.parametrize("values", [0, 1e5, 1e7, 1e9])
def test_chosen_tiles_are_valid_and_fit_or_are_the_smallest(
    table: Architecture, size: int, values: float
) -> None:
    output = choose_output(table, (size,) * table.ndim, values)
    assert table.output_size(table.input_size(output)) == output
    assert all(o >= s for o, s in zip(output, table.step, strict=True))
    if peak_values(table, output) > values:
        smallest = output_with_stride(table, (max(table.step),) * table.ndim)
        assert all(o <= s for o, s in zip(output, smallest, strict=True))


def test_one_value_less_than_needed_halves_the_tile() -> None:
    whole = choose_output(paper(), (1024, 1024), inf)
    assert whole == (1028, 1028)
    need = peak_values(paper(), whole)
    assert choose_output(paper(), (1024, 1024), need) == whole
    assert choose_output(paper(), (1024, 1024), need - 1) == (516, 516)


def test_halving_goes_down_to_the_step_and_ends() -> None:
    outputs = [(516, 516)]
    while (smaller := halve_output(paper(), outputs[-1])) is not None:
        outputs.append(smaller)
    assert outputs == [(n, n) for n in (516, 260, 132, 68, 36, 20)]


def test_halving_a_volume_keeps_the_step_of_each_axis() -> None:
    outputs = [choose_output(FLAT, (30, 200, 200), inf)]
    while (smaller := halve_output(FLAT, outputs[-1])) is not None:
        outputs.append(smaller)
    assert len(outputs) > 3
    for large, small in pairwise(outputs):
        assert all(a >= b for a, b in zip(large, small, strict=True))
    assert outputs[-1] == output_with_stride(FLAT, FLAT.step)


@pytest.mark.parametrize("stride", range(1, 60))
def test_the_output_is_the_smallest_that_advances_by_the_stride(stride: int) -> None:
    # The paper's outputs are 4, 20, 36, ..., and advance by whole steps of 16.
    valid = (16 * k - 60 for k in range(4, 20))
    expected = next(n for n in valid if n // 16 * 16 >= stride)
    assert output_with_stride(paper(), (stride, 388)) == (expected, 404)
