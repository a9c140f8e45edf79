"""Masks, polygons and scribbles from elsewhere, turned into annotations.

Other tools use 0 for the background and have no value for "not annotated"; what the
other values mean has to be said, or is guessed (`core.annotation.label_kind`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from napari_unet.core.annotation.annotations import (
    BACKGROUND,
    FIRST_OBJECT,
    MAX_CLASSES,
    Annotation,
    ClassInfo,
    ClassKind,
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

    Parameters
    ----------
    mask : ndarray of whole numbers or bool, shape ([z,] y, x)
    kind : {"instances", "binary", "semantic", "annotation"}
        See `from_instances`, `from_binary`, `from_semantic` and `as_annotation`.
    class_names : sequence of str, optional
        Names of the foreground classes; a single one except for "semantic".

    Returns
    -------
    Annotation

    Raises
    ------
    ValueError
        If the mask or the number of names does not suit the kind.
    """
    if kind not in get_args(Kind):
        raise ValueError(
            f"masks are of the kind {', '.join(get_args(Kind))}, found {kind!r}."
        )
    if kind == "semantic":
        return from_semantic(mask, class_names)
    names = list(class_names) if class_names is not None else ["cells"]
    if len(names) != 1:
        raise ValueError(f"masks of the kind {kind} have one class, found {names}.")
    if kind == "instances":
        return from_instances(mask, names[0])
    if kind == "binary":
        return from_binary(mask, names[0])
    return as_annotation(mask, (ClassInfo(name=names[0]),))


def whole_numbers(mask: NDArray[Any]) -> NDArray[np.integer]:
    """Check that a mask is a plane or a volume of whole numbers from 0 on.

    Returns
    -------
    ndarray of int
        The mask itself unless it is of another type.

    Raises
    ------
    ValueError
        If it is not.
    """
    if mask.ndim not in (2, 3):
        raise ValueError(
            f"masks are planes (y, x) or volumes (z, y, x), found shape {mask.shape}."
        )
    if mask.dtype.kind not in "buif":
        raise ValueError(f"the values of a mask are whole numbers, found {mask.dtype}.")
    low, high = (mask.min(), mask.max()) if mask.size else (0, 0)
    if low < 0 or (mask.dtype.kind == "f" and high > _EXACT):
        raise ValueError(
            f"the values of a mask are whole numbers from 0 on, found {low} to {high}."
        )
    if mask.dtype.kind == "f" and not (mask == np.floor(mask)).all():
        odd = mask[mask != np.floor(mask)][0]
        raise ValueError(f"the values of a mask are whole numbers, found {odd}.")
    kept = {"b": np.uint8, "f": np.int64}.get(mask.dtype.kind)
    return mask if kept is None else mask.astype(kept)


def as_annotation(
    labels: NDArray[Any], classes: tuple[ClassInfo, ...] = (ClassInfo(),)
) -> Annotation:
    """Take an array that is 0 not annotated, 1 background, 2 and up ids of objects."""
    return Annotation(_whole(labels), classes)


def from_instances(mask: NDArray[Any], name: str = "cells") -> Annotation:
    """Take each value above 0 as a cell and 0 as background.

    Ids in the annotation are by one higher than in the mask.
    """
    return Annotation(_whole(mask) + 1, (ClassInfo(name=name),))


def from_binary(
    mask: NDArray[Any], name: str = "cells", connectivity: int = 1
) -> Annotation:
    """Take each connected area above 0 as a cell and 0 as background.

    Parameters
    ----------
    mask : ndarray of whole numbers or bool, shape ([z,] y, x)
        0 and one other value.
    name : str
        Of the class.
    connectivity : int
        1 connects pixels across faces (4 neighbours in a plane, 6 in a volume), the
        number of axes also across corners (8, 26).

    Returns
    -------
    Annotation

    Raises
    ------
    ValueError
        If there are several values above 0.
    """
    values = _whole(mask)
    found = np.unique(values[values > 0])
    if len(found) > 1:
        raise ValueError(
            "a binary mask has 0 and one other value, "
            f"found {len(found)} others from {found[0]} to {found[-1]}."
        )
    return Annotation(_areas(values > 0, connectivity) + 1, (ClassInfo(name=name),))


def from_semantic(
    mask: NDArray[Any],
    class_names: Sequence[str] | None = None,
    kinds: ClassKind | Sequence[ClassKind] = "cells",
) -> Annotation:
    """Take values as class numbers and 0 as background.

    Parameters
    ----------
    mask : ndarray of whole numbers or bool, shape ([z,] y, x)
    class_names : sequence of str, optional
        Name of each class from 1 on; as many as the highest value unless given.
    kinds : {"cells", "regions"} or a sequence of these
        Kind of all classes or of each. The face-connected areas of a class of cells
        become its objects.

    Returns
    -------
    Annotation

    Raises
    ------
    ValueError
        If values, names and kinds do not match, or there are more than 254 classes.
    """
    values = _whole(mask)
    classes = _class_infos(int(values.max(initial=0)), class_names, kinds)
    labels = np.full(values.shape, BACKGROUND, np.int32)
    class_of: dict[int, int] = {}
    free = FIRST_OBJECT
    for number, info in enumerate(classes, start=1):
        member = values == number
        areas = _areas(member) if info.kind == "cells" else member.astype(np.int32)
        labels[member] = areas[member] + (free - 1)
        count = int(areas.max(initial=0))
        class_of |= dict.fromkeys(range(free, free + count), number)
        free += count
    return Annotation(labels, classes, class_of)


def from_scribbles(
    scribbles: NDArray[Any], class_names: Sequence[str] | None = None
) -> Annotation:
    """Take 0 as not annotated, 1 as background and 2 and up as classes of regions.

    Parameters
    ----------
    scribbles : ndarray of whole numbers, shape ([z,] y, x)
        k + 1 for class number k.
    class_names : sequence of str, optional
        Name of each class; as many as the highest value needs unless given.

    Returns
    -------
    Annotation
        With one object for each class.

    Raises
    ------
    ValueError
        If a value has no name, there are more than 254 classes, or nothing is marked.
    """
    values = _whole(scribbles)
    top = int(values.max(initial=0))
    if top == 0:
        raise ValueError("nothing is annotated: all scribbles are 0.")
    classes = _class_infos(max(top - 1, 0), class_names, "regions")
    return Annotation(values, classes, {k + 1: k for k in range(1, len(classes) + 1)})


def from_polygons(
    polygons: Sequence[NDArray[Any]],
    classes: Sequence[str],
    shape: tuple[int, ...],
    z: Sequence[int] | None = None,
) -> Annotation:
    """Draw polygons, each a cell.

    Parameters
    ----------
    polygons : sequence of ndarray, each of shape (vertices, 2)
        Vertices as (y, x) in pixels, whole numbers being pixel centres. A pixel belongs
        to a polygon if its centre does; later polygons lie on top. What is beyond the
        image is cut off.
    classes : sequence of str
        Name of the class of each polygon.
    shape : tuple of int
        ([z,] y, x).
    z : sequence of int, optional
        Slice of each polygon, needed with three axes.

    Returns
    -------
    Annotation
        Classes in order of appearance. Planes with polygons are background elsewhere,
        those without are not annotated.

    Raises
    ------
    ValueError
        If there is no polygon, one lacks vertices or a slice, or the lengths differ.
    """
    slices = _slices(len(polygons), classes, shape, z)
    from skimage.draw import polygon as draw  # slow to import

    names = list(dict.fromkeys(classes))
    labels = np.zeros(shape, np.int32)
    planes = labels.reshape(-1, *shape[-2:])
    planes[slices] = BACKGROUND
    for number, (vertices, k) in enumerate(zip(polygons, slices, strict=True)):
        points = np.asarray(vertices, np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
            raise ValueError(
                "a polygon has at least three vertices (y, x), found an array of "
                f"shape {points.shape}."
            )
        planes[k][draw(points[:, 0], points[:, 1], shape[-2:])] = FIRST_OBJECT + number
    numbers = [names.index(name) + 1 for name in classes]
    class_of = dict(enumerate(numbers, start=FIRST_OBJECT))
    return Annotation(labels, tuple(ClassInfo(name=n) for n in names), class_of)


def _whole(mask: NDArray[Any]) -> NDArray[np.int32]:
    """Check a mask, and return it as ids of an annotation are."""
    array = whole_numbers(np.asarray(mask))
    if array.max(initial=0) >= np.iinfo(np.int32).max:
        raise ValueError(
            "the values of a mask are 0 to 2^31 - 2, "
            f"found {array.min()} to {array.max()}."
        )
    return array.astype(np.int32)


def _areas(member: NDArray[np.bool_], connectivity: int = 1) -> NDArray[np.int32]:
    """Number the connected areas of a mask from 1."""
    from scipy.ndimage import generate_binary_structure, label  # slow to import

    structure = generate_binary_structure(member.ndim, connectivity)
    areas = np.empty(member.shape, np.int32)
    label(member, structure, output=areas)
    return areas


def _class_infos(
    count: int,
    names: Sequence[str] | None,
    kinds: ClassKind | Sequence[ClassKind],
) -> tuple[ClassInfo, ...]:
    """Describe the classes: at least one, for a mask may happen to be empty."""
    given = names or [f"class {k}" for k in range(1, min(max(count, 1), 255) + 1)]
    if count > MAX_CLASSES or len(given) > MAX_CLASSES:
        raise ValueError(
            f"there are at most {MAX_CLASSES} classes, found {max(count, len(given))}: "
            "are these ids of cells, or is it a binary mask?"
        )
    if count > len(given):
        raise ValueError(f"the mask has class {count}, but only {len(given)} names.")
    each = [kinds] * len(given) if isinstance(kinds, str) else list(kinds)
    if len(each) != len(given):
        raise ValueError(f"{len(given)} classes need as many kinds, found {len(each)}.")
    return tuple(ClassInfo(name=n, kind=k) for n, k in zip(given, each, strict=True))


def _slices(
    count: int, classes: Sequence[str], shape: tuple[int, ...], z: Sequence[int] | None
) -> list[int]:
    """Return the slice of each polygon, checked."""
    if count == 0:
        raise ValueError("nothing is annotated: there are no polygons.")
    if len(shape) not in (2, 3) or (z is None) != (len(shape) == 2):
        raise ValueError(
            "polygons need a shape (y, x), or (z, y, x) and their slices; found "
            f"{shape} {'without' if z is None else 'with'} slices."
        )
    slices = list(z) if z is not None else [0] * count
    if len(classes) != count or len(slices) != count:
        raise ValueError(
            f"{count} polygons need as many classes and slices, found {len(classes)} "
            f"and {len(slices)}."
        )
    depth = shape[0] if len(shape) == 3 else 1
    if not all(0 <= k < depth for k in slices):
        raise ValueError(f"the slices are 0 to {depth - 1}, found {slices}.")
    return slices
