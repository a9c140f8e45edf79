"""Annotation that people change while a network learns from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_unet.core.training.loss_weights import class_weights
from napari_unet.core.training.training_set import (
    count_classes,
    make_example,
    update_example,
)
from napari_unet.core.training.training_set_updates import example_of, with_example
from napari_unet.engine.training.preparation import record_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_unet.core.annotation.annotations import Annotation
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.image import Field
    from napari_unet.core.model import ImageRecord
    from napari_unet.core.training.training_set import Example
    from napari_unet.engine.training.preparation import Prepared


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What is known of a field now, and where it differs from before.

    Attributes
    ----------
    annotation : Annotation
        Of the whole field.
    box : tuple of slice or None
        None for anywhere.
    """

    field: Field
    annotation: Annotation
    box: Box | None


class Corrections:
    """Changes that wait to be taken up; many of one field become one."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[int, int, int | None], Change] = {}

    def add(self, change: Change) -> None:
        """Let a change wait."""
        field = change.field
        key = id(field.image), field.t, field.z
        if (before := self._waiting.get(key)) is not None:
            change = replace(change, box=_around(before.box, change.box))
        self._waiting[key] = change

    def take(self) -> list[Change]:
        """Return what waits; nothing waits then."""
        changes = list(self._waiting.values())
        self._waiting.clear()
        return changes


def corrected(prepared: Prepared, changes: Iterable[Change]) -> Prepared:
    """Take up changes: what the run learns from, and is judged by, from now on.

    A field that had no annotation is learnt from; what is held out stays held out. If
    all annotation was erased, the run goes on with what it had.

    Parameters
    ----------
    prepared : Prepared
        Its sampler and state are changed.

    Raises
    ------
    ValueError
        If an image is not finite, or does not have the size of its annotation.
    """
    state, settings = prepared.state, prepared.state.card.training
    table = state.card.architecture
    parted = prepared.training_set
    records = list(state.card.images)
    for change in changes:
        before = example_of(parted, change.field)
        if before is None:
            example = make_example(
                change.field,
                change.annotation,
                settings.border,
                state.card.normalisation,
            )
        else:
            example = update_example(
                before, change.annotation, change.box, settings.border
            )
        parted = with_example(parted, example, table.halo)
        _note(records, record_of(example))
    state.card = state.card.replace(images=tuple(records))
    old, new = prepared.training_set.examples, parted.examples
    counts = prepared.counts.copy()
    counts += count_classes(_only_in(new, old), table.classes)
    counts -= count_classes(_only_in(old, new), table.classes)
    if not counts.sum():
        return replace(prepared, training_set=parted, counts=counts)
    prepared.sampler.use(new)
    return replace(
        prepared,
        training_set=parted,
        counts=counts,
        table=class_weights(counts, settings.border, settings.class_balance),
    )


def _around(first: Box | None, second: Box | None) -> Box | None:
    if first is None or second is None:
        return None
    return tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(first, second, strict=True)
    )


def _only_in(some: Sequence[Example], others: Sequence[Example]) -> list[Example]:
    there = {id(example) for example in others}
    return [example for example in some if id(example) not in there]


def _note(records: list[ImageRecord], record: ImageRecord) -> None:
    """Put a record in the place of that of the same pixels, or at the end."""
    keys = [(r.name, r.sha256) for r in records]
    key = record.name, record.sha256
    if key in keys:
        records[keys.index(key)] = record
    else:
        records.append(record)
