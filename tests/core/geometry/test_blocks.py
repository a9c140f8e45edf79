from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.geometry.blocks import cut, within


def test_windows_have_a_margin_as_far_as_the_field_goes():
    first, second = cut((4, 10), (4, 5), (1, 2))
    assert first.core == (slice(0, 4), slice(0, 5))
    assert first.window == (slice(0, 4), slice(0, 7))
    assert second.core == (slice(0, 4), slice(5, 10))
    assert second.window == (slice(0, 4), slice(3, 10))
    assert second.inner == (slice(0, 4), slice(2, 7))


def test_parts_are_even_and_begin_at_the_unit():
    assert [b.core[1] for b in cut((8, 90), (64, 64), unit=16)] == [
        slice(0, 48),
        slice(48, 90),
    ]
    # slices of a volume need not
    assert [b.core[0] for b in cut((5, 8, 8), (3, 8, 8), unit=8)] == [
        slice(0, 3),
        slice(3, 5),
    ]


@pytest.mark.parametrize("shape", [(7, 9), (1, 40), (5, 6, 7), (33, 2, 16)])
@pytest.mark.parametrize("unit", [1, 4])
def test_cores_cover_a_field_once(shape, unit):
    count = np.zeros(shape, int)
    for block in cut(shape, (4,) * len(shape), (3,) * len(shape), unit=unit):
        assert all(c.stop - c.start <= 4 for c in block.core)
        count[block.core] += 1
        window = np.zeros(shape)[block.window]
        window[block.inner] = 1
        assert window.sum() == count[block.core].size
    np.testing.assert_array_equal(count, 1)


def test_what_is_around_a_core_ends_with_its_window():
    block = cut((1, 20), (1, 5), (0, 3))[1]
    assert block.around(2) == (slice(0, 1), slice(3, 12))
    assert block.around(9) == block.window
    assert within(block.core, block.around(2)) == (slice(0, 1), slice(2, 7))
