from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.cells.objects import ObjectClass, Objects
from napari_unet.core.images.image import Image


def test_planes_come_with_their_places_time_outermost():
    labels = np.arange(2 * 3 * 1 * 2).reshape(2, 3, 1, 2)
    found = list(Objects(Image(labels, "tzyx")).planes())
    assert [(p.t, p.z) for p in found] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
        (1, 2),
    ]
    np.testing.assert_array_equal(found[4].ids, [[8, 9]])


def test_axes_may_be_in_any_order():
    labels = np.arange(6).reshape(3, 1, 2)
    found = list(Objects(Image(labels, "xyt")).planes())
    np.testing.assert_array_equal(found[1].ids, [[1, 3, 5]])


@pytest.mark.parametrize("wrong", [-1, 2**32])
def test_ids_are_from_0_to_32_bits(wrong: int):
    objects = Objects(Image(np.array([[0, wrong]]), "yx", name="a"))
    with pytest.raises(
        ValueError, match=r"^a: ids of objects are from 0 to 4294967295"
    ):
        list(objects.planes())


@pytest.mark.parametrize("wrong", [1.5, -0.1, float("nan")])
def test_probabilities_are_0_to_1(wrong: float):
    labels = Image(np.zeros((2, 2), int), "yx")
    with pytest.raises(ValueError, match=f"0 to 1, found {wrong} for object 3"):
        Objects(labels, probability_of={3: wrong})


def test_real_numbers_channels_and_classes_that_are_none_are_refused():
    with pytest.raises(ValueError, match="found float64 with axes 'yx'"):
        Objects(Image(np.zeros((2, 2)), "yx"))
    with pytest.raises(ValueError, match="without channels"):
        Objects(Image(np.zeros((1, 2, 2), int), "cyx"))
    with pytest.raises(ValueError, match="numbered 1 to 1, found 2 for object 7"):
        Objects(Image(np.zeros((2, 2), int), "yx"), (ObjectClass("a"),), {7: 2})
