from __future__ import annotations

from math import prod

import pytest

from napari_unet.core.network.architecture import Architecture, Level, paper, u_shape
from napari_unet.core.network.flops import output_for_flops, tile_flops

NARROW = u_shape(ndim=2, channels=1, classes=2, width=16, depth=3)


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
    assert tile_flops(table, (2, 2)) == (
        16**2 * 9 * 3 * 5
        + 14**2 * 9 * 5 * 6
        + 5**2 * 9 * 6 * 10
        + 3**2 * 9 * 10 * 11
        + 6**2 * 11 * 9
        + 4**2 * 9 * (9 + 6) * 7
        + 2**2 * 9 * 7 * 8
        + 2**2 * 8 * 4
    )


@pytest.mark.parametrize("work", [1e9, 1e10, 1e11])
@pytest.mark.parametrize("shape", [(2048, 2048), (300, 900)])
def test_a_tile_takes_no_more_work_than_asked_and_not_much_less(
    shape: tuple[int, int], work: float
) -> None:
    output = output_for_flops(NARROW, shape, work, waste=20)
    whole = output_for_flops(NARROW, shape, 1e15, waste=20)
    assert tile_flops(NARROW, output) <= work
    if output != whole:
        larger = [n + n // 2 + 16 for n in output]
        assert tile_flops(NARROW, NARROW.output_covering(tuple(larger))) > work


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
    assert tile_flops(table, output) <= 3e9
    assert min(output) >= 4
