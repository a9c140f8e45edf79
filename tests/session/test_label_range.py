"""How large the ids of a Labels layer can be."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels

from napari_unet.core.cells.label_ids import positions
from napari_unet.session.annotating.label_range import (
    HIGHEST_SHORT,
    label_dtype,
    make_room,
    values_in,
)


@pytest.mark.parametrize(
    ("highest", "dtype"),
    [(0, np.uint16), (HIGHEST_SHORT, np.uint16), (HIGHEST_SHORT + 1, np.int32)],
)
def test_few_ids_take_16_bits_and_many_32(highest: int, dtype: type) -> None:
    assert label_dtype(highest) == dtype


def test_a_layer_gets_room_before_its_type_is_full() -> None:
    layer = Labels(np.array([[7, 0]], np.uint16))
    make_room(layer, 64_800)
    assert layer.data.dtype == np.uint16
    make_room(layer, 65_000)
    assert layer.data.dtype == np.int32
    np.testing.assert_array_equal(layer.data, [[7, 0]])


def test_a_layer_of_8_bits_gets_16() -> None:
    layer = Labels(np.array([[7, 0]], np.uint8))
    make_room(layer, 254)
    assert layer.data.dtype == np.uint16


@pytest.mark.parametrize("top", [300, 70_000, 2**31 - 1])
def test_values_are_found_however_high_they_are(top: int) -> None:
    labels = np.array([[0, 0, top, top], [5, 0, top, 5]], np.int32)
    np.testing.assert_array_equal(values_in(labels), [0, 5, top])
    values = values_in(labels)
    np.testing.assert_array_equal(values[positions(values, labels)], labels)
    np.testing.assert_array_equal(values_in(labels.T), [0, 5, top])
    assert values_in(labels[:0]).size == 0
