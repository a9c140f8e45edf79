"""Updates of a training set whose annotation changes during or between runs.

Held-out parts stay held out, or the network would be validated on training data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.geometry.boxes import full_box
from napari_unet.core.settings import Settings
from napari_unet.core.training.training_set import HeldOut, TrainingSet, without_box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.core.images.image import Field
    from napari_unet.core.training.training_set import Example


class HeldPart(Settings):
    """The held-out part of one field, as stored in a checkpoint."""

    sha256: str
    box: tuple[tuple[int, int], ...]


def example_of(training_set: TrainingSet, field: Field) -> Example | None:
    """Return the whole example of a field, held-out part included; None if unknown."""
    known = [part.example for part in training_set.held_out]
    for example in (*known, *training_set.examples):
        if _same(example.field, field):
            return example
    return None


def with_example(
    training_set: TrainingSet, example: Example, halo: Sequence[int]
) -> TrainingSet:
    """Replace the example of a field by a new one of the whole field, or add it.

    The held-out parts stay, with the new annotation. `halo` is the reach of the network
    in pixels.
    """
    held, boxes = [], []
    for part in training_set.held_out:
        if _same(part.example.field, example.field):
            boxes.append(part.box)
            part = HeldOut(example, part.box)
        held.append(part)
    learnt = example
    for box in boxes:
        learnt = without_box(learnt, box, halo)
    examples = [
        learnt if _same(old.field, example.field) else old
        for old in training_set.examples
    ]
    if not boxes and not any(e is learnt for e in examples):
        examples.append(learnt)
    return TrainingSet(tuple(examples), tuple(held), training_set.validation)


def held_parts(
    training_set: TrainingSet, sha256: Sequence[str]
) -> tuple[HeldPart, ...]:
    """Return the held-out parts for a checkpoint; `sha256` are of their fields."""
    return tuple(
        HeldPart(sha256=key, box=tuple((b.start, b.stop) for b in part.box))
        for key, part in zip(sha256, training_set.held_out, strict=True)
    )


def hold_out_again(
    examples: Sequence[Example],
    sha256: Sequence[str],
    parts: Sequence[HeldPart],
    halo: Sequence[int],
    validation: str,
) -> TrainingSet:
    """Hold out the same parts as before, whatever was annotated since.

    `sha256` are the hashes of the examples' fields. Parts of missing fields are left
    out. `validation` is the sentence of the training set.
    """
    waiting = list(parts)
    learnt, held = [], []
    for example, key in zip(examples, sha256, strict=True):
        # two fields may be equal: each takes one part
        part = next((p for p in waiting if p.sha256 == key), None)
        if part is None:
            learnt.append(example)
            continue
        waiting.remove(part)
        box = tuple(slice(a, b) for a, b in part.box)
        held.append(HeldOut(example, box))
        if box != full_box(example.field.shape):
            learnt.append(without_box(example, box, halo))
    return TrainingSet(tuple(learnt), tuple(held), validation)


def _same(one: Field, other: Field) -> bool:
    return one.image is other.image and (one.t, one.z) == (other.t, other.z)
