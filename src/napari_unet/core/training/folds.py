"""Folds: networks trained on one training set, each with another part held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.geometry.boxes import full_box
from napari_unet.core.text import counted
from napari_unet.core.training.training_set import (
    HeldOut,
    TrainingSet,
    count_classes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.core.training.training_set import Example


@dataclass(frozen=True, slots=True)
class Fold:
    """One network of several."""

    number: int  # from 0
    total: int
    seed: int = 0  # from which all of them draw the held-out parts

    @property
    def name(self) -> str:
        """For people."""
        return f"network {self.number + 1} of {self.total}"


def hold_out_fold(
    examples: Sequence[Example], fold: Fold, classes: Sequence[str]
) -> TrainingSet:
    """Hold out the examples of a fold: each example is in one fold.

    Whole images are held out, drawn by the seed of the fold; where these are fewer than
    folds, slices or volumes that follow each other. `classes` are names by the values
    of `Example.classes`. A ValueError says that there are too few, or that a network
    would not learn one of the classes.
    """
    parts = _parts(examples, fold.total, fold.seed)
    rest = tuple(e for e, k in zip(examples, parts, strict=True) if k != fold.number)
    held = [e for e, k in zip(examples, parts, strict=True) if k == fold.number]
    known, learnt = (count_classes(some, len(classes)) for some in (examples, rest))
    for name, there, left in zip(classes, known, learnt, strict=True):
        if there and not left:
            raise ValueError(
                f"{name} would not be learnt by {fold.name}, as all of it is held out: "
                "annotate more of it, or train fewer networks."
            )
    words = f"{fold.name}, {len(held)} of {counted(len(examples), 'slice')} held out"
    return TrainingSet(
        rest, tuple(HeldOut(e, full_box(e.field.shape)) for e in held), words
    )


def _parts(examples: Sequence[Example], total: int, seed: int) -> list[int]:
    """Return the number of the fold of each example."""
    if len(examples) < total:
        raise ValueError(
            f"{total} networks, each with other slices or volumes held out, take as "
            f"many annotated ones, found {len(examples)}."
        )
    images = list(dict.fromkeys(e.field.image for e in examples))
    if len(images) < total:
        return [k * total // len(examples) for k in range(len(examples))]
    drawn = np.random.default_rng([seed, 4]).permutation(len(images)) % total
    part = dict(zip(images, drawn.tolist(), strict=True))
    return [part[e.field.image] for e in examples]
