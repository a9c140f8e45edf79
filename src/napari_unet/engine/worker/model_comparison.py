"""Whether a new model is better than the one it started from, in words and figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_unet.core.annotation.annotations import cell_classes
from napari_unet.core.cells.segmentation_tuning import count
from napari_unet.core.events import ModelComparison
from napari_unet.core.metrics.objects import object_scores
from napari_unet.core.text import counted
from napari_unet.engine.training.validation import Tally, judge_part

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.core.events import Event
    from napari_unet.core.model import ModelCard
    from napari_unet.core.training.training_set import HeldOut
    from napari_unet.engine.network.network import Network

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
) -> Generator[Event | None, None, Figures]:
    """Predict the held-out parts and compare.

    Parameters
    ----------
    card : ModelCard
        Of its model; tells how cells are found.
    instances : sequence of ndarray of int32
        Annotated cells of each part, of the size of its box.

    Yields
    ------
    Event or None
        After each tile, and after the cells of each part are found.
    """
    tally = Tally(card.architecture.classes)
    parts = []
    for part, cells in zip(held_out, instances, strict=True):
        judged = yield from judge_part(network, part, cells)
        tally.add(judged.probabilities, part.example.classes[part.box])
        parts.append(judged)
    settings = card.segmentation
    classes = cell_classes(card.classes)
    found = []
    for judged in parts:
        found.append(judged.found(settings, classes))
        yield None
    number = count(parts, settings.min_size)
    true = [judged.true(settings.min_size) for judged in parts]
    score = object_scores(found, true)[0].f1 if number else None
    return Figures(tally.score().iou, score, number)


def comparable(new: ModelCard, old: ModelCard) -> bool:
    """Whether two models can be judged by the same annotation."""
    return new.architecture.channels == old.architecture.channels and [
        c.name for c in new.classes
    ] == [c.name for c in old.classes]


def compare(new: Figures, old: Figures | None, where: str) -> ModelComparison:
    """Put figures into words.

    Parameters
    ----------
    old : Figures or None
        Of the model it started from, if there is one.
    where : str
        What is held out, in words.

    Returns
    -------
    ModelComparison
        Better or worse if the mean of the figures changed by more than 0.01.
    """
    if old is None:
        return ModelComparison(
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
    return ModelComparison(
        outcome,
        f"{says}: it has {_words(new)}, before {_words(old)}. {_place(new, where)}",
        new.iou,
        new.cells,
        old.iou,
        old.cells,
    )


def unknown(validation: str) -> ModelComparison:
    """Say that nothing is held out to judge by."""
    if "as asked" in validation:
        return ModelComparison(
            "unknown", "Nothing was held out, as asked for, so nothing can be judged."
        )
    return ModelComparison(
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
    cells = f", with {counted(figures.count, 'cell')}" if figures.count else ""
    return f"Judged by what it did not learn from{cells}: {where}."
