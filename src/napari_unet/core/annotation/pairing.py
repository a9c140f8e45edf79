"""Images and their labels, paired field by field."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Any

from napari_unet.core.annotation.annotations import (
    BACKGROUND,
    FIRST_OBJECT,
    MAX_CLASSES,
    Annotation,
)
from napari_unet.core.annotation.conversion import convert, whole_numbers
from napari_unet.core.annotation.label_kind import (
    check_ids,
    check_no_grey_levels,
    guess,
)
from napari_unet.core.annotation.object_classes import annotations_from, classes_of
from napari_unet.core.cells.label_ids import numbered
from napari_unet.core.cells.objects import Objects
from napari_unet.core.images.image import Image
from napari_unet.core.text import listed, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import Kind
    from napari_unet.core.images.image import ArrayLike, Field


def annotated_fields(
    images: Sequence[Image | ArrayLike],
    labels: Sequence[Annotation | Objects | Image | ArrayLike],
    ndim: int,
    kind: Kind | None = None,
) -> list[tuple[Field, Annotation]]:
    """Pair the planes (`ndim` 2) or volumes (3) of images with their annotation.

    `labels` has one for each image, `kind` says what their values mean; it is guessed
    from all of them if not given. Ids of cells are numbered anew, in their order, the
    same in all. Fields of which nothing is known are left out. All have the same
    classes; those of objects are those of all of them. A ValueError says that images
    and labels do not go together, or nothing is annotated.
    """
    if not images or len(images) != len(labels):
        raise ValueError(
            "each image needs its labels, found "
            f"{len(images)} image(s) and {len(labels)} label image(s)."
        )
    pairs: list[tuple[Field, Annotation]] = []
    fields: list[Field] = []
    masks: list[Field] = []
    classes = classes_of([known for known in labels if isinstance(known, Objects)])
    opened = [i if isinstance(i, Image) else Image.from_array(i) for i in images]
    masked: list[Annotation | Objects | Image] = [
        known
        if isinstance(known, Annotation | Objects | Image)
        else Image.from_array(known)
        for known in labels
    ]
    _check_sizes(opened, masked)
    for image, known in zip(opened, masked, strict=True):
        if isinstance(known, Annotation):
            pairs.append((_only_field(image, ndim), known))
            continue
        if isinstance(known, Objects):
            found = annotations_from(known, classes, ndim)
            pairs += zip(image.fields(ndim), found, strict=True)
            continue
        fields += image.fields(ndim)
        masks += known.fields(ndim)
    pairs += zip(fields, _convert(masks, kind), strict=True)
    known_pairs = [(f, a) for f, a in pairs if a.labels.any() or a.finished is not None]
    if not known_pairs:
        raise ValueError("nothing is annotated: the labels mark no pixel.")
    several = {a.classes for _, a in known_pairs}
    if len(several) > 1:
        words = sorted(
            ", ".join(f"{c.name} ({c.kind})" for c in each) for each in several
        )
        raise ValueError(
            f"all images must have the same classes, found {' and '.join(words)}."
        )
    return known_pairs


def annotations_of(
    masks: Sequence[Image], ndim: int, kind: Kind | None = None
) -> list[Annotation]:
    """Return each plane or volume annotated by label images; as `annotated_fields`."""
    return _convert([field for mask in masks for field in mask.fields(ndim)], kind)


def kind_of(masks: Sequence[Image]) -> Kind:
    """Find what the values of label images mean, all of them together.

    A ValueError says that they are grey levels or not whole numbers, an
    UnclearLabelsError that the user has to say.
    """
    fields = [field for mask in masks for field in mask.fields(2)]
    return _kind_of(*_read(fields), None)


def check_values(mask: Image, kind: Kind | None = None) -> None:
    """Refuse, with a ValueError, a label image whose values cannot mean this."""
    if kind is None:
        check_sharp(mask)
    else:
        annotations_of([mask], 2, kind)


def check_sharp(mask: Image, kind: Kind | None = None) -> None:
    """Refuse, with a ValueError, a label image that is grey levels."""
    _check_sharp(*_read(list(mask.fields(2))), kind)


def _only_field(image: Image, ndim: int) -> Field:
    fields = list(image.fields(ndim))
    if len(fields) > 1:
        raise ValueError(
            f"{image.name}: an annotation belongs to one plane or volume, "
            f"the image has {len(fields)}."
        )
    return fields[0]


def _check_sizes(
    images: Sequence[Image], labels: Sequence[Annotation | Objects | Image]
) -> None:
    """Refuse labels that do not fit their images; the error lists them all."""
    problems = []
    for image, known in zip(images, labels, strict=True):
        if isinstance(known, Annotation):
            continue
        mask = known.labels if isinstance(known, Objects) else known
        both = f"{image.name} and its labels {mask.name} must have equal sizes"
        sizes = {a: (image.size(a), mask.size(a)) for a in "tzyx"}
        shown = [f"{axis} {a} and {b}" for axis, (a, b) in sizes.items() if a * b != 1]
        if any(a != b for a, b in sizes.values()):
            problems.append(f"{both}, found {', '.join(shown)}.")
        elif mask.channels > 1:
            problems.append(
                f"{mask.name}: labels have one channel, found {mask.channels}."
            )
    if problems:
        raise ValueError(listed(problems, most=5, between=" "))


def _convert(masks: Sequence[Field], kind: Kind | None) -> list[Annotation]:
    """Read the labels field by field and give their values their meaning."""
    names, arrays = _read(masks)
    meaning = _kind_of(names, arrays, kind)
    if meaning in ("instances", "annotation"):
        first = FIRST_OBJECT if meaning == "annotation" else 1
        arrays = [*numbered(arrays, first)]
    below = {"semantic": 0, "sparse": BACKGROUND}.get(meaning)
    classes = None if below is None else _class_names(arrays, below)
    annotations = []
    for name, array in zip(names, arrays, strict=True):
        with _named(name):
            annotations.append(convert(array, meaning, classes))
    return annotations


def _read(fields: Sequence[Field]) -> tuple[list[str], list[NDArray[np.integer]]]:
    """Read labels, checked, and the names of their images."""
    arrays = []
    for field in fields:
        with _named(field.image.name):
            arrays.append(whole_numbers(field.read()[0]))
    return [field.image.name for field in fields], arrays


def _kind_of(
    names: Sequence[str], arrays: Sequence[NDArray[np.integer]], kind: Kind | None
) -> Kind:
    """Check that labels are not grey levels; guess their meaning unless it is given."""
    _check_sharp(names, arrays, kind)
    if kind is not None or not names:
        return kind or "binary"
    with _named(listed([*dict.fromkeys(names)], 1)):
        found = guess(arrays)
    if found == "instances":
        for name, same in groupby(
            zip(names, arrays, strict=True), key=lambda pair: pair[0]
        ):
            with _named(name):
                check_ids([array for _, array in same])
    return found


def _check_sharp(
    names: Sequence[str], arrays: Sequence[NDArray[np.integer]], kind: Kind | None
) -> None:
    for name, array in zip(names, arrays, strict=True):
        with _named(name):
            check_no_grey_levels(array, kind)


def _class_names(arrays: Sequence[NDArray[Any]], below: int) -> list[str]:
    """Name the same classes for all, also where a field lacks the last of them.

    The first has the value after `below`.
    """
    most = max((int(array.max()) for array in arrays), default=0) - below
    # ids of cells are many, and refused field by field
    return [f"class {k}" for k in range(1, min(most, MAX_CLASSES) + 1)]


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Say in an error which labels it is about."""
    try:
        yield
    except ValueError as error:
        if str(error).startswith(f"{printable(name)}: "):
            raise  # of a file that cannot be read
        raise type(error)(f"{name}: {error}") from error
