from __future__ import annotations

import numpy as np

from napari_unet.core.metrics.overlaps import contingency, object_overlaps

TRUTH = np.array([[7, 7, 7, 0], [0, 2, 2, 2]])
PREDICTION = np.array([[5, 5, 0, 0], [5, 5, 9, 9]])


def test_only_touching_pairs_of_objects_are_listed():
    found = object_overlaps(PREDICTION, TRUTH)
    assert found.truth_ids.tolist() == [2, 7]
    assert found.prediction_ids.tolist() == [5, 9]
    pairs = zip(found.truth, found.prediction, found.pixels, strict=True)
    assert sorted(pairs) == [(0, 0, 1), (0, 1, 2), (1, 0, 2)]


def test_sizes_count_pixels_on_background_too():
    found = object_overlaps(PREDICTION, TRUTH)
    assert found.truth_sizes.tolist() == [3, 3]
    assert found.prediction_sizes.tolist() == [4, 2]
    assert sorted(found.iou) == [1 / 6, 2 / 5, 2 / 3]


def test_huge_labels_give_the_same_as_small_ones():
    small = object_overlaps(PREDICTION, TRUTH)
    far = np.uint64(2**40)
    huge = object_overlaps(
        PREDICTION.astype(np.uint64) * far, TRUTH.astype(np.uint64) * far
    )
    assert huge.truth_ids.tolist() == [2 * 2**40, 7 * 2**40]
    assert huge.truth_sizes.tolist() == small.truth_sizes.tolist()
    assert huge.iou.tolist() == small.iou.tolist()


def test_an_image_without_background_loses_no_object():
    full = np.full((2, 2), 3)
    for labels in (full, full * 10**9):
        found = object_overlaps(labels, labels)
        assert found.truth_ids.tolist() == [labels[0, 0]]
        assert found.iou.tolist() == [1]


def test_empty_images_have_no_objects():
    empty = np.zeros((2, 2), int)
    found = object_overlaps(empty, empty)
    assert found.truth_ids.size == found.prediction_ids.size == found.pixels.size == 0


def test_rows_of_the_table_are_the_truth():
    table = contingency(np.array([0, 2, 2]), np.array([1, 1, 0]))
    assert table.toarray().tolist() == [[0, 0, 1], [1, 0, 1]]
