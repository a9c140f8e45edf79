from __future__ import annotations

from math import pi

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import Annotation, ClassInfo
from napari_unet.core.annotation.pairing import annotated_fields
from napari_unet.core.images.image import Field, Image
from napari_unet.core.training.fingerprint import fingerprint

CELLS = (ClassInfo(),)


def image(*shape: int, axes: str = "yx", um: tuple[float, ...] | None = None) -> Image:
    return Image(np.zeros(shape, np.uint8), axes, um, "image")


def test_a_plane_is_counted_by_hand() -> None:
    labels = np.zeros((6, 8), np.int32)
    labels[:3] = 1
    labels[0, :4], labels[2, :2], labels[1, :6] = 2, 3, 7
    found = fingerprint([(Field(image(6, 8)), Annotation(labels))])
    assert found.sizes == ((1, 6, 8),)
    assert found.channels == 1
    # cells of 4, 2 and 6 pixels, the rest of three rows of 8 is background
    assert found.pixels == (12, 12)
    assert found.annotated == 24
    assert found.diameter == pytest.approx(2 * (4 / pi) ** 0.5)
    assert (found.span, found.neighbours, found.step) == (1, 1, None)


def test_a_cell_is_as_wide_as_where_it_is_widest_and_an_id_goes_through_slices() -> (
    None
):
    labels = np.ones((10, 4, 4), np.int32)
    for z, side in enumerate((1, 2, 3, 1), start=3):
        labels[z, :side, :side] = 5
    labels[4, 3, 3] = 6
    stack = image(10, 4, 4, axes="zyx", um=(1.0, 0.4, 0.1))
    volume = fingerprint([(Field(stack, z=None), Annotation(labels))])
    # the cells have 9 and 1 pixels where they are widest, and show in 4 slices and in 1
    assert volume.diameter == pytest.approx(2 * (5 / pi) ** 0.5)
    assert volume.span == 2.5
    assert (volume.neighbours, volume.slices) == (10, 10)
    assert volume.step == pytest.approx(5)
    assert volume.pixels == (160 - 16, 16)
    planes = [(Field(stack, z=z), Annotation(labels[z])) for z in range(10)]
    assert fingerprint(planes) == volume


def test_slices_in_a_row_and_ids_count_within_a_frame() -> None:
    film = image(2, 6, 3, 3, axes="tzyx")
    plane = np.full((3, 3), 2, np.int32)
    places = [(0, 0), (0, 1), (0, 4), (1, 5)]
    pairs = [(Field(film, t, z), Annotation(plane)) for t, z in places]
    found = fingerprint(pairs)
    # slices 0, 1 and 4 of the first frame: three with the cell, two in a row
    assert found.neighbours == 2
    assert found.span == 2
    assert found.sizes == ((6, 3, 3),) * 2


def test_volumes_without_annotation_in_some_slices_and_finished_parts() -> None:
    labels = np.zeros((5, 3, 3), np.int32)
    finished = np.zeros((5, 3, 3), bool)
    labels[1, 0, 0], finished[2], finished[4, 0] = 2, True, True
    known = Annotation(labels, finished=finished)
    found = fingerprint([(Field(image(5, 3, 3, axes="zyx"), z=None), known)])
    assert found.neighbours == 2
    assert found.pixels == (9 + 3, 1)


def test_regions_have_no_size_and_classes_are_counted_apart() -> None:
    labels = np.array([[2, 2, 3, 1], [0, 0, 3, 3]], np.int32)
    classes = (ClassInfo(name="nuclei"), ClassInfo(name="tissue", kind="regions"))
    known = Annotation(labels, classes, {3: 2})
    found = fingerprint([(Field(image(2, 4)), known)])
    assert found.pixels == (1, 2, 3)
    assert found.diameter == pytest.approx(2 * (2 / pi) ** 0.5)
    only = fingerprint(
        [(Field(image(2, 4)), Annotation(labels, classes, {2: 2, 3: 2}))]
    )
    assert (only.diameter, only.span) == (None, None)


def test_the_same_ids_in_other_images_are_other_cells() -> None:
    rng = np.random.default_rng(0)
    widths = rng.integers(3, 9, (3, 4))
    labels = np.zeros((3, 10, 40), np.int32)
    for plane, row in zip(labels, widths, strict=True):
        for cell, width in enumerate(row.tolist()):
            plane[1:9, 10 * cell : 10 * cell + width] = cell + 1
    images = [image(10, 40) for _ in labels]
    found = fingerprint(annotated_fields(images, list(labels), 2, "instances"))
    assert found.diameter == pytest.approx(2 * (np.median(8 * widths) / pi) ** 0.5)
    assert found.span == 1
    assert found.sizes == ((1, 10, 40),) * 3


def test_nothing_seen_is_nothing_to_plan_by() -> None:
    with pytest.raises(ValueError, match=r"^nothing is annotated: "):
        fingerprint([])
