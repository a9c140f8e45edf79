from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.cells.label_ids import distinct, numbered, pixel_counts, positions

TOP = 2**32 - 1


@pytest.mark.parametrize(
    "labels",
    [
        np.array([[0, 3, 3], [9, 0, 4]], np.uint8),
        np.array([[0, TOP, TOP], [5, 0, TOP - 1]], np.uint32),
        np.array([[0, 2**63, 2**63], [5, 0, 2**63 - 1]], np.uint64),
        np.array([[2**31 - 2, 7, 7], [2**31 - 2, 7, 7]], np.int32),
        np.array([[True, False]]),
    ],
)
def test_ids_that_occur_and_where(labels: np.ndarray) -> None:
    ids = distinct(labels)
    assert ids.tolist() == sorted(set(labels.ravel().tolist()))
    np.testing.assert_array_equal(ids[positions(ids, labels)], labels)


def test_ids_are_numbered_anew_in_their_order_and_alike_in_all() -> None:
    one = np.array([[0, TOP, 7]], np.uint32)
    other = np.array([[7, 100], [0, 0]], np.uint8)
    first, second = numbered([one, other])
    assert (first.tolist(), second.tolist()) == ([[0, 3, 1]], [[1, 2], [0, 0]])
    first, second = numbered([one, other + (other == 0)], first=2)
    assert (first.tolist(), second.tolist()) == ([[0, 4, 2]], [[2, 3], [1, 1]])
    assert numbered([np.zeros((2, 2), int)])[0].tolist() == [[0, 0], [0, 0]]
    assert numbered([]) == []


def test_pixels_are_counted_of_the_ids_that_occur() -> None:
    labels = np.array([[0, TOP, TOP], [5, 0, TOP]], np.uint32)
    assert pixel_counts(labels).tolist() == [1, 3]
    assert pixel_counts(np.zeros((2, 2), int)).tolist() == []
