from __future__ import annotations

import numpy as np

from napari_unet.core.annotation.annotations import Annotation, ClassInfo
from napari_unet.core.cells.edited import with_annotation


def found() -> np.ndarray:
    cells = np.zeros((12, 24), np.int32)
    cells[2:10, 2:10] = 1
    cells[2:10, 14:22] = 2
    return cells


def test_a_missed_cell_is_as_painted_and_the_others_stay() -> None:
    labels = np.zeros((12, 24), np.int32)
    labels[4:8, 11:13] = 9
    shown = with_annotation(found(), labels)
    assert np.array_equal(shown > 0, (found() > 0) | (labels == 9))
    assert set(np.unique(shown)) == {0, 1, 2, 3}


def test_a_scribble_in_a_cell_belongs_to_it() -> None:
    labels = np.zeros((12, 24), np.int32)
    labels[5, 4:8] = 7
    assert np.array_equal(with_annotation(found(), labels), found())


def test_an_outline_is_mended_by_cell_and_background() -> None:
    labels = np.zeros((12, 24), np.int32)
    labels[2:10, 2:11], labels[2:4, 2:11] = 5, 1
    shown = with_annotation(found(), labels)
    assert np.array_equal(shown == 1, labels == 5)


def test_two_objects_in_one_cell_part_it() -> None:
    labels = np.zeros((12, 24), np.int32)
    labels[2:10, 2:6], labels[2:10, 6:10] = 5, 6
    shown = with_annotation(found(), labels)
    assert len(np.unique(shown[labels == 5])) == 1
    assert len(np.unique(shown[labels == 6])) == 1
    assert set(np.unique(shown)) == {0, 1, 2, 3}


def test_an_object_over_parts_of_a_cell_joins_them() -> None:
    cells = found()
    cells[:, 8:10][cells[:, 8:10] > 0] = 3
    labels = np.where((cells == 1) | (cells == 3), 4, 0)
    shown = with_annotation(cells, labels)
    assert len(np.unique(shown[labels == 4])) == 1
    assert set(np.unique(shown)) == {0, 1, 2}


def test_a_blob_that_is_mostly_background_leaves_the_painted_cell() -> None:
    labels = np.zeros((12, 24), np.int32)
    labels[2:10, 2:10], labels[4:6, 4:6] = 1, 8
    shown = with_annotation(found(), labels)
    assert np.array_equal((shown > 0)[:, :12], (labels == 8)[:, :12])


def test_what_is_painted_as_background_is_no_cell() -> None:
    labels = np.where(found() == 1, 1, 0)
    shown = with_annotation(found(), labels)
    assert np.array_equal(shown > 0, found() == 2)


def test_regions_are_no_cells() -> None:
    labels = np.array([[0, 1, 2, 3]])
    classes = ClassInfo(), ClassInfo(kind="regions")
    painted = Annotation(labels, classes, {2: 1, 3: 2})
    assert painted.without_regions().tolist() == [[0, 1, 2, 0]]
