"""Comparison of a repeated run with the original: in bytes, or in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.io.images import read_image
from napari_unet.io.model_file import load_model, sha256_of
from napari_unet.io.provenance import content_stamp

if TYPE_CHECKING:
    from napari_unet.io.trained_run import PredictedRun, TrainedRun

ENOUGH = 0.999
"""Share of equal pixels from which masks of two machines count as the same."""

_MASKS = ("classes", "instances")


@dataclass(frozen=True, slots=True)
class Compared:
    """One file that was made again."""

    name: str
    same: bool  # byte for byte
    # of masks that differ in bytes: share of pixels that are equal; None if not known
    equal: float | None = None

    @property
    def enough(self) -> bool:
        """Whether it is the same, as far as can be told and machines allow."""
        return self.same or self.equal is None or self.equal >= ENOUGH

    def __str__(self) -> str:
        """For people."""
        if self.same:
            return f"{self.name}: byte for byte the same"
        if self.equal is None:
            return f"{self.name}: differs in its bytes"
        return f"{self.name}: {100 * self.equal:.3f} % of the pixels are the same"


def compare_model(folder: Path, record: TrainedRun, made: Path) -> str | None:
    """Say how a model differs from that of a run; None if all bytes are equal.

    By how much is known if the model file is still beside the folder of its run.
    """
    if sha256_of(made) == record.model_sha256:
        return None
    before = folder.parent / record.model
    try:
        was = sha256_of(before) == record.model_sha256
        old = load_model(before).weights if was else {}
    except (OSError, ValueError):
        old = {}
    new = load_model(made).weights
    if old.keys() != new.keys() or any(old[n].shape != new[n].shape for n in old):
        return "the model differs in its bytes"
    pairs = [(np.asarray(old[n], float), np.asarray(new[n], float)) for n in old]
    most = max(float(np.abs(a - b).max(initial=0)) for a, b in pairs)
    if most == 0:
        return "all weights are the same, what the file tells of them differs"
    return f"the weights differ, by {most:.2g} at the most"


def compare_results(predicted: PredictedRun, output: Path) -> list[Compared]:
    """Compare results in a folder with those that a run had."""
    found = []
    for row in predicted.files:
        for name, stamp in row.results.items():
            made = output / name
            if not made.exists():
                found.append(Compared(name, same=False, equal=0.0))
            elif content_stamp(made) == stamp:
                found.append(Compared(name, same=True))
            else:
                before = Path(predicted.output) / name
                found.append(Compared(name, False, _equal_pixels(before, made, stamp)))
    return found


def _equal_pixels(before: Path, made: Path, stamp: str) -> float | None:
    """Return the share of equal pixels of two masks; None if unknown."""
    if made.parent.name not in _MASKS:
        return None
    try:
        if content_stamp(before) != stamp:
            return None
        old, new = read_image(before), read_image(made)
    except (OSError, ValueError):
        return None
    if old.axes != new.axes or old.data.shape != new.data.shape:
        return 0.0
    return float(np.mean(old.read() == new.read()))
