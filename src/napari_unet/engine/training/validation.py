"""The score of a network on the held-out part of the annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.cells.segmentation_tuning import Judged
from napari_unet.core.events import ValidationTile
from napari_unet.core.geometry.boxes import shape_of, within
from napari_unet.core.model import Score
from napari_unet.engine.inference.tile_run import TileRun

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.events import Event
    from napari_unet.core.training.training_set import HeldOut
    from napari_unet.engine.network.network import Network


class Tally:
    """Sums over tiles, from which the score is computed."""

    def __init__(self, classes: int) -> None:
        self._confusion = np.zeros((classes, classes), np.int64)
        self._loss = 0.0

    def add(self, probabilities: NDArray[np.float32], truth: NDArray[np.uint8]) -> None:
        """Count the annotated pixels of one tile; classes are the first axis."""
        known = truth != IGNORED
        target = truth[known].astype(np.intp)
        found = probabilities[:, known]
        n = len(self._confusion)
        pairs = target * n + found.argmax(axis=0)
        self._confusion += np.bincount(pairs, minlength=n * n).reshape(n, n)
        right = np.take_along_axis(found, target[None], axis=0)
        self._loss -= float(np.log(np.maximum(right, 1e-7)).sum())

    def score(self) -> Score:
        """Return mean loss and mean IoU of the foreground classes that occur."""
        c = self._confusion
        union = c.sum(axis=0) + c.sum(axis=1) - np.diag(c)
        there = union[1:] > 0
        iou = np.diag(c)[1:][there] / union[1:][there]
        pixels = int(c.sum())
        return Score(
            loss=self._loss / max(pixels, 1),
            iou=float(iou.mean()) if len(iou) else 1.0,
            pixels=pixels,
        )


def validate(network: Network, held_out: Sequence[HeldOut]) -> Iterator[Score | None]:
    """Predict the held-out parts.

    Yields None after each tile, as a point to run other jobs, and at last the score.
    """
    tally = Tally(network.geometry.classes)
    for part in held_out:
        example = part.example
        run = TileRun(network, example.field, example.scale, region=part.box)
        for tile, probabilities in run:
            tally.add(probabilities, example.classes[tile.target])
            yield None
    yield tally.score()


def judge_part(
    network: Network, part: HeldOut, cells: NDArray[np.int32]
) -> Generator[Event, None, Judged]:
    """Predict a held-out part as a whole, with a `ValidationTile` after each tile.

    `cells` are the annotated cells, of the size of its box.
    """
    example, box = part.example, part.box
    size = (network.geometry.classes, *shape_of(box))
    probabilities = np.zeros(size, np.float32)
    for tile, values in TileRun(network, example.field, example.scale, region=box):
        probabilities[(slice(None), *within(tile.target, box))] = values
        yield ValidationTile()
    known = example.classes[box] != IGNORED
    return Judged(probabilities, cells, known, example.spacing)


def predict_parts(
    network: Network,
    held_out: Sequence[HeldOut],
    instances: Iterable[NDArray[np.int32]],
) -> Generator[Event, None, tuple[list[Judged], Score]]:
    """Predict held-out parts, each as a whole; return them and the score of all.

    `instances` are the annotated cells of each part.
    """
    tally, parts = Tally(network.geometry.classes), []
    for part, cells in zip(held_out, instances, strict=True):
        judged = yield from judge_part(network, part, cells)
        tally.add(judged.probabilities, part.example.classes[part.box])
        parts.append(judged)
    return parts, tally.score()
