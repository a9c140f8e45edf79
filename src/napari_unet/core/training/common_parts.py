"""Parts of images that several networks hold out alike, at their own size.

Networks for slices and for volumes, or for images of several sizes, learn from
different examples of the same images; each holds out what covers these parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_unet.core.geometry.boxes import full_box
from napari_unet.core.images.rescaling import ScaledField
from napari_unet.core.text import counted
from napari_unet.core.training.training_set import HeldOut, TrainingSet, without_box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.image import Field
    from napari_unet.core.training.training_set import Example


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A part of a plane or volume, in its own pixels."""

    field: Field
    box: Box

    def in_field(self, field: Field) -> Box | None:
        """Return what covers it in a field of another kind or size; None if nothing.

        A part of a plane is in no volume.
        """
        own, box = self.field, self.box
        if own.image is not field.image or own.t != field.t:
            return None
        if own.z is None and field.z is not None:
            if not box[0].start <= field.z < box[0].stop:
                return None
            box = box[1:]
        elif own.z != field.z:
            return None
        return field.scaled_box(box) if isinstance(field, ScaledField) else box


def hold_out_parts(
    examples: Sequence[Example], parts: Sequence[Part], halo: Sequence[int]
) -> TrainingSet:
    """Hold out what covers some parts.

    Nothing within `halo` pixels of it, the reach of the network, is trained on.
    """
    learnt: list[Example] = []
    held: list[HeldOut] = []
    for example in examples:
        found = (part.in_field(example.field) for part in parts)
        boxes = [box for box in found if box is not None]
        held += [HeldOut(example, box) for box in boxes]
        if full_box(example.field.shape) in boxes:
            continue
        for box in boxes:
            example = without_box(example, box, halo)
        learnt.append(example)
    kind = "slice" if examples[0].field.ndim == 2 else "volume"
    words = f"of {counted(len(held), kind)} the same is held out for all that is tried"
    return TrainingSet(tuple(learnt), tuple(held), words)
