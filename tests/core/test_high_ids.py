"""Ids are names: how high they are costs neither memory nor time."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import Annotation
from napari_unet.core.annotation.pairing import annotated_fields, kind_of
from napari_unet.core.cells.measurements import measure
from napari_unet.core.cells.segmentation_tuning import Judged
from napari_unet.core.images.image import Image
from napari_unet.core.metrics import METRICS
from napari_unet.core.settings import BorderWeights
from napari_unet.core.training.training_set import cell_sizes, make_example

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL = np.zeros((64, 64), np.int64)
for number, corner in enumerate(range(4, 60, 10), start=1):
    SMALL[corner : corner + 4 + number % 2, corner : corner + 4] = number
GREY = SMALL * 100


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()


def high(top: int, dtype: type) -> np.ndarray:
    """The same cells with ids up to `top`, in the same order."""
    return np.where(SMALL > 0, SMALL + top - 6, 0).astype(dtype)


@pytest.mark.parametrize(
    ("top", "dtype"),
    [(10**8, np.int32), (2**31 - 2, np.int32), (2**32 - 1, np.uint32), (2**53, float)],
)
@pytest.mark.parametrize("kind", [None, "instances"])
def test_masks_become_the_annotation_that_small_ids_make(
    top: int, dtype: type, kind: str | None
) -> None:
    ((field, found),) = annotated_fields([GREY], [high(top, dtype)], 2, kind)
    np.testing.assert_array_equal(found.labels, SMALL + 1)
    example = make_example(field, found, BorderWeights())
    ((_, small),) = annotated_fields([GREY], [SMALL], 2, "instances")
    expected = make_example(field, small, BorderWeights())
    np.testing.assert_array_equal(example.classes, expected.classes)
    np.testing.assert_array_equal(example.border, expected.border)


def test_annotations_keep_what_is_background_and_unknown() -> None:
    mask = high(2**32 - 1, np.uint32)
    mask[:, 60:] = 1
    ((_, found),) = annotated_fields([GREY], [mask], 2, "annotation")
    expected = np.where(SMALL > 0, SMALL + 1, 0)
    expected[:, 60:] = 1
    np.testing.assert_array_equal(found.labels, expected)


def test_the_kind_of_masks_is_found() -> None:
    assert kind_of([Image(high(2**32 - 1, np.uint32), "yx")]) == "instances"


def test_annotated_cells_are_measured_and_judged() -> None:
    labels = high(2**31 - 1, np.int32)
    annotation = Annotation(labels, class_of={2**31 - 1: 1})
    # six squares of 4 x 4, every second of them one row higher
    assert sorted(cell_sizes([annotation])) == [16, 16, 16, 20, 20, 20]
    np.testing.assert_array_equal(annotation.targets().instances, labels)
    known = np.ones(labels.shape, bool)
    judged = Judged(np.zeros((2, 64, 64), np.float32), labels, known, (1.0, 1.0))
    np.testing.assert_array_equal(judged.true(17), labels)
    table = measure(labels, GREY[np.newaxis])
    assert table["label"].tolist() == sorted(set(labels[labels > 0].tolist()))
    assert table["area_px"].tolist() == [20, 16, 20, 16, 20, 16]
    assert table["channel0_mean"].tolist() == [100, 200, 300, 400, 500, 600]
    assert not table["touches_border"].any()


@pytest.mark.parametrize("name", ["ap", "seg", "det"])
def test_objects_are_compared(name: str) -> None:
    found = METRICS[name].measure([high(2**31 - 2, np.int32)], [high(10**9, np.uint32)])
    assert next(iter(found.values())) == 1.0
