from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_unet.core.annotation.object_classes import annotations_from, classes_of
from napari_unet.core.annotation.pairing import annotated_fields
from napari_unet.core.cells.objects import ObjectClass, Objects
from napari_unet.core.images.image import Image

STACK = np.array([[[0, 7, 7, 3]], [[0, 2**32 - 1, 3, 3]]], np.uint32)
KINDS = (ObjectClass("nuclei"), ObjectClass("mitosis"))


def objects(
    class_of: dict[int, int], kinds: tuple[ObjectClass, ...] = KINDS
) -> Objects:
    return Objects(Image(STACK, "zyx", name="a"), kinds, class_of)


def test_ids_are_numbered_in_their_order_and_keep_their_classes() -> None:
    known = objects({3: 1, 7: 2, 2**32 - 1: 1})
    first, second = annotations_from(known, classes_of([known]), 2)
    assert first.labels.tolist() == [[1, 3, 3, 2]]
    assert second.labels.tolist() == [[1, 4, 2, 2]]
    assert [c.name for c in first.classes] == ["nuclei", "mitosis"]
    assert {c.kind for c in first.classes} == {"cells"}
    assert first.class_image().tolist() == [[0, 2, 2, 1]]
    assert second.class_image().tolist() == [[0, 1, 1, 1]]


def test_an_object_without_a_class_among_several_is_not_annotated() -> None:
    known = objects({3: 1})
    (volume,) = annotations_from(known, classes_of([known]), 3)
    assert volume.labels.tolist() == [[[1, 0, 0, 2]], [[1, 0, 2, 2]]]
    assert volume.class_image()[0].tolist() == [[0, 255, 255, 1]]
    for kinds in ((), (ObjectClass("nuclei"),)):
        one = objects({}, kinds)
        (volume,) = annotations_from(one, classes_of([one]), 3)
        assert volume.labels.tolist() == [[[1, 3, 3, 2]], [[1, 4, 2, 2]]]
        assert volume.class_image().max() == 1


def test_where_nothing_is_known_nothing_is_annotated() -> None:
    unknown = np.zeros(STACK.shape, bool)
    unknown[0, 0, :2] = unknown[1, 0, 0] = True  # an object in it is known
    known = replace(objects({}, ()), unknown=unknown)
    first, second = annotations_from(known, classes_of([known]), 2)
    assert first.labels.tolist() == [[0, 3, 3, 2]]
    assert second.labels.tolist() == [[0, 4, 2, 2]]


def test_the_classes_of_several_files_are_those_of_all() -> None:
    swapped = objects({3: 1, 7: 2, 2**32 - 1: 2}, (KINDS[1], ObjectClass("dead")))
    images = [Image(STACK, "zyx")] * 2
    pairs = annotated_fields(images, [objects({3: 1, 7: 2}), swapped], 2)
    assert len(pairs) == 4
    assert {tuple(c.name for c in a.classes) for _, a in pairs} == {
        ("nuclei", "mitosis", "dead")
    }
    assert pairs[0][1].class_image().tolist() == [[0, 2, 2, 1]]
    assert pairs[2][1].class_image().tolist() == [[0, 3, 3, 2]]


def test_objects_of_another_size_or_beside_plain_labels_are_refused() -> None:
    known = objects({3: 1, 7: 2, 2**32 - 1: 2})
    with pytest.raises(ValueError, match="must have equal sizes"):
        annotated_fields([Image(STACK[:, :, :3], "zyx")], [known], 2)
    plain = Image(np.where(STACK == 7, 1, 0), "zyx")
    with pytest.raises(ValueError, match="must have the same classes"):
        annotated_fields([Image(STACK, "zyx")] * 2, [known, plain], 2, "instances")
