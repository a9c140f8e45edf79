"""What a model makes of corrections: no window, no worker, only what is learnt.

`python -m benchmarks.interaction.generalising [SET...]` prints the figures of each set:
the simulated annotator mends one mistake after the other. No image that
`docs/accuracy.md` tests is looked at.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.interaction.annotator import (
    is_annotated,
    is_right,
    mistakes,
    painted,
)
from benchmarks.interaction.corrections import tested_images
from napari_unet.core.annotation.annotations import Annotation
from napari_unet.core.cells.edited import with_annotation
from napari_unet.core.cells.instances import segment_instances
from napari_unet.core.events import TrainingFinished
from napari_unet.core.geometry.boxes import around
from napari_unet.core.images.image import Field, Image
from napari_unet.core.metrics.objects import mean_average_precision
from napari_unet.core.training.training_set import make_example
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.network.network import prepare
from napari_unet.engine.training.learner import Learner
from napari_unet.engine.training.train import train
from napari_unet.io import samples
from napari_unet.io.images import find, read_image, read_labels
from napari_unet.io.model_file import load_model
from napari_unet.io.pretrained import pretrained_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.model import Model

    Pair = tuple[NDArray[Any], NDArray[np.int32]]

_DATA = Path("../shared/data")
# What is corrected: a set, its starter or "quick", a model that learns sample nuclei
# for `_QUICK_STEPS` first, and the side of the parts that are looked at.
SETS = {
    "quick": ("bbbc039", "quick", 260),
    "dsb2018_fluo": ("dsb2018_fluo", "nuclei", 256),
    "bbbc039": ("bbbc039", "nuclei", 260),
    "usiigaci_phase": ("usiigaci_phase", "phase_contrast", 330),
}
_QUICK_STEPS = 60
# Images that are corrected, and that are not, and corrections of one image.
CORRECTED, UNTOUCHED, OF_AN_IMAGE = 4, 12, 4
# Those that are corrected are the worst of so many.
_LOOKED_AT = 24
# Cells this many times as large as the smallest that are kept can be found.
_LARGER = 1.3


@dataclass(slots=True)
class Figures:
    """What came of the corrections of a set.

    Attributes
    ----------
    learnt, shown : list of bool
        Whether what was corrected is right by what the network says alone, and as it
        is shown, with what was painted put over it.
    elsewhere, mended : int
        Mistakes of the same kind in the same image, and how many are right after a
        correction.
    changes : list of int
        How many mistakes elsewhere in the image are more after a correction.
    seconds, steps : list
        Of the processor, and of the optimiser, to learn one.
    ap : (float, float)
        Of the untouched images, before and after: mean AP from 0.5 to 0.95.
    of_image : list of (float, float)
        The same of each corrected image, by the network alone.
    """

    learnt: list[bool] = field(default_factory=list)
    shown: list[bool] = field(default_factory=list)
    elsewhere: int = 0
    mended: int = 0
    changes: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    ap: tuple[float, float] = (0.0, 0.0)
    of_image: list[tuple[float, float]] = field(default_factory=list)

    def __str__(self) -> str:
        same = f"{self.mended}/{self.elsewhere}"
        own = np.mean(self.of_image or [(0, 0)], axis=0)
        return (
            f"{len(self.learnt)} corrections; right: shown {np.mean(self.shown):.2f}, "
            f"by the network alone {np.mean(self.learnt):.2f}; same kind elsewhere "
            f"{same} = {self.mended / max(self.elsewhere, 1):.2f}; fewer mistakes by "
            f"{-np.mean(self.changes):.2f} each; AP of corrected images {own[0]:.4f} → "
            f"{own[1]:.4f}; AP of untouched {self.ap[0]:.4f} → {self.ap[1]:.4f}; "
            f"{np.median(self.seconds):.1f} s of CPU and {np.median(self.steps):.0f} "
            f"steps, the longest {np.max(self.seconds):.1f} s"
        )


class _Annotator:
    """Corrects images, each a field of what one learner knows."""

    def __init__(self, model: Model, pairs: list[Pair]) -> None:
        self.learner = Learner(model, "cpu", seconds=1e9)
        self.settings = model.card.segmentation
        self._pairs, self._ids = pairs, count(2)
        self._labels = [np.zeros(truth.shape, np.int32) for _, truth in pairs]
        self._rng = np.random.default_rng(0)
        for number in range(len(pairs)):
            self._know(number)
        self.learner.begin()

    def correct(self, number: int, figures: Figures) -> None:
        """Mend a few mistakes of an image."""
        truth, labels = self._pairs[number][1], self._labels[number]
        smallest = _LARGER * self.settings.min_size
        first = seen = self._cells(number)
        for _ in range(OF_AN_IMAGE):
            found = [
                one
                for one in mistakes(seen, truth, smallest)
                if not is_annotated(one, seen, truth, labels)
            ]
            if not found:
                break
            chosen = found[int(self._rng.integers(len(found)))]
            strokes = painted(chosen, seen, truth, labels, next(self._ids) * 100)
            for mask, value in strokes:
                labels[mask] = value
            self._know(number)
            box = around(np.any([mask for mask, _ in strokes], axis=0))
            if box is None:  # nothing was painted
                continue
            began = process_time()
            for _ in self.learner.learn([(number, box)]):
                pass
            figures.seconds.append(process_time() - began)
            figures.steps.append(self.learner.steps)
            now = self._cells(number)
            shown = with_annotation(now, labels)
            figures.learnt.append(is_right(chosen, seen, now, truth))
            figures.shown.append(is_right(chosen, seen, shown, truth))
            same = [m for m in found if m.kind == chosen.kind and m is not chosen]
            figures.elsewhere += len(same)
            figures.mended += sum(is_right(m, seen, now, truth) for m in same)
            left = [
                m
                for m in mistakes(now, truth, smallest)
                if not is_annotated(m, now, truth, labels)
            ]
            figures.changes.append(len(left) - (len(found) - 1))
            seen = now
        scores = [mean_average_precision([c], [truth]) for c in (first, seen)]
        figures.of_image.append((scores[0], scores[1]))

    def _know(self, number: int) -> None:
        card = self.learner.card
        annotation = Annotation(self._labels[number].copy(), card.classes)
        place = Field(Image(self._pairs[number][0], "yx"), 0, 0)
        example = make_example(
            place, annotation, card.training.border, card.normalisation
        )
        self.learner.know(number, example)

    def _cells(self, number: int) -> NDArray[np.int32]:
        return cells(self.learner.model(), self._pairs[number][0])


def cells(model: Model, pixels: NDArray[Any]) -> NDArray[np.int32]:
    """Return the cells that a model finds in a plane."""
    *_, last = predict(prepare(model, "cpu"), Image(pixels, "yx"))
    probabilities = np.asarray(last.probabilities)  # type: ignore[attr-defined]
    return segment_instances(probabilities, model.card.segmentation)


def average_precision(model: Model, pairs: list[Pair]) -> float:
    """Return the mean AP, 0.5 to 0.95, of a model's cells in some planes."""
    found = [cells(model, pixels) for pixels, _ in pairs]
    return mean_average_precision(found, [truth for _, truth in pairs])


def pairs_of(name: str, side: int) -> list[Pair]:
    """Return parts of the images of a set that no page on accuracy tests."""
    tested, folder = tested_images(name), _DATA / name
    found = []
    for path in find([folder / "images"]):
        if path.name in tested:
            continue
        image = np.asarray(read_image(path).data)
        truth = np.asarray(read_labels(folder / "labels" / path.name).data)
        for y in range(0, image.shape[-2] - side + 1, side):
            for x in range(0, image.shape[-1] - side + 1, side):
                part = np.s_[y : y + side, x : x + side]
                found.append((image[part], truth[part].astype(np.int32)))
    order = np.random.default_rng(0).permutation(len(found))
    return [found[i] for i in order]


def quick_model() -> Model:
    """Return a model that has learnt two of the sample images, for a short while."""
    images, labels = zip(*samples.nuclei()[:2], strict=True)
    settings = Training.quick().replace(minutes=0, steps=_QUICK_STEPS)
    *_, last = train(images, labels, settings, kind="instances", device="cpu")
    if not isinstance(last, TrainingFinished):
        raise RuntimeError("the training did not end")
    return last.model


def figures_of(name: str) -> Figures:
    """Correct images of a set, and look what that did."""
    folder, starter, side = SETS[name]
    quick = starter == "quick"
    model = quick_model() if quick else load_model(pretrained_model(starter))
    pairs = pairs_of(folder, side)
    untouched, rest = pairs[:UNTOUCHED], pairs[UNTOUCHED:]
    figures = Figures()
    # an annotator corrects what has mistakes
    smallest = _LARGER * model.card.segmentation.min_size

    def count_mistakes(pair: Pair) -> int:
        return len(mistakes(cells(model, pair[0]), pair[1], smallest))

    worst = sorted(rest[:_LOOKED_AT], key=count_mistakes, reverse=True)[:CORRECTED]
    annotator = _Annotator(model, worst)
    for number in range(len(worst)):
        annotator.correct(number, figures)
    after = annotator.learner.model()
    figures.ap = (
        average_precision(model, untouched),
        average_precision(after, untouched),
    )
    return figures


def main() -> None:
    """Print the figures of some sets, or of all."""
    for name in sys.argv[1:] or SETS:
        print(f"{name}: {figures_of(name)}", flush=True)


if __name__ == "__main__":
    main()
