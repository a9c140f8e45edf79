from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import Annotation, ClassInfo
from napari_unet.core.annotation.pairing import annotated_fields, annotations_of
from napari_unet.core.images.image import Image

CELLS = np.zeros((12, 14), np.uint16)
CELLS[1:4, 1:4], CELLS[6:9, 2:5], CELLS[2:6, 8:12] = 1, 2, 3
GREY = np.arange(CELLS.size).reshape(CELLS.shape)


def test_an_image_goes_with_its_labels() -> None:
    ((field, annotation),) = annotated_fields([GREY], [CELLS], 2)
    np.testing.assert_array_equal(field.read()[0], GREY)
    # ids from 2 on, 1 is background
    np.testing.assert_array_equal(annotation.labels, CELLS + 1)


def test_each_slice_goes_with_the_labels_of_the_same_slice_and_time() -> None:
    labels = np.stack(
        [CELLS, np.roll(CELLS, 1, 1), CELLS.T[:12, :12].repeat(2, 1)[:, :14]]
    )
    labels = np.stack([labels, labels[::-1]])
    data = labels * 10
    pairs = annotated_fields(
        [Image(data, "tzyx")], [Image(labels, "tzyx")], 2, "instances"
    )
    assert [(f.t, f.z) for f, _ in pairs] == [(t, z) for t in (0, 1) for z in range(3)]
    for field, annotation in pairs:
        np.testing.assert_array_equal(field.read()[0], (annotation.labels - 1) * 10)


def test_axes_may_have_another_order_in_the_labels() -> None:
    data = np.stack([CELLS * 10, CELLS * 20])
    labels = Image(np.stack([CELLS, CELLS], axis=-1), "yxz")
    pairs = annotated_fields([Image(data, "zyx")], [labels], 2)
    assert [f.read().max() for f, _ in pairs] == [30, 60]
    assert [a.labels.max() for _, a in pairs] == [4, 4]


def test_a_volume_is_one_pair() -> None:
    ((field, annotation),) = annotated_fields(
        [np.stack([GREY] * 3)], [np.stack([CELLS] * 3)], 3
    )
    assert field.shape == annotation.labels.shape == (3, 12, 14)
    ((field, annotation),) = annotated_fields([GREY], [CELLS], 3)
    assert field.shape == annotation.labels.shape == (1, 12, 14)


def test_colour_images_take_labels_without_channels() -> None:
    colour = Image(np.stack([GREY] * 3, axis=-1), "yxc")
    ((field, _),) = annotated_fields([colour], [CELLS], 2)
    assert field.read().shape == (3, 12, 14)


def test_images_of_different_sizes_go_together() -> None:
    pairs = annotated_fields([GREY, GREY[:10]], [CELLS, CELLS[:10]], 2)
    assert [f.shape for f, _ in pairs] == [(12, 14), (10, 14)]


def test_slices_of_which_nothing_is_known_are_left_out() -> None:
    labels = np.stack([CELLS, CELLS * 0, CELLS]) + 0
    labels[[0, 2]] += 1
    pairs = annotated_fields([np.stack([GREY] * 3)], [labels], 2, "annotation")
    assert [f.z for f, _ in pairs] == [0, 2]


def test_an_annotation_is_taken_as_it_is() -> None:
    annotation = Annotation(CELLS + 1)
    ((_, taken),) = annotated_fields([GREY], [annotation], 2)
    assert taken is annotation
    finished = Annotation(CELLS * 0, finished=np.ones(CELLS.shape, bool))
    assert annotated_fields([GREY], [finished], 2)[0][1] is finished


def test_an_annotation_belongs_to_one_field() -> None:
    stack = Image(np.stack([GREY] * 3), "zyx", name="stack")
    annotation = Annotation(np.stack([CELLS + 1] * 3))
    with pytest.raises(ValueError, match=r"stack: an annotation.*the image has 3"):
        annotated_fields([stack], [annotation], 2)
    assert len(annotated_fields([stack], [annotation], 3)) == 1


def test_a_slice_with_one_cell_beside_slices_with_many_is_of_their_kind() -> None:
    lone = np.where(CELLS == 3, 3, 0)
    # one cell in two pieces: as a binary mask these would be two cells
    lone[10, 1] = 3
    pairs = annotated_fields([np.stack([GREY] * 2)], [np.stack([CELLS, lone])], 2)
    assert np.unique(pairs[1][1].labels).tolist() == [1, 4]
    ((_, alone),) = annotated_fields([GREY], [lone], 2)
    assert np.unique(alone.labels).tolist() == [1, 2, 3]


def test_all_have_the_same_classes_also_where_the_last_is_missing() -> None:
    pairs = annotated_fields([GREY, GREY], [np.minimum(CELLS, 1), CELLS], 2, "semantic")
    assert [[c.name for c in a.classes] for _, a in pairs] == [
        ["class 1", "class 2", "class 3"]
    ] * 2


def test_sparse_classes_are_counted_from_the_background_on() -> None:
    mask = np.ones_like(CELLS)
    mask[0, 0], mask[-1, -1], mask[0, -1] = 2, 3, 0
    pairs = annotated_fields([GREY, GREY], [np.minimum(mask, 2), mask], 2, "sparse")
    assert [[c.name for c in a.classes] for _, a in pairs] == [
        ["class 1", "class 2"]
    ] * 2
    assert pairs[1][1].class_image()[0, -1] == 255


def test_the_annotations_of_a_stack_come_slice_by_slice() -> None:
    stack = Image(np.stack([CELLS, CELLS * 0]), "zyx")
    found = annotations_of([stack], 2, "instances")
    assert [a.labels.max() for a in found] == [4, 1]
    assert len(annotations_of([stack], 3, "instances")) == 1


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ([], [], r"found 0 image\(s\) and 0 label image\(s\)"),
        ([GREY], [], r"found 1 image\(s\) and 0 label image\(s\)"),
        ([GREY], [CELLS, CELLS], r"found 1 image\(s\) and 2 label image\(s\)"),
        ([GREY], [CELLS[:-1]], "equal sizes.*y 12 and 11, x 14 and 14"),
        ([GREY], [np.stack([CELLS] * 2)], "equal sizes.*z 1 and 2"),
        ([GREY], [Image(np.stack([CELLS] * 2), "cyx")], "one channel, found 2"),
        (
            [GREY, GREY, GREY],
            [CELLS[:-1], CELLS, CELLS[1:, 1:]],
            r"equal sizes.*y 12 and 11, x 14 and 14\. .* y 12 and 11, x 14 and 13\.$",
        ),
    ],
)
def test_images_and_labels_that_do_not_go_together_are_refused(
    images: list[Any], labels: list[Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        annotated_fields(images, labels, 2, "instances")


@pytest.mark.parametrize("kind", ["instances", "binary", "semantic", None])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "found -1"),
        (0.5, "whole numbers, found 0.5"),
        (np.nan, "whole numbers, found nan"),
        (np.inf, "found 0.0 to inf"),
    ],
)
def test_values_that_are_no_labels_are_refused_with_the_name_of_the_file(
    kind: Any, value: float, message: str
) -> None:
    data = np.minimum(CELLS, 1).astype(float)
    data[0, 0] = value
    labels = Image(data, "yx", name="mask.tif")
    with pytest.raises(ValueError, match=rf"^mask\.tif: .*{message}"):
        annotated_fields([GREY], [labels], 2, kind)


def test_ids_of_cells_taken_for_classes_are_refused_at_once() -> None:
    labels = CELLS.astype(np.int64)
    labels[0, 0] = 2**31 - 2
    with pytest.raises(ValueError, match="at most 254 classes, found 2147483646"):
        annotated_fields([GREY], [labels], 2, "semantic")


def test_labels_that_mark_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing is annotated: the labels mark no"):
        annotated_fields([GREY], [CELLS * 0], 2, "annotation")


def test_different_classes_are_refused_by_name() -> None:
    nuclei = Annotation(CELLS + 1, (ClassInfo(name="nuclei"),))
    tissue = Annotation(CELLS + 1, (ClassInfo(name="tissue", kind="regions"),))
    with pytest.raises(
        ValueError, match=r"found nuclei \(cells\) and tissue \(regions\)\.$"
    ):
        annotated_fields([GREY, GREY], [tissue, nuclei], 2)
