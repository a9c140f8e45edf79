"""Masks and polygons from elsewhere, turned into annotations.

Other tools use 0 for the background and have no value for "not annotated"; what the
other values mean has to be said, or is guessed (`core.annotation.label_kind`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from napari_unet.core.annotation.annotations import (
    BACKGROUND,
    FIRST_OBJECT,
    MAX_CLASSES,
    UNKNOWN,
    Annotation,
    ClassInfo,
    Kind,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Real numbers above this are not counted one by one.
_EXACT = 2**53


def convert(
    mask: NDArray[Any], kind: Kind, class_names: Sequence[str] | None = None
) -> Annotation:
    """Turn a mask into an annotation.

    `mask` holds whole numbers or bool, shape ([z,] y, x). There is a single class name
    except for "semantic" and "sparse". A ValueError says that the mask or the names do
    not fit.
    """
    if kind not in get_args(Kind):
        raise ValueError(
            f"masks are of the kind {', '.join(get_args(Kind))}, found {kind!r}."
        )
    if kind == "semantic":
        return from_semantic(mask, class_names)
    if kind == "sparse":
        return from_sparse(mask, class_names)
    names = list(class_names) if class_names is not None else ["cells"]
    if len(names) != 1:
        raise ValueError(f"masks of the kind {kind} have one class, found {names}.")
    if kind == "instances":
        return from_instances(mask, names[0])
    if kind == "binary":
        return from_binary(mask, names[0])
    return Annotation(_whole(mask), (ClassInfo(name=names[0]),))


def whole_numbers(mask: NDArray[Any]) -> NDArray[np.integer]:
    """Return a mask as integers; a ValueError if it is no plane or volume of them."""
    if mask.ndim not in (2, 3):
        raise ValueError(
            f"masks are planes (y, x) or volumes (z, y, x), found shape {mask.shape}."
        )
    if mask.dtype.kind not in "buif":
        raise ValueError(f"the values of a mask are whole numbers, found {mask.dtype}.")
    low, high = (mask.min(), mask.max()) if mask.size else (0, 0)
    if low < 0 or (mask.dtype.kind == "f" and float(high) > _EXACT):
        raise ValueError(
            f"the values of a mask are whole numbers from 0 on, found {low} to {high}."
        )
    if mask.dtype.kind == "f" and not (mask == np.floor(mask)).all():
        odd = mask[mask != np.floor(mask)][0]
        raise ValueError(f"the values of a mask are whole numbers, found {odd}.")
    kept = {"b": np.uint8, "f": np.int64}.get(mask.dtype.kind)
    return mask if kept is None else mask.astype(kept)


def from_instances(mask: NDArray[Any], name: str = "cells") -> Annotation:
    """Make each value above 0 a cell, its id by one higher, and 0 background."""
    return Annotation(_whole(mask) + 1, (ClassInfo(name=name),))


def from_binary(mask: NDArray[Any], name: str = "cells") -> Annotation:
    """Make each area above 0, connected across faces, a cell, and 0 background.

    A ValueError says that there are several values above 0.
    """
    values = whole_numbers(np.asarray(mask))
    found = np.unique(values[values > 0])
    if len(found) > 1:
        raise ValueError(
            "a binary mask has 0 and one other value, "
            f"found {len(found)} others from {found[0]} to {found[-1]}."
        )
    return Annotation(_areas(values > 0) + 1, (ClassInfo(name=name),))


def from_semantic(
    mask: NDArray[Any], class_names: Sequence[str] | None = None
) -> Annotation:
    """Read values as class numbers and 0 as background.

    The face-connected areas of a class become its objects. There are as many classes as
    the highest value unless they are named. A ValueError says that a value has no name,
    or that there are more than 254 classes.
    """
    values = _whole(mask)
    classes = _classes(int(values.max(initial=0)), class_names)
    labels = np.full(values.shape, BACKGROUND, np.int32)
    class_of: dict[int, int] = {}
    free = FIRST_OBJECT
    for number in range(1, len(classes) + 1):
        member = values == number
        areas = _areas(member)
        labels[member] = areas[member] + (free - 1)
        count = int(areas.max(initial=0))
        class_of |= dict.fromkeys(range(free, free + count), number)
        free += count
    return Annotation(labels, classes, class_of)


def from_sparse(
    mask: NDArray[Any], class_names: Sequence[str] | None = None
) -> Annotation:
    """Read values from 2 up as classes, 1 as background and 0 as not annotated.

    These are the masks of the U-Net plugin of Fiji. Otherwise as `from_semantic`, with
    classes numbered from 1.
    """
    values = _whole(mask)
    found = from_semantic(np.maximum(values - BACKGROUND, 0), class_names)
    return replace(found, labels=np.where(values == UNKNOWN, UNKNOWN, found.labels))


def polygon_ids(
    polygons: Sequence[NDArray[Any]], shape: tuple[int, int]
) -> NDArray[np.int32]:
    """Draw polygons into a plane (y, x), each with its number from 1; 0 elsewhere.

    A polygon is an array (vertices, 2) of (y, x) in pixels, whole numbers being pixel
    centres. A pixel belongs to it if its centre does; later ones lie on top; what is
    beyond the image is cut off. A ValueError says that one lacks vertices.
    """
    from skimage.draw import polygon as draw  # slow to import

    ids = np.zeros(shape, np.int32)
    for number, vertices in enumerate(polygons, start=1):
        points = np.asarray(vertices, np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
            raise ValueError(
                "a polygon has at least three vertices (y, x), found an array of "
                f"shape {points.shape}."
            )
        ids[draw(points[:, 0], points[:, 1], shape)] = number
    return ids


def _whole(mask: NDArray[Any]) -> NDArray[np.int32]:
    """Check a mask, and return it as ids of an annotation are."""
    array = whole_numbers(np.asarray(mask))
    if array.max(initial=0) >= np.iinfo(np.int32).max:
        raise ValueError(
            "the values of a mask are 0 to 2^31 - 2, "
            f"found {array.min()} to {array.max()}."
        )
    return array.astype(np.int32)


def _areas(member: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Number the areas of a mask, connected across faces, from 1."""
    from scipy.ndimage import label  # slow to import

    areas = np.empty(member.shape, np.int32)
    label(member, output=areas)
    return areas


def _classes(count: int, names: Sequence[str] | None) -> tuple[ClassInfo, ...]:
    """Describe the classes: at least one, for a mask may happen to be empty."""
    given = names or [f"class {k}" for k in range(1, min(max(count, 1), 255) + 1)]
    if count > MAX_CLASSES or len(given) > MAX_CLASSES:
        raise ValueError(
            f"there are at most {MAX_CLASSES} classes, found {max(count, len(given))}: "
            "are these ids of cells, or is it a binary mask?"
        )
    if count > len(given):
        raise ValueError(f"the mask has class {count}, but only {len(given)} names.")
    return tuple(ClassInfo(name=name) for name in given)
