"""Several networks as one model: the mean of their probabilities."""

from __future__ import annotations

from statistics import fmean, median
from typing import TYPE_CHECKING

from napari_unet.core.model import Model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_unet.core.model import AnyScore, ModelCard
    from napari_unet.core.settings import Segmentation
    from napari_unet.core.training.training_settings import Training


def joined(members: Sequence[Model], settings: Training) -> Model:
    """Return the model of several networks; the settings are those of all together.

    Its score is the mean of theirs, each on its own held-out part: the ensemble itself
    has none, as every part was learnt by some network. The settings for cells are the
    median of the best for each.
    """
    cards = [member.card for member in members]
    if len(members) == 1:
        return Model(cards[0].replace(training=settings), members[0].weights)
    chosen = _middle([c.segmentation for c in cards])
    # what one of them chose need not hold for all
    notes = tuple(n for n in cards[0].notes if all(n in c.notes for c in cards))
    card = cards[0].replace(
        members=len(members),
        training=settings.with_network_of(cards[0].training),
        segmentation=chosen,
        notes=(*notes, *_of_regions(cards[0], chosen)),
        history=(),
        score=_mean([c.score for c in cards if c.score is not None]),
        steps=sum(c.steps for c in cards),
        learnt_share=fmean(c.learnt_share for c in cards),
    )
    weights = {
        f"{number}/{name}": weight
        for number, member in enumerate(members)
        for name, weight in member.weights.items()
    }
    return Model(card, weights)


def _middle(chosen: Sequence[Segmentation]) -> Segmentation:
    return chosen[0].replace(
        threshold=median(c.threshold for c in chosen),
        min_distance=median(c.min_distance for c in chosen),
        neck=median(c.neck for c in chosen),
        min_size=round(median(c.min_size for c in chosen)),
        unsure_size=round(median(c.unsure_size for c in chosen)),
        largest_only=tuple(
            k
            for k in sorted({k for c in chosen for k in c.largest_only})
            if 2 * sum(k in c.largest_only for c in chosen) > len(chosen)
        ),
        edge_smoothing=median(c.edge_smoothing for c in chosen),
    )


def _of_regions(card: ModelCard, chosen: Segmentation) -> Iterator[str]:
    """Yield in sentences what is made of regions."""
    kind = "slice" if card.training.ndim == 2 else "volume"
    for k in chosen.largest_only:
        yield (
            f"of {card.classes[k - 1].name} only the largest piece of a {kind} is "
            "kept, as most of the networks had it by what each held out."
        )
    if chosen.edge_smoothing:
        yield (
            "borders of regions follow edges in the image, looked for "
            f"{chosen.edge_smoothing:.3g} pixels around, the middle of what each "
            "network had by what it held out."
        )


def _mean(scores: Sequence[AnyScore]) -> AnyScore | None:
    """Return the mean of each figure by pixels; one that is missing stays so."""
    pixels = sum(score.pixels for score in scores)
    if not pixels:
        return None
    means: dict[str, float | None] = {}
    for name in type(scores[0]).model_fields.keys() - {"pixels"}:
        values = [(getattr(score, name), score.pixels) for score in scores]
        known = [value * count for value, count in values if value is not None]
        means[name] = sum(known) / pixels if len(known) == len(values) else None
    return type(scores[0]).model_validate({**means, "pixels": pixels})
