"""Label images from outlines in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_unet.core.cells.label_ids import distinct
from napari_unet.core.cells.objects import ObjectClass, Objects
from napari_unet.core.cells.outlines import extent, fill
from napari_unet.core.images.image import Image
from napari_unet.core.text import counted, printable, times
from napari_unet.io.names import image_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

# No image is wider; integer arithmetic is safe up to this.
_FARTHEST = 1e9
# Most pixels of an image whose size is known only from the file, which may claim any.
MOST_PIXELS = 2**28
SMALLEST = "The size of its image is not told: the smallest that holds them is taken."


class Found(NamedTuple):
    """An object's area in a plane."""

    # (corners, 2): x and y from the image's upper left corner; inside is what an odd
    # number of rings encloses
    rings: Sequence[NDArray[Any]]
    t: int = 0
    z: int = 0
    label: int | None = None  # from 1, None if the file has none
    kind: ObjectClass | None = None
    # of the class; what is not 0 to 1 is none
    probability: float | None = None


def painted(
    path: Path,
    found: Sequence[Found],
    like: Image | None = None,
    size: Mapping[str, int] | None = None,
    notes: Sequence[str] = (),
    unknown: Sequence[Found] = (),
) -> Objects:
    """Draw outlines into labels; later ones are on top.

    `like` is the image that they are of, `size` what the file says of it: along t, z,
    y, x. In `unknown` areas there may be other objects. A ValueError says that they do
    not fit the image, or that its size is not known, or too large.
    """
    what = printable(path)
    said = list(notes)
    sizes = _sizes(what, [*found, *unknown], like, size)
    numbers = _numbers(found, said)
    labels = np.zeros(
        [sizes[axis] for axis in "tzyx"], np.min_scalar_type(max(numbers, default=0))
    )
    beyond = hidden = 0
    for one, number in zip(found, numbers, strict=True):
        beyond += _reach(what, one, sizes)
        hidden += fill(labels[one.t, one.z], one.rings, number)
    if beyond:
        reach = "object reaches beyond the image and is"
        many = "objects reach beyond the image and are"
        said.append(f"{counted(beyond, reach, many)} cut off there.")
    if hidden:
        said.append(
            f"Objects overlap in {counted(hidden, 'pixel')}; the later ones are on top "
            "there."
        )
    if lost := len(set(numbers)) - int(np.count_nonzero(distinct(labels))):
        objects = counted(lost, "object has", "objects have")
        said.append(f"{objects} no pixel: smaller than one, or hidden by others.")
    if like is None and not size:
        said.append(SMALLEST)
    left = _painted_unknown(what, unknown, sizes, labels)
    axes = [a for a in "tzyx" if a in (like.axes if like else "yx") or sizes[a] > 1]
    image = Image(
        labels.reshape([sizes[axis] for axis in axes]),
        "".join(axes),
        None if like is None else like.known_um,
        image_name(path),
        tuple(said),
    )
    if left is not None:
        left = left.reshape(image.data.shape)
    return _objects(image, found, numbers, left)


def _painted_unknown(
    what: str,
    areas: Sequence[Found],
    sizes: Mapping[str, int],
    labels: NDArray[np.integer],
) -> NDArray[np.bool_] | None:
    """Return a mask of areas without the objects in them."""
    if not areas:
        return None
    unknown = np.zeros(labels.shape, np.uint8)
    for one in areas:
        _reach(what, one, sizes)
        fill(unknown[one.t, one.z], one.rings, 1)
    left: NDArray[np.bool_] = (unknown > 0) & (labels == 0)
    return left


def _sizes(
    what: str,
    found: Sequence[Found],
    like: Image | None,
    size: Mapping[str, int] | None,
) -> dict[str, int]:
    if not all(map(_leads_somewhere, found)):
        raise ValueError(f"{what}: is damaged, an outline in it leads nowhere.")
    if like is not None:
        return {axis: like.size(axis) for axis in "tzyx"}
    if not found and not size:
        raise ValueError(f"{what}: has no objects that tell the size of their image.")
    boxes = [extent(one.rings) for one in found]
    least = {
        "t": max([0, *(one.t for one in found)]) + 1,
        "z": max([0, *(one.z for one in found)]) + 1,
        "y": int(np.ceil(max([1.0, *(box[3] for box in boxes)]))),
        "x": int(np.ceil(max([1.0, *(box[2] for box in boxes)]))),
    }
    sizes = {axis: (size or {}).get(axis, n) for axis, n in least.items()}
    if np.prod(list(sizes.values()), dtype=float) > MOST_PIXELS:
        raise ValueError(
            f"{what}: its objects reach over {times(list(sizes.values()))} pixels "
            f"(t, z, y, x), more than the {MOST_PIXELS} that are made without the "
            "image that they are of."
        )
    return sizes


def _leads_somewhere(one: Found) -> bool:
    """Whether an outline has corners, and where an image can be."""
    if not one.rings or not all(len(ring) for ring in one.rings):
        return False
    return all(abs(place) <= _FARTHEST for place in extent(one.rings))


def _reach(what: str, one: Found, sizes: Mapping[str, int]) -> bool:
    """Whether an object reaches beyond the image; ValueError if it lies outside."""
    left, top, right, bottom = extent(one.rings)
    height, width = sizes["y"], sizes["x"]
    outside = right <= 0 or bottom <= 0 or left >= width or top >= height
    if outside or not (0 <= one.t < sizes["t"] and 0 <= one.z < sizes["z"]):
        raise ValueError(
            f"{what}: an object at t = {one.t}, z = {one.z}, y = {top:g}, x = {left:g} "
            f"lies outside the image, which has {times([sizes[a] for a in 'tzyx'])} "
            "pixels (t, z, y, x); it is of another one."
        )
    return left < 0 or top < 0 or right > width or bottom > height


def _numbers(found: Sequence[Found], said: list[str]) -> list[int]:
    """Return the ids in labels: those of the file, as far as they are clear."""
    keys = [
        (None, -number) if one.label is None else (_class_name(one), one.label)
        for number, one in enumerate(found)
    ]
    named = {key for key in keys if key[1] > 0}
    if len({label for _, label in named}) < len(named):
        said.append("Objects of different classes had the same id: all have new ids.")
        new = {key: number for number, key in enumerate(dict.fromkeys(keys), start=1)}
        return [new[key] for key in keys]
    numbers, last = [], max((label for _, label in named), default=0)
    for _, label in keys:
        last += label <= 0
        numbers.append(label if label > 0 else last)
    return numbers


def _class_name(one: Found) -> str | None:
    return None if one.kind is None else one.kind.name


def _objects(
    image: Image,
    found: Sequence[Found],
    numbers: Sequence[int],
    unknown: NDArray[np.bool_] | None,
) -> Objects:
    classes: dict[str, ObjectClass] = {}
    names: dict[int, str] = {}
    probabilities: dict[int, float] = {}
    for one, number in zip(found, numbers, strict=True):
        if one.kind is not None:
            classes.setdefault(one.kind.name, one.kind)
            names[number] = one.kind.name
        if one.probability is not None and 0 <= one.probability <= 1:
            probabilities[number] = one.probability
    order = list(classes)
    return Objects(
        image,
        tuple(classes.values()),
        {number: order.index(name) + 1 for number, name in names.items()},
        probabilities,
        unknown=unknown,
    )
