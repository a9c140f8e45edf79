"""Comparison of a new model with the one it started from, in words and figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_unet.core.cells.segmentation_tuning import count
from napari_unet.core.events import ModelComparison
from napari_unet.core.metrics.objects import object_scores
from napari_unet.core.text import counted
from napari_unet.engine.training.validation import predict_parts

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.core.events import Event
    from napari_unet.core.model import ModelCard
    from napari_unet.core.training.training_set import HeldOut
    from napari_unet.engine.network.network import Network

# Differences up to this count as chance: a few held-out cells more or less.
_SIMILAR = 0.01


@dataclass(frozen=True, slots=True)
class Figures:
    """Scores of a network on the held-out parts."""

    iou: float  # mean IoU of the foreground classes, over annotated pixels
    cells: float | None  # F1 of the cells at IoU 0.5; None where none are annotated
    count: int  # number of held-out cells


def judge(
    network: Network,
    card: ModelCard,
    held_out: Sequence[HeldOut],
    instances: Sequence[NDArray[np.int32]],
) -> Generator[Event | None, None, Figures]:
    """Predict the held-out parts and compute scores; yield after each tile and part.

    The card is that of the network's model, with its settings for cells; `instances`
    are the annotated cells of each part, of the size of its box.
    """
    parts, score = yield from predict_parts(network, held_out, instances)
    settings = card.segmentation
    found = []
    for part in parts:
        found.append(part.found(settings, card.cell_classes))
        yield None
    number = count(parts, settings.usual_size)
    true = [part.true(settings.usual_size) for part in parts]
    f1 = object_scores(found, true)[0].f1 if number else None
    return Figures(score.iou, f1, number)


def comparable(new: ModelCard, old: ModelCard) -> bool:
    """Whether two models can be scored with the same annotation."""
    return new.architecture.channels == old.architecture.channels and [
        c.name for c in new.classes
    ] == [c.name for c in old.classes]


def compare(new: Figures, old: Figures | None, where: str) -> ModelComparison:
    """Put figures into words.

    `old` is of the model it started from, if any; `where` describes the held-out part.
    Better or worse is a change of the mean of the figures by more than 0.01.
    """
    cells = f", with {counted(new.count, 'cell')}" if new.count else ""
    judged = f"Judged by what it did not learn from{cells}: {where}."
    if old is None:
        sentence = f"The model has {_words(new)}. {judged}"
        return ModelComparison("first", sentence, new.iou, new.cells)
    change = _overall(new) - _overall(old)
    outcome = "similar"
    if abs(change) > _SIMILAR:
        outcome = "better" if change > 0 else "worse"
    says = {
        "better": "Better than the model it started from",
        "worse": "Worse than the model it started from",
        "similar": "As good as the model it started from",
    }[outcome]
    sentence = f"{says}: it has {_words(new)}, before {_words(old)}. {judged}"
    return ModelComparison(outcome, sentence, new.iou, new.cells, old.iou, old.cells)


def of_several(card: ModelCard) -> ModelComparison:
    """Describe the score of an ensemble, or of the best candidate."""
    for decision in card.training.decisions:
        if decision.field == "try_both":
            return ModelComparison("first", decision.reason)
    sentence = "The model is the mean of networks that are validated one by one."
    if card.score is None:
        return ModelComparison("unknown", sentence)
    sentence = (
        f"The model is the mean of {card.members} networks, with {card.score.words} on "
        "the held-out part of each."
    )
    return ModelComparison("first", sentence)


def unknown(*, requested: bool) -> ModelComparison:
    """Return that nothing is held out: on request, or because labels are too few."""
    sentence = "Too few labels for validation: all of them were needed for training."
    if requested:
        sentence = "Nothing was held out, as requested, so there is no validation."
    return ModelComparison("unknown", sentence)


def _overall(figures: Figures) -> float:
    if figures.cells is None:
        return figures.iou
    return (figures.iou + figures.cells) / 2


def _words(figures: Figures) -> str:
    pixels = f"IoU {figures.iou:.2f} on pixels"
    if figures.cells is None:
        return pixels
    return f"{100 * figures.cells:.0f} % of the cells right and {pixels}"
