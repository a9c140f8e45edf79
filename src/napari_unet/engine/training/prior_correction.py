"""Correction of logits and settings by predictions of unannotated parts.

Strokes show neither how frequent the classes are nor how large the cells; if most of
the images is not annotated, the predictions of the network there show both. Cells that
are annotated up to their borders show where they end as well: what is annotated limits
how far the logits are moved.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from skimage.segmentation import clear_border

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.cells.instances import segment_instances
from napari_unet.core.cells.segmentation_tuning import usual_settings
from napari_unet.core.geometry.boxes import shape_of
from napari_unet.core.settings import Segmentation
from napari_unet.core.training.class_priors import correction, estimate_shares
from napari_unet.core.training.training_set import HeldOut, cell_sizes
from napari_unet.engine.training.validation import Tally, judge_part

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import Annotation
    from napari_unet.core.cells.segmentation_tuning import Judged
    from napari_unet.core.events import Event
    from napari_unet.core.model import Model
    from napari_unet.core.training.training_set import TrainingSet
    from napari_unet.engine.network.network import Network

# Annotated share of the images from which on there is no correction.
_SPARSE = 0.5
# Shares of the correction that are tried, the first that does is kept, and how much of
# the overlap with what is annotated it may cost.
_SHARES = (1.0, 0.75, 0.5, 0.25)
_LOSS = 0.05
# Annotated share of the borders of what is annotated from which on it is no strokes.
_BORDERED = 0.5
# Size and number of the parts that are predicted.
SIDES = {2: (512, 512), 3: (32, 128, 128)}
PARTS = {2: 4, 3: 1}
# Stride of the pixels that are counted: neighbours hardly differ.
_STRIDE = 7
# Least number of cells for a typical size.
_FEWEST = 10
# Annotated cells smaller than this share of those found count as strokes inside.
_STROKE = 0.5


def parts_to_see(learnt: TrainingSet, seed: int) -> list[HeldOut]:
    """Choose parts of the training images; none if most of them is annotated."""
    examples, every = learnt.examples, _annotated(learnt)
    annotated = sum(int(np.count_nonzero(classes != IGNORED)) for classes in every)
    if annotated >= _SPARSE * sum(classes.size for classes in every):
        return []
    rng = np.random.default_rng([seed, 3])
    ndim = examples[0].field.ndim
    parts: dict[tuple[int, ...], HeldOut] = {}
    # each example once, then again elsewhere in it, if there is an elsewhere
    for number in np.resize(rng.permutation(len(examples)), PARTS[ndim]).tolist():
        shape = examples[number].field.shape
        sizes = [min(n, side) for n, side in zip(shape, SIDES[ndim], strict=True)]
        starts = rng.integers(np.subtract(shape, sizes) + 1).tolist()
        box = tuple(slice(s, s + n) for s, n in zip(starts, sizes, strict=True))
        parts[number, *starts] = HeldOut(examples[number], box)
    return list(parts.values())


def shows_borders(learnt: TrainingSet) -> bool:
    """Return whether what is annotated mostly ends where other annotation begins.

    As cells painted to their borders with background around them, and unlike strokes.
    """
    known, every = np.sum([_borders(c) for c in _annotated(learnt)], axis=0).tolist()
    return bool(known >= _BORDERED * every > 0)


def _annotated(learnt: TrainingSet) -> list[NDArray[np.uint8]]:
    """Return the annotation of each field.

    Of held-out parts and their margins, too, though they are not trained on.
    """
    whole = {id(e.field): e for e in learnt.examples}
    whole |= {id(part.example.field): part.example for part in learnt.held_out}
    return [example.classes for example in whole.values()]


def _borders(classes: NDArray[np.uint8]) -> tuple[int, int]:
    """Count the faces of pixels where a class other than background ends.

    Returned are those with annotation on the other side, and all.
    """
    known = every = 0
    for axis in range(classes.ndim):
        along = np.moveaxis(classes, axis, 0)
        low, high = along[:-1], along[1:]
        ends = (low != high) & (foreground(low) | foreground(high))
        every += int(np.count_nonzero(ends))
        known += int(np.count_nonzero(ends & (low != IGNORED) & (high != IGNORED)))
    return known, every


def foreground(classes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where a class other than background is annotated."""
    shown: NDArray[np.bool_] = (classes > 0) & (classes != IGNORED)
    return shown


def count_pixels(parts: Sequence[HeldOut]) -> int:
    """Return the pixels of some parts together."""
    return sum(prod(shape_of(part.box)) for part in parts)


def fit(
    model: Model,
    network: Network,
    parts: Sequence[HeldOut],
    annotated: Sequence[HeldOut],
    annotations: Sequence[Annotation],
    learnt: NDArray[np.floating],
) -> Generator[Event, None, tuple[Model, bool]]:
    """Fit the logits to the shares of the classes, and the settings to the cells found.

    Parameters
    ----------
    parts, annotated : sequence of HeldOut
        To look at, and parts with annotation that limit what is changed, if any; a
        `ValidationTile` comes after each tile.
    annotations : sequence of Annotation
        All that was learnt from.
    learnt : ndarray of float, shape (classes,)
        Weight of each class in it: pixels, times the weight of one.

    Returns
    -------
    model : Model
    strokes : bool
        Whether the annotated cells are mere strokes, by which no cell can be judged.
    """
    seen = yield from _predicted(network, parts)
    change = _correction(seen, parts, learnt)
    change *= _kept((yield from _predicted(network, annotated)), annotated, change)
    # FCN-8s adds scores of several layers, of which one is enough
    name = next(n for n in ("score.bias", "score.0.bias") if n in model.weights)
    bias = np.asarray(model.weights[name], np.float32) + change
    model = replace(model, weights={**model.weights, name: bias})
    kinds = model.card.cell_classes
    sizes = cell_sizes(annotations)
    if not (len(sizes) and kinds):
        return model, False
    painted = float(np.median(sizes))
    found = _typical_found(seen, change, kinds, painted)
    if found is None or painted >= _STROKE * found:
        return model, False
    ndim = parts[0].example.field.ndim
    settings = usual_settings(np.array([found]), ndim, strokes=True)
    return replace(model, card=model.card.replace(segmentation=settings)), True


def _predicted(
    network: Network, parts: Sequence[HeldOut]
) -> Generator[Event, None, list[Judged]]:
    seen = []
    for part in parts:
        nothing = np.zeros(part.example.classes[part.box].shape, np.int32)
        seen.append((yield from judge_part(network, part, nothing)))
    return seen


def _kept(
    seen: Sequence[Judged], parts: Sequence[HeldOut], change: NDArray[np.float32]
) -> float:
    """Return how much of a correction leaves what is annotated as it is."""

    def overlap(share: float) -> float:
        tally = Tally(len(change))
        for judged, part in zip(seen, parts, strict=True):
            fitted = _shifted(judged.probabilities, share * change)
            tally.add(fitted, part.example.classes[part.box])
        return tally.score().iou

    enough = overlap(0.0) - _LOSS
    return next((share for share in _SHARES if overlap(share) >= enough), 0.0)


def _shifted(
    probabilities: NDArray[np.float32], change: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return the probabilities of logits that are changed so much, by class."""
    odds = np.exp(change).reshape(-1, *(1,) * (probabilities.ndim - 1))
    fitted: NDArray[np.float32] = probabilities * odds.astype(np.float32)
    fitted /= fitted.sum(axis=0)
    return fitted


def _correction(
    seen: Sequence[Judged],
    parts: Sequence[HeldOut],
    learnt: NDArray[np.floating],
) -> NDArray[np.float32]:
    """Return the offsets of the logits, one for each class."""
    # of a class without annotation nothing is known
    there = learnt > 0
    change = np.zeros(len(learnt), np.float32)
    if np.count_nonzero(there) < 2:  # erased while it trained
        return change
    before = learnt[there] / learnt.sum()
    unknown = np.concatenate([s.probabilities[:, ~s.known] for s in seen], axis=1)
    each = [np.bincount(p.example.classes[p.box].ravel(), minlength=256) for p in parts]
    labelled = np.sum(each, axis=0)[: len(learnt)]
    shares = estimate_shares(
        unknown[there, ::_STRIDE], before, labelled[there] // _STRIDE
    )
    change[there] = correction(shares, before)
    return change


def _typical_found(
    seen: Sequence[Judged],
    change: NDArray[np.float32],
    cell_classes: Sequence[int],
    smallest: float,
) -> float | None:
    """Return the median size of whole cells; None if there are few."""
    settings = Segmentation(min_size=round(smallest))
    sizes = []
    for part in seen:
        fitted = _shifted(part.probabilities, change)
        cells = segment_instances(
            fitted, settings, cell_classes=cell_classes, spacing=part.spacing
        )
        # what the edge cuts is smaller than it is
        whole = clear_border(cells)
        sizes.append(np.bincount(whole[whole > 0]))
    every = np.concatenate(sizes)
    every = every[every > 0]
    return float(np.median(every)) if len(every) >= _FEWEST else None
