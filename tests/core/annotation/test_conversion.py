from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_unet.core.annotation.conversion import (
    convert,
    from_binary,
    from_instances,
    from_semantic,
    polygon_ids,
)
from napari_unet.core.annotation.label_kind import guess

if TYPE_CHECKING:
    from napari_unet.core.annotation.annotations import Annotation


def kinds_of(annotation: Annotation) -> list[tuple[str, str]]:
    return [(c.name, c.kind) for c in annotation.classes]


def test_instances_keep_their_ids_plus_one_and_zero_is_background() -> None:
    annotation = from_instances(np.array([[0, 1, 7]], np.uint16))
    assert annotation.labels.tolist() == [[1, 2, 8]]
    assert kinds_of(annotation) == [("cells", "cells")]


def test_areas_touching_at_a_corner_are_two_cells() -> None:
    mask = np.array([[255, 0], [0, 255]], np.uint8)
    assert from_binary(mask).labels.tolist() == [[2, 1], [1, 3]]


def test_voxels_touching_at_a_face_are_one_cell_and_at_an_edge_two() -> None:
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = mask[1, 0, 0] = mask[0, 1, 1] = True
    assert from_binary(mask).labels[mask].tolist() == [2, 3, 2]


def test_classes_are_split_into_areas() -> None:
    mask = np.array([[1, 0, 1, 2, 0, 2]])
    annotation = from_semantic(mask, ["cell", "nucleus"])
    assert annotation.labels.tolist() == [[2, 1, 3, 4, 1, 5]]
    assert annotation.class_of == {2: 1, 3: 1, 4: 2, 5: 2}
    assert annotation.targets().classes.tolist() == mask.tolist()
    assert annotation.targets().instances.tolist() == [[2, 0, 3, 4, 0, 5]]


def test_of_sparse_classes_what_is_not_annotated_stays_so() -> None:
    mask = np.array([[0, 2, 2, 1], [0, 1, 1, 3], [2, 0, 0, 3]], np.uint8)
    found = convert(mask, "sparse")
    assert found.class_image().tolist() == [
        [255, 1, 1, 0],
        [255, 0, 0, 2],
        [1, 255, 255, 2],
    ]
    # each area of a class is an object
    assert found.labels[0, 1] != found.labels[2, 0]
    assert [c.name for c in found.classes] == ["class 1", "class 2"]
    # all of it may be unknown or background
    assert convert(mask // 2 * 0 + 1, "sparse").labels.tolist() == [[1] * 4] * 3
    with pytest.raises(ValueError, match="has class 2, but only 1 names"):
        convert(mask, "sparse", ["cells"])


def test_classes_without_names_are_numbered_also_those_without_pixels() -> None:
    annotation = from_semantic(np.array([[0, 2]]))
    assert kinds_of(annotation) == [("class 1", "cells"), ("class 2", "cells")]
    assert annotation.targets().classes.tolist() == [[0, 2]]


def test_254_classes_are_possible() -> None:
    mask = np.arange(255).reshape(5, 51)
    classes = from_semantic(mask).targets().classes
    assert classes.tolist() == mask.tolist()


def test_an_annotation_is_taken_as_it_is() -> None:
    labels = np.array([[0, 1, 2, 9]])
    assert convert(labels, "annotation").labels.tolist() == labels.tolist()


def test_whole_numbers_stored_as_floats_are_taken() -> None:
    assert from_instances(np.array([[0.0, 3.0]])).labels.tolist() == [[1, 4]]


def test_a_polygon_covers_the_pixels_whose_centres_it_covers() -> None:
    square = np.array([(0.5, 0.5), (0.5, 3.5), (2.5, 3.5), (2.5, 0.5)])
    assert polygon_ids([square], (4, 5)).tolist() == [
        [0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]


def test_later_polygons_lie_on_top() -> None:
    low = np.array([(-0.5, -0.5), (-0.5, 2.5), (0.5, 2.5), (0.5, -0.5)])
    high, far = low + np.array([0, 1]), low + np.array([0, 4])
    assert polygon_ids([low, high, far], (1, 6)).tolist() == [[1, 2, 2, 2, 3, 3]]


def test_what_is_no_polygon_is_refused() -> None:
    with pytest.raises(ValueError, match=r"three vertices .* shape \(2, 2\)"):
        polygon_ids([np.array([(0, 0), (0, 2)])], (3, 3))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((2, 2, 2, 2), int), r"found shape \(2, 2, 2, 2\)"),
        (np.array([[-1, 0]]), "from 0 on, found -1 to 0"),
        (np.array([[0, 2**31 - 1]]), r"found 0 to 2147483647"),
        (np.array([[0, 1.5]]), r"whole numbers, found 1.5"),
        (np.array([[0, np.nan]]), r"whole numbers, found nan"),
        (np.array([[0, np.inf]]), r"found 0.0 to inf"),
        (np.array([["a"]]), r"whole numbers, found <U1"),
    ],
)
def test_what_is_no_mask_is_refused(mask: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert(mask, "instances")


def test_a_binary_mask_of_several_values_is_refused() -> None:
    with pytest.raises(ValueError, match="found 3 others from 1 to 9"):
        from_binary(np.array([[0, 1, 5, 9]]))


@pytest.mark.parametrize(
    ("mask", "names", "message"),
    [
        ([[0, 255]], None, "at most 254 classes, found 255"),
        ([[0, 2]], ["a"], "has class 2, but only 1 names"),
    ],
)
def test_classes_that_do_not_match_are_refused(
    mask: list, names: list | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        from_semantic(np.array(mask), names)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("instances", [[1, 3, 1, 3]]),
        ("binary", [[1, 2, 1, 3]]),
        ("semantic", [[1, 2, 1, 3]]),
        ("annotation", [[0, 2, 0, 2]]),
        ("sparse", [[0, 2, 0, 3]]),
    ],
)
def test_each_kind_gives_the_same_mask_its_own_meaning(
    kind: str, expected: list
) -> None:
    mask = np.array([[0, 2, 0, 2]])
    assert convert(mask, kind).labels.tolist() == expected


def test_names_of_classes_are_passed_on() -> None:
    mask = np.array([[0, 1]])
    for kind in ("instances", "binary", "annotation", "semantic", "sparse"):
        assert convert(mask, kind, ["glia"]).classes[0].name == "glia"


def test_other_kinds_and_too_many_names_are_refused() -> None:
    mask = np.array([[0, 1]])
    with pytest.raises(ValueError, match=r"instances, binary, .* found 'labels'"):
        convert(mask, "labels")
    with pytest.raises(ValueError, match=r"binary have one class, found \['a', 'b'\]"):
        convert(mask, "binary", ["a", "b"])


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("u4", 2**32 - 1), ("i4", 2**31 - 1), ("u8", 2**64 - 1), ("u4", 3 * 10**9)],
)
def test_the_value_of_a_binary_mask_may_be_any(dtype: str, value: int) -> None:
    mask = np.array([[value, 0], [0, value]], dtype)
    assert guess([mask]) == "binary"
    assert from_binary(mask).labels.tolist() == [[2, 1], [1, 3]]
