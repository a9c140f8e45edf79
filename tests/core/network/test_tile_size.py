from __future__ import annotations

from itertools import pairwise
from math import inf, prod

import pytest

from napari_unet.core.network.architecture import Architecture, paper, u_shape
from napari_unet.core.network.tile_size import (
    choose_output,
    halve_output,
    output_for_flops,
    output_with_stride,
)

SMALL = u_shape(ndim=2, channels=1, classes=2, width=1, depth=1)
NARROW = u_shape(ndim=2, channels=1, classes=2, width=16, depth=3)
FLAT = u_shape(ndim=3, channels=1, classes=2, width=2, depth=2, flat=(1, 0, 0))


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
    if table.peak_values(output) > values:
        smallest = output_with_stride(table, (max(table.step),) * table.ndim)
        assert all(o <= s for o, s in zip(output, smallest, strict=True))


def test_one_value_less_than_needed_halves_the_tile() -> None:
    whole = choose_output(paper(), (1024, 1024), inf)
    assert whole == (1028, 1028)
    need = paper().peak_values(whole)
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


@pytest.mark.parametrize("work", [1e9, 1e10, 1e11])
@pytest.mark.parametrize("shape", [(2048, 2048), (300, 900)])
def test_a_tile_takes_no_more_work_than_asked_and_not_much_less(
    shape: tuple[int, int], work: float
) -> None:
    output = output_for_flops(NARROW, shape, work, waste=20)
    whole = output_for_flops(NARROW, shape, 1e15, waste=20)
    assert NARROW.flops(output) <= work
    if output != whole:
        larger = [n + n // 2 + 16 for n in output]
        assert NARROW.flops(NARROW.output_covering(tuple(larger))) > work


def test_a_tile_is_never_mostly_halo() -> None:
    output = output_for_flops(paper(), (2048, 2048), work=1.0, waste=2.2)
    read = prod(paper().input_size(output))
    assert 1.9 < read / prod(output) <= 2.2


def test_a_small_field_is_one_tile() -> None:
    output = output_for_flops(NARROW, (90, 100), work=1e12, waste=4)
    assert all(o // 8 * 8 >= n for o, n in zip(output, (90, 100), strict=True))
    assert max(output) < 130


def test_volumes_have_tiles_too() -> None:
    table = u_shape(ndim=3, channels=1, classes=2, width=8, depth=2)
    output = output_for_flops(table, (40, 300, 300), work=3e9, waste=50)
    assert table.flops(output) <= 3e9
    assert min(output) >= 4
