"""What a network can learn: to tell classes apart, to make an image, to denoise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Task = Literal["segment", "regress", "denoise"]
Plane = TypeVar("Plane")


@dataclass(frozen=True, slots=True)
class Objective:
    """One thing to learn, as far as people and files see it."""

    # what is done with an image, for sentences
    title: str
    # what goes with each image to learn from; empty if the images are enough
    partner: str
    # kinds of result, as `predict` names their folders
    kinds: tuple[str, ...]
    # settings of `Training` that it needs otherwise than the presets have them, and
    # those for slices alone: volumes have the sizes of the presets
    recipe: Mapping[str, Any] = field(default_factory=dict)
    of_slices: Mapping[str, Any] = field(default_factory=dict)
    # whether a part can be held out to judge by
    is_judged: bool = True


# Pixels stay what they are: mirrored and turned by quarters alone, or interpolation
# would smooth what is to be learnt, and spread noise over neighbours.
_UNCHANGED = {
    "elastic": 0.0,
    "rotation": 0.0,
    "scale": 1.0,
    "brightness": 0.0,
    "contrast": 1.0,
    "gamma": 1.0,
    "noise": 0.0,
    "blur": 0.0,
}

OBJECTIVES: Mapping[str, Objective] = {
    "segment": Objective(
        "segment", "labels", ("probabilities", "classes", "instances")
    ),
    "regress": Objective(
        "turn into another image",
        "targets",
        ("image",),
        {"augmentation": _UNCHANGED, "foreground": 0.0},
    ),
    # noise is told from structure within a few pixels, by many small patches
    "denoise": Objective(
        "denoise",
        "",
        ("image",),
        {"augmentation": _UNCHANGED, "foreground": 0.0, "validation": 0.0},
        {"depth": 2, "patch": 64, "batch": 8},
        is_judged=False,
    ),
}


def spread(planes: Sequence[Plane], most: int = 64) -> list[Plane]:
    """Return planes spread evenly over some, at most so many: noise is alike in all."""
    chosen = np.linspace(0, len(planes) - 1, min(len(planes), most)).round()
    return [planes[int(k)] for k in chosen]


def unchanged(name: str, value: float) -> bool:
    """Whether a setting of the augmentation leaves pixels what they are."""
    return _UNCHANGED.get(name, value) == value
