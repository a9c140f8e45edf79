"""Masks turned into planes of an annotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import (
    BACKGROUND,
    FIRST_OBJECT,
    PALETTE,
    UNKNOWN,
    Kind,
)
from napari_unet.core.annotation.conversion import convert, whole_numbers
from napari_unet.core.annotation.label_kind import (
    UnclearLabelsError,
    check_no_grey_levels,
    guess,
)
from napari_unet.core.cells.label_ids import distinct, numbered
from napari_unet.core.images.image import Image
from napari_unet.io.project_record import ProjectClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    # (y, x) each, by time point and slice
    Planes = dict[tuple[int, int], NDArray[np.int32]]


class AmbiguousMasksError(ValueError):
    """The meaning of the values cannot be guessed; a person chooses from `choices`."""

    choices: tuple[Kind, ...] = ("instances", "semantic", "annotation", "sparse")

    def __init__(self) -> None:
        super().__init__(
            "The values of these masks may be cells or classes: say which."
        )


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """Masks as planes (y, x) of an annotation, with the classes of their objects."""

    planes: Planes
    class_of: dict[int, int]  # class number of each new object that is not of class 1
    # those of the project, and those that the masks brought
    classes: tuple[ProjectClass, ...]
    first: int  # lowest id that an object may have
    axes: str  # of the masks
    kind: Kind
    empty: int  # planes left out, as they have no value above 0
    unclear: int = 0  # cells left out, as others have a class and they have none
    before: tuple[ProjectClass, ...] = ()  # of the project when the masks were read


def from_masks(
    masks: Any,
    axes: str,
    kind: Kind | None,
    classes: tuple[ProjectClass, ...],
    free: int,
    numbers: Mapping[int, int] | None = None,
    unknown: NDArray[Any] | None = None,
) -> Imported:
    """Turn masks into planes of an annotation.

    ValueError if the values are no whole numbers from 0 on, are grey levels, or there
    are none above 0.

    Parameters
    ----------
    masks : array of whole numbers or bool
    axes : str
        A letter for each of its axes, out of t, z, y, x.
    kind : {"instances", "binary", "semantic", "annotation", "sparse"} or None
        What the values mean; guessed from all frames together if None, or
        AmbiguousMasksError.
    free : int
        The objects get ids from here on, in the order of their ids in the masks; those
        of cells are the same through time.
    numbers : mapping, optional
        Class numbers of cells by their ids in the masks. Where some have one, cells
        without are not annotated.
    unknown : array of bool, optional
        Of the shape of the masks: where no background is annotated.
    """
    image = Image(masks, axes, name="masks")
    frames, meaning = _frames(image, kind)
    class_of, unclear = _classes_of(frames.values(), numbers or {}, free)
    if meaning in ("instances", "annotation"):
        first = FIRST_OBJECT if meaning == "annotation" else 1
        frames = dict(zip(frames, numbered([*frames.values()], first), strict=True))
    # Planes without any value above 0 are left out, of a stack as of a time series:
    # nobody drew there, and an annotation may have gaps.
    planes: Planes = {}
    count, shift = len(classes), free - FIRST_OBJECT
    highest = free - 1
    for t, values in frames.items():
        converted = convert(values, meaning)
        labels = converted.labels.astype(np.int32, copy=False)
        labels = np.where(labels >= FIRST_OBJECT, labels + np.int32(shift), labels)
        if unclear:
            labels[np.isin(labels, unclear)] = UNKNOWN
        if unknown is not None:
            here = unknown[t] if "t" in axes else unknown
            labels[here & (labels == BACKGROUND)] = UNKNOWN
        highest = max(highest, int(labels.max()))
        class_of |= {i + shift: k for i, k in converted.class_of.items() if k > 1}
        count = max(count, len(converted.classes))
        if meaning in ("binary", "semantic", "sparse"):
            # Areas are numbered anew in each time frame.
            shift = highest + 1 - FIRST_OBJECT
        stack = [(0, labels, values)]
        if labels.ndim == 3:
            stack = [(z, labels[z], values[z]) for z in range(len(labels))]
        planes |= {(t, z): plane for z, plane, drawn in stack if drawn.any()}
    empty = image.size("t") * image.size("z") - len(planes)
    new = tuple(
        ProjectClass(name=f"class {k + 1}", colour=PALETTE[k % len(PALETTE)])
        for k in range(len(classes), count)
    )
    every = (*classes, *new)
    lost = len(unclear)
    return Imported(planes, class_of, every, free, axes, meaning, empty, lost)


def _frames(
    image: Image, kind: Kind | None
) -> tuple[dict[int, NDArray[np.integer]], Kind]:
    """Return the time points with any value above 0, and what the values mean."""
    frames = {
        field.t: values
        for field in image.fields(3 if "z" in image.axes else 2)
        if (values := whole_numbers(field.read()[0])).any()
    }
    if not frames:
        raise ValueError("The masks are empty: all their values are 0.")
    for values in frames.values():
        check_no_grey_levels(values, kind)
    try:
        return frames, kind or guess(frames.values())
    except UnclearLabelsError as error:
        raise AmbiguousMasksError from error


def _classes_of(
    frames: Iterable[NDArray[np.integer]], numbers: Mapping[int, int], free: int
) -> tuple[dict[int, int], list[int]]:
    """Return the class numbers above 1 by new ids, and the new ids of those without.

    `numbers` are by old ids; if there are none, both results are empty.
    """
    if not numbers:
        return {}, []
    ids = np.unique(np.concatenate([distinct(f).astype(np.uint64) for f in frames]))
    new = {old: free + k for k, old in enumerate(ids[ids > 0].tolist())}
    found = {new[i]: number for i, number in numbers.items() if i in new and number > 1}
    return found, [label for old, label in new.items() if old not in numbers]
