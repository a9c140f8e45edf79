"""Whether a new model is better than the one it started from, in words and figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotations import IGNORED
from napari_unet.core.events import Verdict
from napari_unet.core.instances import segment_instances
from napari_unet.core.metrics.objects import object_scores
from napari_unet.engine.tile_run import TileRun, lengths
from napari_unet.engine.validation import Tally

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.model import ModelCard
    from napari_unet.core.training_set import HeldOut
    from napari_unet.engine.network import Network

# Differences up to this are chance: a few held-out cells more or less.
_SIMILAR = 0.01


@dataclass(frozen=True, slots=True)
class Figures:
    """How well a network does on what is held out.

    Attributes
    ----------
    iou : float
        Mean IoU of the foreground classes, over annotated pixels.
    cells : float or None
        F1 of the cells at IoU 0.5; None where none are annotated.
    count : int
        Cells that were judged by.
    """

    iou: float
    cells: float | None
    count: int


def judge(
    network: Network,
    card: ModelCard,
    held_out: Sequence[HeldOut],
    instances: Sequence[NDArray[np.int32]],
) -> Generator[None, None, Figures]:
    """Predict the held-out parts and compare.

    Parameters
    ----------
    network : Network
    card : ModelCard
        Of its model; tells how cells are found.
    held_out : sequence of HeldOut
    instances : sequence of ndarray of int32
        Annotated cells of each part, of the size of its box.

    Yields
    ------
    None
        After each tile.

    Returns
    -------
    Figures
    """
    tally = Tally(card.architecture.classes)
    found = []
    classes = [k for k, c in enumerate(card.classes, start=1) if c.kind == "cells"]
    for part in held_out:
        example = part.example
        size = (card.architecture.classes, *lengths(part.box))
        probabilities = np.zeros(size, np.float32)
        run = TileRun(network, example.field, example.scale, region=part.box)
        for tile, values in run:
            tally.add(values, example.classes[tile.target])
            at = tuple(
                slice(t.start - b.start, t.stop - b.start)
                for t, b in zip(tile.target, part.box, strict=True)
            )
            probabilities[(slice(None), *at)] = values
            yield
        cells = segment_instances(
            probabilities,
            card.segmentation,
            cell_classes=classes,
            spacing=example.spacing,
        )
        found.append(_annotated(cells, example.classes[part.box] != IGNORED))
        yield
    true = [_of_size(cells, card.segmentation.min_size) for cells in instances]
    count = sum(len(np.unique(cells[cells > 0])) for cells in true)
    score = object_scores(found, true)[0].f1 if count else None
    return Figures(tally.score().iou, score, count)


def comparable(new: ModelCard, old: ModelCard) -> bool:
    """Whether two models can be judged by the same annotation."""
    return new.architecture.channels == old.architecture.channels and [
        c.name for c in new.classes
    ] == [c.name for c in old.classes]


def compare(new: Figures, old: Figures | None, where: str) -> Verdict:
    """Put figures into words.

    Parameters
    ----------
    new : Figures
    old : Figures or None
        Of the model it started from, if there is one.
    where : str
        What is held out, in words.

    Returns
    -------
    Verdict
        Better or worse if the mean of the figures changed by more than 0.01.
    """
    if old is None:
        return Verdict(
            "first",
            f"The model has {_words(new)}. {_place(new, where)}",
            new.iou,
            new.cells,
        )
    change = _overall(new) - _overall(old)
    outcome = "similar"
    if abs(change) > _SIMILAR:
        outcome = "better" if change > 0 else "worse"
    says = {
        "better": "Better than the model it started from",
        "worse": "Worse than the model it started from",
        "similar": "As good as the model it started from",
    }[outcome]
    return Verdict(
        outcome,
        f"{says}: it has {_words(new)}, before {_words(old)}. {_place(new, where)}",
        new.iou,
        new.cells,
        old.iou,
        old.cells,
    )


def unknown(validation: str) -> Verdict:
    """Say that nothing is held out to judge by."""
    if "as asked" in validation:
        return Verdict(
            "unknown", "Nothing was held out, as asked for, so nothing can be judged."
        )
    return Verdict(
        "unknown", "Too few labels to judge: all of them were needed to learn from."
    )


def _overall(figures: Figures) -> float:
    if figures.cells is None:
        return figures.iou
    return (figures.iou + figures.cells) / 2


def _words(figures: Figures) -> str:
    pixels = f"IoU {figures.iou:.2f} on pixels"
    if figures.cells is None:
        return pixels
    return f"{100 * figures.cells:.0f} % of the cells right and {pixels}"


def _place(figures: Figures, where: str) -> str:
    cells = f", with {figures.count} cells" if figures.count else ""
    return f"Judged by what it did not learn from{cells}: {where}."


def _annotated(cells: NDArray[np.int32], known: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Drop what is found mostly where nobody has looked, and cut the rest to it."""
    size = np.bincount(cells.ravel())
    seen = np.bincount(cells[known], minlength=len(size))
    keep = 2 * seen >= size
    keep[0] = False
    return np.where(keep[cells] & known, cells, 0).astype(np.int32)


def _of_size(cells: NDArray[np.int32], smallest: int) -> NDArray[np.int32]:
    """Drop slivers of cells that are cut by the edge of what is held out."""
    ids, place, counts = np.unique(cells, return_inverse=True, return_counts=True)
    keep = (counts >= smallest) & (ids > 0)
    return np.where(keep[place.reshape(cells.shape)], cells, 0).astype(np.int32)
