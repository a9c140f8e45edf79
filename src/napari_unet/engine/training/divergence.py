"""Detection of trainings that diverge or collapse, early enough for a remedy."""

from __future__ import annotations

from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.text import counted
from napari_unet.core.training.training_settings import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_unet.core.training.training_settings import Training
    from napari_unet.engine.network.network import Network
    from napari_unet.engine.training.sampling import Batch

# Steps between two checks whether the weights are worth keeping.
SNAPSHOT_STEPS = 25
# Fewer steps teach too little: of three images of nuclei 10 teach an AP@0.5 of 0.74, 20
# of 0.80, 30 of 0.87, 60 of 0.88. The learning rate rises during the first 20.
FEW = 30
# Steps between two checks which classes are predicted.
CLASS_CHECK_STEPS = 10
# Checks in a row with a single class from which on it is no slow start.
_PATIENCE = 30
# A loss that falls by this share in that time is still improving.
_FALL = 0.02
# Patches that are searched for a second predicted class.
_PATCHES = 8


class SingleClassGuard:
    """Detects a network that predicts one class everywhere and no longer learns.

    It checks each tenth step. A check counts if the labels of the patches have at
    least two classes and the network predicts a single one for all labelled pixels. It
    stops the run after 30 such checks in a row in which the smoothed loss did not fall
    by 2 %. Checks of labels of one class neither count nor end the row. Early in
    training, or with rare classes, a healthy network predicts only background for long,
    but then its loss falls; one that is dead, its last activations all zero, has a loss
    that stays.
    """

    def __init__(self) -> None:
        self.row = 0
        self._loss = 0.0

    def look(self, labelled: int, predicted: int, smoothed: float) -> bool:
        """Add a check; return whether training should stop.

        `labelled` and `predicted` are the numbers of classes among the labels of the
        batch, and among what was predicted for the labelled pixels; `smoothed` is the
        running mean of the loss.
        """
        if labelled < 2:
            return False
        if predicted > 1 or self.row == 0 or smoothed < (1 - _FALL) * self._loss:
            self.row = int(predicted == 1)
            self._loss = smoothed
        else:
            self.row += 1
        return self.row >= _PATIENCE


def too_few(steps: int, settings: Training) -> str | None:
    """Return a warning if a budget in minutes gave too few steps in all runs."""
    if settings.steps or steps >= FEW:
        return None
    done = counted(steps, "step") if steps else "No steps"
    minutes = f"{settings.minutes:g} minute" + "s" * (settings.minutes != 1)
    return (
        f"{done} in {minutes}; the computer is busy, or slow for "
        f"this network. Fewer than {FEW} steps are too few to learn from: train for "
        "more minutes, or for a number of steps."
    )


def sees_one_class(network: Network, batches: Iterable[Batch]) -> int | None:
    """Return the only class that a model predicts where several are annotated.

    None if it predicts several, or only one is annotated. Batches are read until two
    classes were predicted, up to 8 patches.
    """
    known: set[int] = set()
    seen: set[int] = set()
    patches = ((b.image[k], b.classes[k]) for b in batches for k in range(len(b.image)))
    for image, classes in islice(patches, _PATCHES):
        labels = classes.cpu().numpy()
        found = network.of_patch(image.float().cpu().numpy()).argmax(axis=0)
        annotated = labels != IGNORED
        known.update(np.unique(labels[annotated]).tolist())
        seen.update(np.unique(found[annotated]).tolist())
        if len(seen) > 1:
            return None
    return seen.pop() if len(known) > 1 and seen else None


def advice(settings: Training) -> str:
    """Recommend a learning rate after a run that diverged."""
    rate = settings.learning_rate
    preset = PRESETS.get(settings.preset, settings.quick)(settings.ndim)
    usual = min(rate / 5, preset.learning_rate)
    return f"Try a learning rate below {rate:g}, such as {usual:g}"


def loss_trouble(
    loss: float, step: int, smoothed: float | None, lowest: float | None
) -> str | None:
    """Return what is wrong with the loss of a step, None if nothing is.

    `step` counts those done; `smoothed` and `lowest` are the running mean of the loss,
    with this step, and its lowest value so far.
    """
    if not isfinite(loss):
        return "the loss is no longer a number"
    if smoothed is None or lowest is None:
        return None
    if step > SNAPSHOT_STEPS and smoothed > 3 * lowest + 1:
        return f"the loss grew from {lowest:.2g} to {smoothed:.2g}"
    return None
