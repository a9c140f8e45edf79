"""The training set: fields with targets, and the part held out for validation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.cells.label_ids import pixel_counts
from napari_unet.core.geometry.boxes import Box, around, full_box, grown, within
from napari_unet.core.images.normalisation import check_finite, frame_of, measure
from napari_unet.core.images.rescaling import ScaledField
from napari_unet.core.training.loss_weights import border_weights, reach
from napari_unet.core.training.validation_split import cheapest_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import Annotation
    from napari_unet.core.images.image import Field
    from napari_unet.core.images.normalisation import GreyScale, Normalisation
    from napari_unet.core.settings import BorderWeights

# Least held-out pixels of each class for a meaningful score.
_ENOUGH_PIXELS = 200
# From this many annotated fields on, whole fields may be held out.
_MANY_FIELDS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The target image of a plane or volume."""

    field: Field
    scale: GreyScale  # from its grey values to the output of the network


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A plane or volume with its annotation or target."""

    field: Field
    scale: GreyScale  # normalisation of the image
    # class of each pixel, `IGNORED` without annotation and where held out; with a
    # target 0 elsewhere
    classes: NDArray[np.uint8]
    border: NDArray[np.float32]  # border weight of each pixel (Eq. 2, second term)
    target: Target | None = None  # None where classes are learnt

    @property
    def spacing(self) -> tuple[float, ...]:
        """Pixel size along each axis relative to the finest."""
        return self.field.image.field_spacing(self.field.ndim)

    @property
    def wanted(self) -> Target:
        """The target; a ValueError says that there is none."""
        if self.target is None:
            raise ValueError("an image without target cannot be learnt.")
        return self.target


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """A part of an example that is predicted for validation."""

    example: Example
    box: Box


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """Examples to train on, held-out parts, and a sentence on the split."""

    examples: tuple[Example, ...]
    held_out: tuple[HeldOut, ...]
    validation: str


def make_example(
    field: Field,
    annotation: Annotation,
    weights: BorderWeights,
    normalisation: Normalisation = "structure",
) -> Example:
    """Turn an annotated field into targets and weights.

    A ValueError says that the shapes differ or the image is not finite.
    """
    _check_shape(field, annotation)
    t, z = frame_of(field, normalisation)
    scale = measure(field.image, t, normalisation, z, spread=True)
    if field.image.data.dtype.kind == "f":
        # the statistics of a large frame may be of a part only
        check_finite(field.image, field.read())
    targets = annotation.targets()
    border = border_weights(
        targets.instances,
        weights,
        background=targets.classes == 0,
        class_of=annotation.class_of,
        spacing=field.image.field_spacing(field.ndim),
    )
    return Example(field, scale, targets.classes, border)


def at_scale(
    field: Field, annotation: Annotation, scale: float
) -> tuple[Field, Annotation]:
    """Return a field and its annotation or target at another size.

    A ValueError says that their shapes differ.
    """
    if scale == 1:
        return field, annotation
    _check_shape(field, annotation)
    scaled = ScaledField(field.image, field.t, field.z, scale)
    finished = annotation.finished
    return scaled, replace(
        annotation,
        labels=scaled.labels(annotation.labels),
        finished=None if finished is None else scaled.labels(finished),
    )


def update_example(
    example: Example,
    annotation: Annotation,
    box: Box | None,
    settings: BorderWeights,
) -> Example:
    """Update an example whose annotation changed within a box.

    The result is what `make_example` would make, yet computed only within reach of the
    change. `example` is all of the field, nothing of it held out, made with the same
    settings. `annotation` is that of the whole field as it is now; `box` is what
    changed of it, None for anything.
    """
    shape = example.field.shape
    changed = box if box is not None else full_box(shape)
    # ridges are drawn in as many passes as there are axes, each one pixel further
    ridges = example.field.ndim
    margins = reach(settings, example.spacing)
    target = grown(changed, [max(margin, ridges) for margin in margins], shape)
    window = grown(grown(target, margins, shape), ridges, shape)
    inner = within(target, window)
    part = annotation.crop(window)
    targets = part.targets()
    classes, border = example.classes.copy(), example.border.copy()
    classes[target] = targets.classes[inner]
    border[target] = border_weights(
        targets.instances,
        settings,
        background=targets.classes == 0,
        class_of=annotation.class_of,
        spacing=example.spacing,
        box=inner,
    )
    return replace(example, classes=classes, border=border)


def count_classes(examples: Iterable[Example], classes: int) -> NDArray[np.int64]:
    """Count the pixels of each class, background first, over all examples."""
    return _count((example.classes for example in examples), classes)


def cell_sizes(annotations: Iterable[Annotation]) -> NDArray[np.int64]:
    """Return the sizes of the annotated cells in pixels (voxels)."""
    counts = [pixel_counts(a.targets().instances) for a in annotations]
    return np.concatenate([np.zeros(0, np.int64), *counts])


def hold_out(
    examples: Sequence[Example],
    share: float,
    halo: Sequence[int],
    classes: int,
    rng: np.random.Generator,
) -> TrainingSet:
    """Split the examples into training and validation data.

    A corner of each field is held out, since fields differ; pixels within the reach of
    the network around it are not trained on, so that no image context leaks. Of many
    fields, whole ones are held out if that leaves more training data. If either is too
    small, a part of one field is.

    `share` is that of the annotated pixels to hold out, 0 for none; `halo` the reach of
    the network in pixels; `classes` their number, background included.
    """
    whole = tuple(examples)
    if share == 0:
        return TrainingSet(whole, (), "nothing is held out, as requested")
    parted = _hold_out_corners(whole, share, halo, rng)
    if len(whole) >= _MANY_FIELDS:
        fields = _hold_out_fields(whole, share, rng)
        if _annotated(fields.examples) > _annotated(parted.examples):
            parted = fields
    if _enough(parted, whole, classes):
        return parted
    found = cheapest_part([e.classes for e in whole], classes, halo, _ENOUGH_PIXELS)
    if found is not None:
        number, box = found
        part = HeldOut(whole[number], box)
        left = without_box(whole[number], box, halo)
        rest = (*whole[:number], left, *whole[number + 1 :])
        one = f"one of {len(whole)} slices" if len(whole) > 1 else "the slice"
        words = f"a part of {one} is held out"
        return TrainingSet(rest, (part,), words)
    return TrainingSet(
        whole, (), "too few labels to validate: all of them are learnt from"
    )


def _check_shape(field: Field, annotation: Annotation) -> None:
    if annotation.labels.shape != field.shape:
        raise ValueError(
            f"{field.image.name}: the image has size {field.shape}, its labels "
            f"{annotation.labels.shape}; they must be equal."
        )


def _hold_out_fields(
    whole: tuple[Example, ...], share: float, rng: np.random.Generator
) -> TrainingSet:
    count = ceil(share * len(whole))
    chosen = set(rng.choice(len(whole), count, replace=False).tolist())
    held = [HeldOut(whole[k], full_box(whole[k].field.shape)) for k in sorted(chosen)]
    rest = tuple(e for k, e in enumerate(whole) if k not in chosen)
    words = f"{count} of {len(whole)} slices are held out"
    return TrainingSet(rest, tuple(held), words)


def _hold_out_corners(
    whole: tuple[Example, ...],
    share: float,
    halo: Sequence[int],
    rng: np.random.Generator,
) -> TrainingSet:
    parts = [_hold_out_corner(e, share, halo, rng) for e in whole]
    each = f"each of {len(whole)} slices" if len(whole) > 1 else "the slice"
    return TrainingSet(
        tuple(e for e, _ in parts),
        tuple(h for _, h in parts if h is not None),
        f"a corner of {each} is held out",
    )


def _annotated(examples: Iterable[Example]) -> int:
    return sum(int(np.count_nonzero(e.classes != IGNORED)) for e in examples)


def _hold_out_corner(
    example: Example, share: float, halo: Sequence[int], rng: np.random.Generator
) -> tuple[Example, HeldOut | None]:
    """Return the corner whose share of the annotation is nearest to the wanted one.

    The corners are those of the box around all annotation: people paint in one place.
    Only y and x are cut: a stack is seldom thick enough to lose slices and a margin.
    """
    side = share**0.5
    annotated = example.classes != IGNORED
    outline = around(annotated)
    if outline is None:
        return example, None
    corners = []
    for low_y, low_x in rng.permutation([(0, 0), (0, 1), (1, 0), (1, 1)]):
        box = [*full_box(example.field.shape)]
        for axis, low in ((-2, low_y), (-1, low_x)):
            start, stop = outline[axis].start, outline[axis].stop
            cut = max(round((stop - start) * side), 1)
            box[axis] = slice(start, start + cut) if low else slice(stop - cut, stop)
        corners.append(tuple(box))
    wanted = share * annotated.sum()
    best = min(corners, key=lambda b: abs(annotated[b].sum() - wanted))
    return without_box(example, best, halo), HeldOut(example, best)


def without_box(example: Example, box: Box, halo: Sequence[int]) -> Example:
    """Return an example that ignores all pixels within `halo` of a box."""
    classes = example.classes.copy()
    classes[grown(box, halo, classes.shape)] = IGNORED
    return replace(example, classes=classes)


def _enough(parted: TrainingSet, whole: Sequence[Example], classes: int) -> bool:
    """Whether both parts have each class, and most of the labels are trained on."""
    judged = _count((h.example.classes[h.box] for h in parted.held_out), classes)
    learnt = count_classes(parted.examples, classes)
    known = count_classes(whole, classes)
    fewest = np.minimum(judged, learnt)[known > 0].min(initial=_ENOUGH_PIXELS)
    return bool(fewest >= _ENOUGH_PIXELS and learnt.sum() >= known.sum() / 2)


def _count(images: Iterable[NDArray[np.uint8]], classes: int) -> NDArray[np.int64]:
    total = np.zeros(256, np.int64)
    for image in images:
        total += np.bincount(image.ravel(), minlength=256)
    return total[:classes]
