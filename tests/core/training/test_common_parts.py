"""Parts that networks for slices, volumes and other sizes hold out alike."""

from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.images.image import Field, Image
from napari_unet.core.images.normalisation import measure
from napari_unet.core.images.rescaling import ScaledField
from napari_unet.core.training.common_parts import Part, hold_out_parts
from napari_unet.core.training.training_set import Example

IMAGE = Image(np.ones((4, 20, 30), np.uint8), "zyx")
OTHER = Image(np.ones((4, 20, 30), np.uint8), "zyx")
VOLUME = Field(IMAGE, 0, None)


def example(field: Field) -> Example:
    zeros = np.zeros(field.shape, np.uint8)
    return Example(field, measure(field.image, 0, "frame"), zeros, zeros * 0.0)


def test_a_part_of_a_volume_is_found_in_its_slices() -> None:
    part = Part(VOLUME, (slice(1, 3), slice(0, 10), slice(5, 30)))
    found = [part.in_field(Field(IMAGE, 0, z)) for z in range(4)]
    plane = (slice(0, 10), slice(5, 30))
    assert found == [None, plane, plane, None]
    assert part.in_field(Field(OTHER, 0, 1)) is None
    assert part.in_field(Field(IMAGE, 1, 1)) is None
    assert part.in_field(VOLUME) == part.box


def test_a_part_of_a_plane_is_found_in_it_alone() -> None:
    part = Part(Field(IMAGE, 0, 2), (slice(0, 4), slice(0, 4)))
    assert part.in_field(Field(IMAGE, 0, 2)) == part.box
    assert part.in_field(Field(IMAGE, 0, 1)) is None
    assert part.in_field(VOLUME) is None


@pytest.mark.parametrize(
    ("scale", "wanted"),
    [
        # 3 of 20 rows and 12 to 30 of 30: what covers them
        (0.5, (slice(0, 2), slice(6, 15))),
        (2.0, (slice(0, 6), slice(24, 60))),
        (0.3, (slice(0, 1), slice(3, 9))),
    ],
)
def test_a_part_of_another_size_covers_it(
    scale: float, wanted: tuple[slice, slice]
) -> None:
    part = Part(Field(IMAGE, 0, 0), (slice(0, 3), slice(12, 30)))
    assert part.in_field(ScaledField(IMAGE, 0, 0, scale)) == wanted


def test_what_covers_parts_is_held_out_with_a_margin() -> None:
    part = Part(VOLUME, (slice(0, 4), slice(0, 8), slice(0, 8)))
    slices = [example(Field(IMAGE, 0, z)) for z in range(4)]
    stranger = example(Field(OTHER, 0, 0))
    parted = hold_out_parts([*slices, stranger], [part], (2, 3))
    assert [h.example for h in parted.held_out] == slices
    assert all(h.box == (slice(0, 8), slice(0, 8)) for h in parted.held_out)
    assert "of 4 slices the same is held out" in parted.validation
    for left in parted.examples[:4]:
        unknown = left.classes == IGNORED
        assert unknown[:10, :11].all()
        assert np.count_nonzero(unknown) == 110
    assert parted.examples[4] is stranger


def test_what_is_held_out_as_a_whole_is_not_learnt() -> None:
    part = Part(VOLUME, (slice(0, 4), slice(0, 20), slice(0, 30)))
    volume, other = example(VOLUME), example(Field(OTHER, 0, None))
    parted = hold_out_parts([volume, other], [part], (0, 0, 0))
    assert parted.examples == (other,)
    assert [h.example for h in parted.held_out] == [volume]
    shrunk = [example(ScaledField(IMAGE, 0, z, 0.5)) for z in (0, 1)]
    assert hold_out_parts(shrunk, [part], (4, 4)).examples == ()
