"""Corrections that a model learns at once: how soon they are seen, and what they do.

A simulated annotator, who knows the truth, mends what the model in use has predicted
wrong, one mistake after the other, in a real window.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.accuracy.tasks import TASKS
from benchmarks.interaction.annotator import (
    is_annotated,
    is_right,
    mistakes,
    painted,
)
from napari_unet.io import samples
from napari_unet.io.images import find, read_image, read_labels
from napari_unet.io.pretrained import pretrained_model

if TYPE_CHECKING:
    import napari
    from numpy.typing import NDArray

    from benchmarks.interaction.hand import Hand
    from napari_unet.session.workspace import Workspace

    Pair = tuple[NDArray[Any], NDArray[np.int32]]

_DATA = Path("../shared/data")
# Corrections of all sets together, of one set, and of one image.
MOST, OF_A_SET, OF_AN_IMAGE = 100, 34, 4
# Cells this many times as large as the smallest that are kept can be found.
_LARGER = 1.3
_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Material:
    """Images that are corrected, and others, of one set, by a model.

    Attributes
    ----------
    name : str
    model : Path
    corrected, untouched : list of (image, labels)
        Of one size each, (y, x); of the untouched nothing is in the project.
    """

    name: str
    model: Path
    corrected: list[Pair]
    untouched: list[Pair]


@dataclass(slots=True)
class Tally:
    """What came of the corrections.

    Attributes
    ----------
    seconds : list of float
        From the end of each stroke to the mended cells in view.
    right : list of bool
        Whether what was corrected is right then.
    elsewhere, mended : int
        Mistakes of the same kind in the same image, and how many are right then.
    undone : list of bool
        Whether undo gave back the weights that there were before.
    ap : dict
        Of the untouched images of each set, before and after all corrections.
    """

    seconds: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    elsewhere: int = 0
    mended: int = 0
    undone: list[bool] = field(default_factory=list)
    ap: dict[str, tuple[float, float]] = field(default_factory=dict)

    def measured(self) -> dict[str, Any]:
        """Return the figures."""
        seconds = self.seconds or [float("nan")]
        return {
            "corrections": len(self.right),
            "median": float(np.median(seconds)),
            "p95": float(np.percentile(seconds, 95)),
            "right": float(np.mean(self.right)) if self.right else 0.0,
            "elsewhere": self.mended / max(self.elsewhere, 1),
            "elsewhere_of": self.elsewhere,
            "undone": bool(self.undone) and all(self.undone),
            "ap_change": min((b - a for a, b in self.ap.values()), default=0.0),
            "ap": self.ap,
            "kinds": {k: self.kinds.count(k) for k in sorted(set(self.kinds))},
        }


def materials(folder: Path) -> list[Material]:
    """Return the sets that are there; `folder` is for a model that is trained first."""
    from benchmarks.interaction.material import save_trained

    quick = save_trained(folder / "quick" / "quick.safetensors")
    sets = [Material("samples", quick, *_parted(_samples()[2:]))]
    for name, starter in (
        ("bbbc039", "nuclei"),
        ("dsb2018_fluo", "nuclei"),
        ("usiigaci_phase", "phase_contrast"),
    ):
        if (_DATA / name).is_dir():
            pairs = _of_one_size(_DATA / name)
            sets.append(Material(name, pretrained_model(starter), *_parted(pairs)))
    return sets


class Annotator:
    """Corrects the images of a set in a viewer that shows them as a stack."""

    def __init__(
        self, viewer: napari.Viewer, hand: Hand, workspace: Workspace, tally: Tally
    ) -> None:
        self._viewer, self._hand, self._workspace = viewer, hand, workspace
        self._tally = tally
        image = workspace.images.current
        if image is None:
            raise RuntimeError("the workspace took no image")
        self._image = image.id
        self._layer = workspace.annotating.layers.show(image.id)
        self._next_id = 2
        self._rng = np.random.default_rng(0)

    def correct(self, number: int, truth: NDArray[np.int32], most: int) -> int:
        """Predict a slice and mend what is wrong; return how often something was."""
        hand, prediction = self._hand, self._workspace.prediction
        self._viewer.dims.set_current_step(0, number)
        hand.wait(0.5)
        prediction.predict("slice")
        hand.wait_until(lambda: not prediction.running, _PATIENCE_S)
        self._settle()
        done = 0
        while done < most and self._mend_one(number, truth):
            done += 1
        if done:
            self._undo()
        return done

    def _mend_one(self, number: int, truth: NDArray[np.int32]) -> bool:
        seen, labels = self._cells(number), np.asarray(self._layer.data[number])
        smallest = _LARGER * self._workspace.prediction.segmentation.min_size
        wrong = [
            one
            for one in mistakes(seen, truth, smallest)
            if not is_annotated(one, seen, truth, labels)
        ]
        if not wrong:
            return False
        chosen = wrong[int(self._rng.integers(len(wrong)))]
        strokes = painted(chosen, seen, truth, labels, self._next_id)
        self._next_id += len(strokes)
        self._strokes = len(strokes)
        learning = self._workspace.learning
        self._before, count = self._weights(), learning.count
        for mask, value in strokes:
            at = (np.full(int(mask.sum()), number), *np.nonzero(mask))
            self._layer.data_setitem(at, value)
        began = perf_counter()
        self._hand.wait_until(lambda: learning.count > count, _PATIENCE_S)
        self._settle()
        self._hand.wait_until(lambda: not self._drawing(), _PATIENCE_S)
        self._tally.seconds.append(perf_counter() - began)
        now = self._cells(number)
        self._tally.kinds.append(chosen.kind)
        self._tally.right.append(is_right(chosen, seen, now, truth))
        same = [one for one in wrong if one.kind == chosen.kind and one is not chosen]
        self._tally.elsewhere += len(same)
        self._tally.mended += sum(is_right(one, seen, now, truth) for one in same)
        return True

    def _undo(self) -> None:
        """Take the last correction back: the model is what it was before."""
        learning = self._workspace.learning
        count = learning.count
        for _ in range(self._strokes):
            self._layer.undo()
        self._hand.wait_until(lambda: learning.count < count, _PATIENCE_S)
        self._settle()
        self._tally.undone.append(self._weights() == self._before)
        for _ in range(self._strokes):
            self._layer.redo()
        self._hand.wait_until(lambda: learning.count >= count, _PATIENCE_S)
        self._settle()

    def _settle(self) -> None:
        """Wait until what is in view is that of the model as it is now."""
        workspace = self._workspace
        self._hand.wait_until(
            lambda: not workspace.learning.busy and workspace.prediction.segmenter.idle,
            _PATIENCE_S,
        )

    def _drawing(self) -> bool:
        """Whether something of the results is still to be drawn."""
        results = self._workspace.prediction.results_in_view()
        return results is not None and results.waits_for_drawing

    def _cells(self, number: int) -> NDArray[np.int32]:
        results = self._workspace.prediction.results[self._image]
        return np.array(results.plane("cells", number, 0))

    def _weights(self) -> bytes:
        """Return the weights in the file of the model in use."""
        from napari_unet.io.model_file import load_model

        path = self._workspace.models.selected
        if path is None:
            raise RuntimeError("no model is chosen")
        weights = load_model(path).weights
        return b"".join(weights[name].tobytes() for name in sorted(weights))


def average_precision(model: Path, pairs: list[Pair]) -> float:
    """Return the mean AP, 0.5 to 0.95, of a model's cells in some images."""
    from napari_unet.core.cells.instances import segment_instances
    from napari_unet.core.images.image import Image
    from napari_unet.core.metrics.objects import mean_average_precision
    from napari_unet.engine.inference.overlap_tile import predict
    from napari_unet.engine.network.network import prepare
    from napari_unet.io.model_file import load_model

    loaded = load_model(model)
    network, found = prepare(loaded, file=model), []
    for pixels, _ in pairs:
        *_, finished = predict(network, Image(pixels, "yx"))
        probabilities = np.asarray(finished.probabilities)  # type: ignore[attr-defined]
        found.append(segment_instances(probabilities, loaded.card.segmentation))
    return mean_average_precision(found, [labels for _, labels in pairs])


def tested_images(folder: str) -> set[str]:
    """Return the files of a set by which `docs/accuracy.md` judges: left alone."""
    tasks = [task for task in TASKS.values() if task.folder == folder]
    return {Path(sample.image).name for task in tasks for sample in task.tested}


def _parted(pairs: list[Pair]) -> tuple[list[Pair], list[Pair]]:
    return pairs[0::2], pairs[1::2]


def _samples() -> list[Pair]:
    return [_pair(image.data, labels.data) for image, labels in samples.nuclei()]


def _of_one_size(folder: Path) -> list[Pair]:
    """Read the images of a set that have the size that most of them have."""
    tested = tested_images(folder.name)
    pairs = [
        _pair(read_image(path).data, read_labels(folder / "labels" / path.name).data)
        for path in find([folder / "images"])
        if path.name not in tested
    ]
    shapes = [image.shape for image, _ in pairs]
    usual = max(set(shapes), key=shapes.count)
    return [pair for pair in pairs if pair[0].shape == usual]


def _pair(image: Any, labels: Any) -> Pair:
    return np.asarray(image), np.asarray(labels).astype(np.int32)
