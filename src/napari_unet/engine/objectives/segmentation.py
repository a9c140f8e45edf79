"""Segmentation: classes learnt from painted annotation, the U-Net's own task."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_unet.core.annotation.annotations import IGNORED, ClassInfo
from napari_unet.core.cells.pieces import choose_largest, region_classes
from napari_unet.core.cells.segmentation_tuning import (
    along_edges,
    choose_edges,
    choose_settings,
    usual_settings,
)
from napari_unet.core.events import ValidationTile
from napari_unet.core.geometry.boxes import full_box
from napari_unet.core.training.loss_weights import class_weights
from napari_unet.core.training.training_set import (
    cell_sizes,
    count_classes,
    make_example,
)
from napari_unet.engine.network.network import prepare
from napari_unet.engine.objectives.objective import Objective
from napari_unet.engine.training import divergence
from napari_unet.engine.training.corrections import cells_of, field_key
from napari_unet.engine.training.losses import supervised_loss
from napari_unet.engine.training.prior_correction import (
    count_pixels,
    fit,
    parts_to_see,
    shows_borders,
)
from napari_unet.engine.training.sampling import Sampler
from napari_unet.engine.training.validation import predict_parts, validate
from napari_unet.engine.training.weight_interpolation import (
    SHARES,
    can_be_interpolated,
    near_start,
    parts_to_judge,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.core.annotation.annotations import Annotation
    from napari_unet.core.cells.segmentation_tuning import Judged
    from napari_unet.core.events import Event
    from napari_unet.core.images.image import Field
    from napari_unet.core.images.normalisation import Normalisation
    from napari_unet.core.model import AnyScore, Model, ModelCard, Score
    from napari_unet.core.settings import Segmentation
    from napari_unet.core.training.training_set import Example, HeldOut, TrainingSet
    from napari_unet.core.training.training_settings import Training
    from napari_unet.engine.network.network import Network
    from napari_unet.engine.objectives.objective import Pair
    from napari_unet.engine.training.losses import Places
    from napari_unet.engine.training.preparation import Prepared
    from napari_unet.engine.training.sampling import Batch

_PAINT_MORE = "or paint more of what it misses"


class SegmentationObjective(Objective):
    """Classes of pixels, and cells; weights of classes and borders (Eq. 1 and 2)."""

    draws = Sampler

    def __init__(self, settings: Training) -> None:
        super().__init__(settings)
        self.classes: tuple[ClassInfo, ...] = ()
        # int64, (classes,); pixels of each class that are learnt from
        self.counts: NDArray[np.int64] = np.zeros(0, np.int64)
        # float32, (classes,); weight of each class (w_c of Eq. 2)
        self.table: NDArray[np.float32] = np.zeros(0, np.float32)
        self._table = torch.zeros(0)
        self._sizes = np.zeros(0, np.int64)
        self._guard = divergence.SingleClassGuard()

    def example(
        self, field: Field, known: Annotation, normalisation: Normalisation
    ) -> Example | None:
        """As `Objective.example`, of an annotation."""
        if not known.labels.any() and known.finished is None:
            return None
        return make_example(field, known, self.settings.border, normalisation)

    def ready(
        self, pairs: Sequence[Pair], examples: Sequence[Example]
    ) -> Sequence[Example]:
        """As `Objective.ready`."""
        if not pairs:
            raise ValueError("nothing is annotated: paint some cells and background.")
        self.classes = pairs[0][1].classes
        self._sizes = cell_sizes(annotation for _, annotation in pairs)
        return examples

    @property
    def outputs(self) -> int:
        """As `Objective.outputs`: the classes, background included."""
        return len(self.classes) + 1

    @property
    def names(self) -> tuple[str, ...]:
        """As `Objective.names`."""
        return "background", *(c.name for c in self.classes)

    @property
    def doubtful_steps(self) -> int:  # type: ignore[override]
        """As `Objective.doubtful_steps`: those in which it saw but one class."""
        return self._guard.row * divergence.CLASS_CHECK_STEPS

    def of_card(self, ndim: int, start: ModelCard | None) -> Mapping[str, Any]:
        """As `Objective.of_card`."""
        found = usual_settings(self._sizes, ndim)
        if start is not None and start.cell_classes and start.architecture.ndim == ndim:
            # it may know other cells, which are to be found in other images
            # in pixels of images as they are learnt, as are the sizes of cells
            size = [1 / start.training.scale] * ndim
            before = start.segmentation.for_pixels(size)
            between = (found.min_distance * before.min_distance) ** 0.5
            found = found.replace(
                min_size=min(found.min_size, before.min_size),
                min_distance=round(between, 2),
            )
        return {"classes": self.classes, "segmentation": found}

    def learn(self, training_set: TrainingSet, device: torch.device) -> None:
        """As `Objective.learn`."""
        self.counts = count_classes(training_set.examples, self.outputs)
        _check_counts(self.counts, [c.name for c in self.classes])
        self._table = self._table.to(device)
        self._weigh()

    def learn_instead(self, new: Sequence[Example], old: Sequence[Example]) -> bool:
        """As `Objective.learn_instead`."""
        self.counts = self.counts + count_classes(new, self.outputs)
        self.counts -= count_classes(old, self.outputs)
        if not self.counts.sum():
            return False
        self._weigh()
        return True

    def sampler(self, examples: Sequence[Example], **rest: Any) -> Sampler:
        """As `Objective.sampler`."""
        by_cell = all(c.kind == "cells" for c in self.classes)
        return super().sampler(examples, by_cell=by_cell, **rest)

    def loss(self, scores: Sequence[Tensor], places: Places, batch: Batch) -> Tensor:
        """As `Objective.loss`."""
        return supervised_loss(
            scores, places, batch.classes, batch.border, self._table, self.team
        )

    def pixels_to_see(self, prepared: Prepared) -> int:
        """As `Objective.pixels_to_see`."""
        learnt, seed = prepared.training_set, self.settings.seed
        seen = parts_to_see(learnt, seed)
        times = 1 if seen and shows_borders(learnt) else 0
        if prepared.start is not None:
            times += len(SHARES)
        judged = count_pixels(parts_to_judge(learnt, seed)) if times else 0
        return count_pixels(seen) + times * judged

    def trouble(
        self, scores: Tensor, batch: Batch, smoothed: float
    ) -> tuple[str, str] | None:
        """As `Objective.trouble`: one class is seen everywhere."""
        known = batch.classes != IGNORED
        labels, seen = (
            self.team.all_reduce(of[known].bincount(minlength=self.outputs)).nonzero()
            for of in (batch.classes, scores.argmax(dim=1))
        )
        if not self._guard.look(len(labels), len(seen), smoothed):
            return None
        return (
            f"the network takes everything for {self.names[int(seen[0])]} and no "
            "longer learns",
            _PAINT_MORE,
        )

    def validate(
        self, network: Network, held_out: Sequence[HeldOut]
    ) -> Iterator[AnyScore | None]:
        """As `Objective.validate`."""
        return validate(network, held_out)

    def shortcoming(
        self, network: Network, batches: Iterable[Batch]
    ) -> tuple[str, str] | None:
        """As `Objective.shortcoming`: one class is seen everywhere."""
        only = divergence.sees_one_class(network, batches)
        if only is None:
            return None
        return f"takes everything for {self.names[only]}", _PAINT_MORE

    def finish(
        self, model: Model, prepared: Prepared, known: Mapping[Any, Annotation]
    ) -> Generator[Event, None, Model]:
        """As `Objective.finish`.

        How much of what was learnt is kept, shares of the classes, and how cells are
        found.
        """
        training_set, trained = prepared.training_set, model

        def network(of: Model) -> Network:
            return prepare(of, str(prepared.device), prepared.precision)

        start = prepared.start
        judged = parts_to_judge(training_set, self.settings.seed)
        if start is not None and can_be_interpolated(start, model):
            # cells say nothing of which class a pixel has
            single = [c.kind for c in self.classes] == ["cells"]
            bordered = single and shows_borders(training_set)
            cells = [cells_of(p, known) for p in judged] if bordered else None
            model = yield from near_start(start, model, network, judged, cells)
        parts = parts_to_see(training_set, self.settings.seed)
        fitted, strokes = model, False
        if parts:
            annotations = [known[field_key(e.field)] for e in training_set.examples]
            learnt = self.counts * self.table
            # strokes in the middle of cells do not know where they end
            annotated = judged if shows_borders(training_set) else []
            fitted, strokes = yield from fit(
                model, network(model), parts, annotated, annotations, learnt
            )
        if not training_set.held_out:
            return fitted
        # by mere strokes neither cells nor regions can be judged
        held_out = training_set.held_out
        if not strokes:
            return (yield from _tuned(fitted, network(fitted), held_out, known))
        if fitted is not trained:
            return (yield from _with_score(fitted, network(fitted), held_out))
        return fitted

    def _weigh(self) -> None:
        settings = self.settings
        self.table = class_weights(self.counts, settings.border, settings.class_balance)
        self._table = torch.as_tensor(self.table, device=self._table.device)


def _check_counts(counts: NDArray[np.int64], names: Sequence[str]) -> None:
    if not counts.sum():
        raise ValueError("nothing is annotated: the labels mark no pixel.")
    there = [n for n, c in zip(("background", *names), counts, strict=True) if c]
    if len(there) == 1:
        raise ValueError(
            f"only {there[0]} is annotated: the network needs at least two classes, "
            "such as cells and background."
        )


def _tuned(
    model: Model,
    network: Network,
    held_out: Sequence[HeldOut],
    known: Mapping[Any, Annotation],
) -> Generator[Event, None, Model]:
    """Choose by what is held out how cells and regions are found, and note it."""
    card = model.card
    cells = (cells_of(part, known) for part in held_out)
    parts, score = yield from predict_parts(network, held_out, cells)
    chosen = card.segmentation
    for best in choose_settings(parts, chosen, card.cell_classes):
        chosen = best
        yield ValidationTile()
    notes: tuple[str, ...] = ()
    if not card.cell_classes:
        parts, chosen, notes = yield from _along_edges(
            parts, held_out, chosen, card.training.scale
        )
    whole = [
        (parts[k].probabilities, held_out[k].example.classes) for k in _whole(held_out)
    ]
    regions = region_classes(card.architecture.classes, card.cell_classes)
    chosen, gains = choose_largest(whole, chosen, regions)
    kind = "slice" if card.training.ndim == 2 else "volume"
    notes += tuple(
        f"of {card.classes[k - 1].name} only the largest piece of a {kind} is kept: "
        f"Dice {before:.3f} becomes {after:.3f} on {len(whole)} held-out {kind}s."
        for k, (before, after) in gains.items()
    )
    # of the model as it is now: it may have been fitted since it was validated
    changes = {"segmentation": chosen, "score": score, "notes": (*card.notes, *notes)}
    return replace(model, card=card.replace(**changes))


def _along_edges(
    parts: list[Judged],
    held_out: Sequence[HeldOut],
    settings: Segmentation,
    scale: float,
) -> Generator[Event, None, tuple[list[Judged], Segmentation, tuple[str, ...]]]:
    """Choose whether borders of regions follow edges.

    Returned are the parts as they are then, the settings, and a note if they do, in
    pixels of the images, which are seen at a `scale`.
    """
    best = settings, 0.0, 0.0
    for tried in choose_edges(parts, held_out, settings):
        best = tried
        yield ValidationTile()
    chosen, before, after = best
    if not chosen.edge_smoothing:
        return parts, settings, ()
    smoothed = [
        replace(judged, probabilities=along_edges(judged, part, chosen))
        for judged, part in zip(parts, held_out, strict=True)
    ]
    note = (
        "borders of regions follow edges in the image, looked for "
        f"{chosen.edge_smoothing / scale:.3g} pixels around: IoU {before:.3f} becomes "
        f"{after:.3f} on what is held out."
    )
    return smoothed, chosen, (note,)


def _whole(held_out: Sequence[HeldOut]) -> list[int]:
    """Return which parts are slices or volumes as a whole."""
    return [
        number
        for number, part in enumerate(held_out)
        if part.box == full_box(part.example.field.shape)
    ]


def _with_score(
    model: Model, network: Network, held_out: Sequence[HeldOut]
) -> Generator[Event, None, Model]:
    """Note in the card how good a model is that was fitted since."""
    score: Score | None = None
    for found in validate(network, held_out):
        score = found
        yield ValidationTile()
    return replace(model, card=model.card.replace(score=score))
