"""Masks and polygons from elsewhere, as planes of an annotation with new ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import FIRST_OBJECT, UNKNOWN, Kind
from napari_unet.core.annotation.conversion import convert, from_polygons, whole_numbers
from napari_unet.core.annotation.label_kind import (
    UnclearLabelsError,
    check_no_grey_levels,
    guess,
)
from napari_unet.core.cells.label_ids import numbered
from napari_unet.core.images.image import Image
from napari_unet.session.project.record import PALETTE, ProjectClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.layers import Labels, Shapes
    from numpy.typing import NDArray

CHOICES: tuple[Kind, ...] = ("instances", "semantic", "annotation")

_CORNERS = 64
"""Vertices that an ellipse is drawn with."""


class AmbiguousMasksError(ValueError):
    """What the values of masks mean has to be asked.

    Attributes
    ----------
    choices : tuple of str
        The kinds they may be of.
    """

    def __init__(self) -> None:
        super().__init__(
            "The values of these masks may be cells or classes: say which."
        )
        self.choices = CHOICES


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """Planes to be taken into an annotation.

    Attributes
    ----------
    planes : dict of (t, z) to ndarray of int32, shape (y, x)
    class_of : dict of int to int
        Class number of each new object that is not of class 1.
    classes : tuple of ProjectClass
        Those of the project, and those that the masks brought.
    first : int
        Lowest id that an object may have.
    axes : str
        Of the masks.
    kind : {"instances", "binary", "semantic", "annotation"}
        What their values mean.
    empty : int
        Planes left out, as they have no value above 0.
    """

    planes: dict[tuple[int, int], NDArray[np.int32]]
    class_of: dict[int, int]
    classes: tuple[ProjectClass, ...]
    first: int
    axes: str
    kind: Kind
    empty: int


def from_masks(
    masks: Any,
    axes: str,
    kind: Kind | None,
    classes: tuple[ProjectClass, ...],
    free: int,
) -> Imported:
    """Turn masks into planes of an annotation.

    Parameters
    ----------
    masks : array of whole numbers or bool
    axes : str
        A letter for each of its axes, out of t, z, y, x.
    kind : {"instances", "binary", "semantic", "annotation"} or None
        What the values mean; guessed from all frames together if None.
    classes : tuple of ProjectClass
    free : int
        The objects get ids from here on, in the order of their ids in the masks; those
        of cells are the same through time.

    Returns
    -------
    Imported
        Planes without any value above 0 are left out, of a stack as of a time series:
        nobody drew there, and an annotation may have gaps.

    Raises
    ------
    AmbiguousMasksError
        If the kind cannot be told from the values.
    ValueError
        If the values are no whole numbers from 0 on, are grey levels, or there are none
        above 0.
    """
    image = Image(masks, axes, name="masks")
    frames = {
        field.t: values
        for field in image.fields(3 if "z" in axes else 2)
        if (values := whole_numbers(field.read()[0])).any()
    }
    if not frames:
        raise ValueError("The masks are empty: all their values are 0.")
    for values in frames.values():
        check_no_grey_levels(values, kind)
    meaning = kind or _guess(frames.values())
    if meaning in ("instances", "annotation"):
        first = FIRST_OBJECT if meaning == "annotation" else 1
        frames = dict(zip(frames, numbered([*frames.values()], first), strict=True))
    planes: dict[tuple[int, int], NDArray[np.int32]] = {}
    class_of: dict[int, int] = {}
    count, shift = len(classes), free - FIRST_OBJECT
    highest = free - 1
    for t, values in frames.items():
        taken = convert(values, meaning)
        labels = taken.labels
        if shift:
            labels = np.where(labels >= FIRST_OBJECT, labels + shift, labels)
        highest = max(highest, int(labels.max()))
        class_of |= {i + shift: k for i, k in taken.class_of.items() if k > 1}
        count = max(count, len(taken.classes))
        if meaning in ("binary", "semantic"):
            # Areas are numbered anew in each time frame.
            shift = highest + 1 - FIRST_OBJECT
        planes |= _drawn_planes(labels.astype(np.int32, copy=False), values, t)
    empty = image.size("t") * image.size("z") - len(planes)
    infos = with_classes(classes, count)
    return Imported(planes, class_of, infos, free, axes, meaning, empty)


def from_shapes(
    shapes: Shapes,
    annotation: Labels,
    axes: str,
    view: tuple[int, int],
    free: int,
) -> dict[tuple[int, int], NDArray[np.int32]]:
    """Draw the polygons, rectangles and ellipses of a layer, each as a cell.

    Parameters
    ----------
    shapes, annotation : layers
        They may differ in scale and translation.
    axes : str
        Of the annotation's data.
    view : (t, z)
        Place of shapes that have only y and x.
    free : int
        The cells get ids from here on.

    Returns
    -------
    dict of (t, z) to ndarray of int32, shape (y, x)
        0 outside of the shapes: what is there is not known.

    Raises
    ------
    ValueError
        If there are no such shapes, or they lie outside of the image.
    """
    found: dict[tuple[int, int], list[NDArray[Any]]] = {}
    for vertices, kind in zip(shapes.data, shapes.shape_type, strict=True):
        if kind in ("line", "path"):
            continue
        corners = _ellipse(vertices) if kind == "ellipse" else np.asarray(vertices)
        points = _in_pixels(corners, shapes, annotation)
        place = view if shapes.ndim == 2 else _place(points, axes)
        found.setdefault(place, []).append(points[:, -2:])
    sizes = dict(zip(axes, annotation.data.shape, strict=True))
    inside = {
        (t, z): polygons
        for (t, z), polygons in found.items()
        if 0 <= t < sizes.get("t", 1) and 0 <= z < sizes.get("z", 1)
    }
    if not inside:
        raise ValueError(
            f"{shapes.name} has no polygons, rectangles or ellipses in the image."
        )
    planes = {}
    for place, polygons in inside.items():
        names = ["cells"] * len(polygons)
        drawn = from_polygons(polygons, names, (sizes["y"], sizes["x"])).labels
        cells = drawn >= FIRST_OBJECT
        planes[place] = np.where(cells, drawn + free - FIRST_OBJECT, UNKNOWN).astype(
            np.int32
        )
        free += len(polygons)
    return planes


def merged(
    old: NDArray[np.integer], new: NDArray[np.integer], replace: bool
) -> NDArray[np.int32]:
    """Return a plane with new annotation where there was none, or everywhere."""
    if replace:
        return np.asarray(new, np.int32)
    return np.where(old == UNKNOWN, new, old).astype(np.int32)


def drawn_over_background(
    old: NDArray[np.integer], new: NDArray[np.integer]
) -> NDArray[np.int32]:
    """Return a plane with new objects wherever there was none, background or not."""
    takes = (new >= FIRST_OBJECT) & (old < FIRST_OBJECT)
    return np.where(takes, new, old).astype(np.int32)


def with_classes(
    classes: tuple[ProjectClass, ...], count: int
) -> tuple[ProjectClass, ...]:
    """Return the classes with as many more as needed."""
    more = [
        ProjectClass(name=f"class {k + 1}", colour=PALETTE[k % len(PALETTE)])
        for k in range(len(classes), count)
    ]
    return (*classes, *more)


def _guess(frames: Iterable[NDArray[np.integer]]) -> Kind:
    """Tell what values mean."""
    try:
        return guess(frames)
    except UnclearLabelsError as error:
        raise AmbiguousMasksError from error


def _drawn_planes(
    labels: NDArray[np.int32], values: NDArray[Any], t: int
) -> dict[tuple[int, int], NDArray[np.int32]]:
    """Return the planes of a field in which anything was drawn."""
    if labels.ndim == 2:
        return {(t, 0): labels}
    return {(t, z): labels[z] for z in range(len(labels)) if values[z].any()}


def _in_pixels(
    corners: NDArray[Any], shapes: Shapes, annotation: Labels
) -> NDArray[np.float64]:
    """Return vertices in pixels of the annotation; axes the shapes lack are 0."""
    world = np.array([shapes.data_to_world(point) for point in corners], np.float64)
    points = np.zeros((len(world), annotation.ndim))
    shared = min(world.shape[1], annotation.ndim)
    points[:, -shared:] = world[:, -shared:]
    return np.array([annotation.world_to_data(point) for point in points], np.float64)


def _place(points: NDArray[np.float64], axes: str) -> tuple[int, int]:
    """Return the plane that vertices lie in."""
    middle = np.round(points.mean(axis=0)).astype(int).tolist()
    where = dict(zip(axes, middle, strict=True))
    return where.get("t", 0), where.get("z", 0)


def _ellipse(corners: Sequence[Any]) -> NDArray[np.float64]:
    """Return points on the ellipse in a parallelogram of four corners."""
    box = np.asarray(corners, np.float64)
    centre, right, up = box.mean(axis=0), (box[1] - box[0]) / 2, (box[3] - box[0]) / 2
    angle = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)[:, np.newaxis]
    points: NDArray[np.float64] = centre + np.cos(angle) * right + np.sin(angle) * up
    return points
