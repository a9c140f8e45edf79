from __future__ import annotations

import numpy as np

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.images.image import Field, Image
from napari_unet.core.images.normalisation import GreyScale
from napari_unet.core.training.training_set import Example, HeldOut, TrainingSet
from napari_unet.core.training.training_set_updates import (
    HeldPart,
    example_of,
    held_parts,
    hold_out_again,
    with_example,
)

PLAIN = GreyScale((0.0,), (1.0,), (0.0,), (1.0,))
STACK = Image(np.zeros((3, 20, 20)), "zyx")
CORNER = (slice(0, 4), slice(0, 4))
WHOLE = (slice(0, 20), slice(0, 20))


def example(z: int, value: int = 0) -> Example:
    field = Field(STACK, 0, z)
    return Example(
        field, PLAIN, np.full((20, 20), value, np.uint8), np.zeros((20, 20), "f4")
    )


def cornered(whole: Example, halo: int = 3) -> Example:
    classes = whole.classes.copy()
    classes[: 4 + halo, : 4 + halo] = IGNORED
    return Example(whole.field, PLAIN, classes, whole.border)


def test_a_changed_slice_is_learnt_but_for_what_sees_its_held_out_part() -> None:
    first, second = example(0), example(1)
    parted = TrainingSet(
        (cornered(first), cornered(second)),
        (HeldOut(first, CORNER), HeldOut(second, CORNER)),
        "a corner",
    )
    new = example(1, value=1)
    changed = with_example(parted, new, halo=(3, 3))
    assert changed.examples[0] is parted.examples[0]
    np.testing.assert_array_equal(changed.examples[1].classes, cornered(new).classes)
    assert changed.held_out[0] is parted.held_out[0]
    # judged by the new truth
    assert changed.held_out[1].example is new
    assert changed.held_out[1].box == CORNER
    assert changed.validation == "a corner"
    assert example_of(changed, Field(STACK, 0, 1)) is new


def test_a_slice_that_is_held_out_as_a_whole_is_never_learnt() -> None:
    first, second = example(0), example(1)
    parted = TrainingSet((first,), (HeldOut(second, WHOLE),), "one slice")
    new = example(1, value=1)
    changed = with_example(parted, new, halo=(3, 3))
    assert changed.examples == (first,)
    assert changed.held_out[0].example is new


def test_a_new_slice_is_learnt_from_all_over() -> None:
    first = example(0)
    parted = TrainingSet((cornered(first),), (HeldOut(first, CORNER),), "a corner")
    new = example(2, value=1)
    assert example_of(parted, new.field) is None
    changed = with_example(parted, new, halo=(3, 3))
    assert changed.examples == (parted.examples[0], new)
    assert changed.held_out == parted.held_out


def test_without_validation_a_changed_slice_takes_the_place_of_the_old() -> None:
    first, second = example(0), example(1)
    new = example(0, value=1)
    changed = with_example(TrainingSet((first, second), (), "-"), new, halo=(3, 3))
    assert changed.examples == (new, second)
    assert example_of(changed, Field(STACK, 0, 0)) is new


def test_one_slice_is_not_another_of_the_same_place_in_another_image() -> None:
    other = Image(np.zeros((3, 20, 20)), "zyx")
    parted = TrainingSet((example(0),), (), "-")
    assert example_of(parted, Field(other, 0, 0)) is None


def test_what_was_held_out_is_held_out_again_whatever_was_painted_since() -> None:
    first, second = example(0), example(1)
    parted = TrainingSet(
        (cornered(first),), (HeldOut(second, WHOLE), HeldOut(first, CORNER)), "words"
    )
    parts = held_parts(parted, ["b", "a"])
    assert parts[1] == HeldPart(sha256="a", box=((0, 4), (0, 4)))
    now = [example(0, 1), example(2), example(1)]
    again = hold_out_again(now, ["a", "c", "b"], parts, (3, 3), "words")
    assert [e.field.z for e in again.examples] == [0, 2]
    np.testing.assert_array_equal(again.examples[0].classes, cornered(now[0]).classes)
    assert again.examples[1] is now[1]
    assert [(h.example, h.box) for h in again.held_out] == [
        (now[0], CORNER),
        (now[2], WHOLE),
    ]
    assert again.validation == "words"


def test_of_two_equal_slices_each_takes_one_part_and_lost_slices_take_none() -> None:
    parts = (
        HeldPart(sha256="a", box=((0, 4), (0, 4))),
        HeldPart(sha256="gone", box=((0, 4), (0, 4))),
    )
    twins = [example(0), example(1)]
    again = hold_out_again(twins, ["a", "a"], parts, (3, 3), "words")
    assert [h.example for h in again.held_out] == twins[:1]
    assert again.examples[1] is twins[1]
