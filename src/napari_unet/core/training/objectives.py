"""The tasks that a network can learn: segmentation, image regression, denoising."""

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
    """A task, as far as people and files see it."""

    # verb and object, for sentences
    title: str
    # what is given with each image; empty if the images are enough
    partner: str
    # kinds of result, as `predict` names their folders
    kinds: tuple[str, ...]
    # settings of `Training` that differ from the presets, and those that differ for
    # slices only
    recipe: Mapping[str, Any] = field(default_factory=dict)
    of_slices: Mapping[str, Any] = field(default_factory=dict)
    # whether a part can be held out for validation
    is_judged: bool = True


# Only mirroring and rotation by 90°: interpolation would smooth the targets and
# correlate the noise of neighbours.
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
    # noise and structure differ within a few pixels: many small patches
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
    """Return evenly spaced planes, at most `most`: the noise is the same in all."""
    chosen = np.linspace(0, len(planes) - 1, min(len(planes), most)).round()
    return [planes[int(k)] for k in chosen]


def unchanged(name: str, value: float) -> bool:
    """Whether a setting of the augmentation leaves the values of pixels unchanged."""
    return _UNCHANGED.get(name, value) == value
