from __future__ import annotations

import numpy as np
import pytest

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.images.image import Field, Image
from napari_unet.core.images.normalisation import measure
from napari_unet.core.training.folds import Fold, hold_out_fold
from napari_unet.core.training.training_set import Example

NAMES = ("background", "cells")


def examples(*slices: int, classes: tuple[int, ...] = (0, 1)) -> list[Example]:
    """Annotated planes, so many of each image."""
    made = []
    for number, count in enumerate(slices):
        image = Image(np.ones((count, 4, 6), np.uint8), "zyx", name=f"image {number}")
        for z in range(count):
            known = np.full((4, 6), IGNORED, np.uint8)
            known[: len(classes)] = np.array(classes)[:, np.newaxis]
            zeros = np.zeros((4, 6), np.float32)
            field = Field(image, 0, z)
            made.append(Example(field, measure(image, 0, "frame"), known, zeros))
    return made


@pytest.mark.parametrize("seed", range(12))
def test_each_example_is_held_out_by_one_network(seed: int) -> None:
    rng = np.random.default_rng(seed)
    known = examples(*rng.integers(1, 4, rng.integers(2, 7)).tolist())
    total = int(rng.integers(2, len(known) + 1))
    held: list[int] = []
    images = {id(e.field.image) for e in known}
    for number in range(total):
        fold = Fold(number, total, seed)
        parted = hold_out_fold(known, fold, NAMES)
        own = [id(part.example) for part in parted.held_out]
        assert own
        assert {id(e) for e in known} - {id(e) for e in parted.examples} == set(own)
        assert all(p.box == (slice(0, 4), slice(0, 6)) for p in parted.held_out)
        assert parted.validation.startswith(f"network {number + 1} of {total}, ")
        if len(images) >= total:
            learnt = {id(e.field.image) for e in parted.examples}
            assert not learnt & {id(p.example.field.image) for p in parted.held_out}
        held += own
        again = hold_out_fold(known, fold, NAMES)
        assert [id(p.example) for p in again.held_out] == own
    assert sorted(held) == sorted(id(e) for e in known)


def test_slices_of_few_images_are_held_out_in_rows() -> None:
    known = examples(7)
    held = [
        [p.example.field.z for p in hold_out_fold(known, Fold(k, 3), NAMES).held_out]
        for k in range(3)
    ]
    assert held == [[0, 1, 2], [3, 4], [5, 6]]


def test_fewer_slices_than_networks_are_refused() -> None:
    words = "take as many annotated ones, found 2"
    with pytest.raises(ValueError, match=words):
        hold_out_fold(examples(2), Fold(0, 3), NAMES)


def test_a_class_that_a_network_would_not_learn_is_named() -> None:
    names = (*NAMES, "mitosis")
    known = [*examples(1), *examples(1, classes=(0, 2)), *examples(1)]
    # one of the three holds all that is known of it out
    refused = []
    for number in range(3):
        try:
            hold_out_fold(known, Fold(number, 3), names)
        except ValueError as error:
            refused.append(str(error))
    (words,) = refused
    assert words.startswith("mitosis would not be learnt by network ")
    # what nobody annotated need not be learnt
    for number in range(2):
        assert hold_out_fold(examples(1, 1), Fold(number, 2), names)
