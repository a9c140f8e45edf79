"""Annotation that people change while a network learns from it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_unet.core.network.blended import reach_of
from napari_unet.core.training.training_set import make_example, update_example
from napari_unet.core.training.training_set_updates import example_of, with_example
from napari_unet.engine.training.preparation import record_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import Annotation
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.image import Field
    from napari_unet.core.model import ImageRecord
    from napari_unet.core.training.training_set import Example, HeldOut
    from napari_unet.engine.training.preparation import Prepared

    FieldKey = tuple[int, int, int | None]
    # a field, what is known of all of it now, and where that changed: None for anywhere
    Correction = tuple[Field, Annotation, Box | None]


def field_key(field: Field) -> FieldKey:
    """Return what identifies a field of a run."""
    return id(field.image), field.t, field.z


def cells_of(part: HeldOut, known: Mapping[Any, Annotation]) -> NDArray[np.int32]:
    """Return the annotated cells of a part; `known` has the annotation by key."""
    return known[field_key(part.example.field)].crop(part.box).targets().instances


def corrected(prepared: Prepared, corrections: Iterable[Correction]) -> Prepared:
    """Return the data of the run with corrections, to learn from and to validate with.

    Corrections are used in their order; their strokes are joined already. A field
    that had no annotation is learnt from; what is held out stays held out. If all
    annotation was erased, the run goes on with what it had. The sampler, the state
    and the objective of `prepared` are changed. An image that is not finite, or that
    does not have the size of its annotation, is a ValueError.
    """
    state, settings = prepared.state, prepared.state.card.training
    table = state.card.architecture
    parted = prepared.training_set
    records = list(state.card.images)
    for field, annotation, box in corrections:
        before = example_of(parted, field)
        if before is None:
            rule = state.card.normalisation
            example = make_example(field, annotation, settings.border, rule)
        else:
            example = update_example(before, annotation, box, settings.border)
        parted = with_example(parted, example, reach_of(table))
        note_record(records, record_of(example))
    state.card = state.card.replace(images=tuple(records))
    old, new = prepared.training_set.examples, parted.examples
    if prepared.objective.learn_instead(_only_in(new, old), _only_in(old, new)):
        prepared.sampler.use(new)
    return replace(prepared, training_set=parted)


def note_record(records: list[ImageRecord], record: ImageRecord) -> None:
    """Replace the record of the same pixels, or add it at the end."""
    keys = [(r.name, r.sha256) for r in records]
    key = record.name, record.sha256
    if key in keys:
        records[keys.index(key)] = record
    else:
        records.append(record)


def _only_in(some: Sequence[Example], others: Sequence[Example]) -> list[Example]:
    there = {id(example) for example in others}
    return [example for example in some if id(example) not in there]
