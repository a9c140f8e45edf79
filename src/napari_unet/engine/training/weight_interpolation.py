"""How much of what a training changed in the model that it began with is kept.

A model that has learnt many kinds of images forgets them while it learns a few more, of
one kind. Weights between those it began with and those it has now keep most of both
(Wortsman et al. 2022, arXiv 2109.01903, Eq. 1); see docs/recipe.md for what it brings.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.cells.segmentation_tuning import OVERLAPS
from napari_unet.core.geometry.boxes import shape_of
from napari_unet.core.metrics.objects import average_precision
from napari_unet.core.training.training_set import HeldOut
from napari_unet.engine.training.prior_correction import PARTS, SIDES, foreground
from napari_unet.engine.training.validation import predict_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.events import Event
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.model import Model
    from napari_unet.core.training.training_set import TrainingSet
    from napari_unet.engine.network.network import Network

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Shares of the change that are tried."""

# What all of the change has to gain, and a part of it in proportion: of the cells that
# are right, or of the overlap of regions, which differs less. Where one image was
# learnt: several say more of those to come.
_PRICE_CELLS, _PRICE_REGIONS = 0.1, 0.03
# Overlaps from which on a cell is right; outlines to the pixel are not what counts.
_RIGHT = OVERLAPS[:3]


def can_be_interpolated(start: Model, model: Model) -> bool:
    """Whether both have the same weights, and the start may know what is not learnt."""
    before, now = ([c.name for c in m.card.classes] for m in (start, model))
    # the name of a single one does not matter, see `transfer.take_over`
    same = before == now or len(before) == len(now) == 1
    learnt, learns = ({i.sha256 for i in m.card.images} for m in (start, model))
    repeats = bool(learnt) and learnt <= learns and start.card.parent is None
    shapes, own = (
        {name: weight.shape for name, weight in m.weights.items()}
        for m in (start, model)
    )
    return same and not repeats and shapes == own


def interpolated(start: Model, model: Model, share: float) -> Model:
    """Return the model with a share of its change from the start, 0 to 1."""
    weights: dict[str, NDArray[Any]] = dict(model.weights)
    for name, own in weights.items():
        if np.issubdtype(own.dtype, np.floating):
            before = np.asarray(start.weights[name], own.dtype)
            weights[name] = own - own.dtype.type(1 - share) * (own - before)
    return replace(model, weights=weights)


def parts_to_judge(learnt: TrainingSet, seed: int) -> list[HeldOut]:
    """Choose parts of the training images around annotated pixels.

    Parts of background alone are replaced by others around foreground, if there is any.
    """
    examples = [e for e in learnt.examples if (e.classes != IGNORED).any()]
    if not examples:
        return []
    rng = np.random.default_rng([seed, 5])
    ndim = examples[0].field.ndim
    parts: dict[tuple[int, ...], HeldOut] = {}
    for number in np.resize(rng.permutation(len(examples)), PARTS[ndim]).tolist():
        classes = examples[number].classes
        box, shown = _box(classes != IGNORED, rng), foreground(classes)
        if shown.any() and not shown[box].any():
            box = _box(shown, rng)
        parts[number, *(s.start for s in box)] = HeldOut(examples[number], box)
    return list(parts.values())


def _box(of: NDArray[np.bool_], rng: np.random.Generator) -> Box:
    """Return the box of a part around a random pixel of some."""
    known = np.flatnonzero(of)
    middle = np.unravel_index(known[rng.integers(len(known))], of.shape)
    box = []
    for at, n, side in zip(map(int, middle), of.shape, SIDES[of.ndim], strict=True):
        first = min(max(at - side // 2, 0), max(n - side, 0))
        box.append(slice(first, min(first + side, n)))
    return tuple(box)


def near_start(
    start: Model,
    model: Model,
    prepare: Callable[[Model], Network],
    parts: Sequence[HeldOut],
    cells: Sequence[NDArray[np.int32]] | None,
) -> Generator[Event, None, Model]:
    """Return the model with the share of its change that is worth most.

    `cells` are the annotated ones of each part, None where none are annotated up to
    their borders or there are other classes, too. Worth is the average precision at
    overlaps of 0.5 to 0.7, less 0.1 times the share divided by the number of images or
    slices that the parts are of; without cells the mean IoU of the classes, and 0.03.
    All is kept if no part has a cell that any share finds. A `ValidationTile` comes
    after each tile.
    """
    kinds = model.card.cell_classes
    if not parts:
        return model
    price = _PRICE_REGIONS if cells is None else _PRICE_CELLS
    price /= len({id(part.example) for part in parts})
    annotated = cells or [np.zeros(shape_of(p.box), np.int32) for p in parts]

    def figure(tried: Model) -> Generator[Event, None, float]:
        judged, score = yield from predict_parts(prepare(tried), parts, annotated)
        if cells is None:
            return float(score.iou)
        settings = tried.card.segmentation
        # what is held out there was not learnt
        true = [p.known * p.true(settings.usual_size) for p in judged]
        found = [part.found(settings, kinds) for part in judged]
        return float(average_precision(found, true, _RIGHT).mean())

    best, most, judged = model, -np.inf, False
    for share in SHARES:
        tried = interpolated(start, model, share)
        found = yield from figure(tried)
        judged |= found > 0
        if found - price * share > most:
            card = tried.card.replace(learnt_share=share)
            best, most = replace(tried, card=card), found - price * share
    return best if judged else model
