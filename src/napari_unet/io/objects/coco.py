"""COCO instances: polygons, or run lengths (RLE) for objects with holes.

The polygons of an object are united, so they cannot represent holes. Run lengths are by
convention for crowds, which evaluations leave out; here they are of single objects,
with ``iscrowd`` 0. COCO has only planes: each plane of a stack is an image of its own,
``name#t0z3``. Beside COCO's own keys are ``label``, the id, ``t`` and ``z``, and
``no_class`` of the category of objects that have none.
"""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic_core import from_json, to_json

from napari_unet.core.cells.objects import HIGHEST_ID, ObjectClass
from napari_unet.core.cells.outlines import trace
from napari_unet.core.text import counted, listed, printable, shown
from napari_unet.io.atomic import atomic
from napari_unet.io.names import image_name, split_number
from napari_unet.io.objects.found import MOST_PIXELS, Found, painted
from napari_unet.io.objects.json_file import load, text
from napari_unet.io.pixels import SeveralImagesError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.cells.objects import Objects, Plane
    from napari_unet.core.cells.outlines import Outline
    from napari_unet.core.images.image import Image

    Json = dict[str, Any]

# The category of objects without a class, as COCO requires one. A key of ours
# distinguishes it from a class of that name.
_UNKNOWN, _NO_CLASS = "object", "no_class"
_PLANE = re.compile(r"#t\d+z\d+$")
_RUN_BITS, _RUN_SIGN, _RUN_MORE, _RUN_SHIFT = 0x1F, 0x10, 0x20, 40


class _Content(NamedTuple):
    """The content of a file; cached, so not to be changed."""

    pictures: dict[str, list[Json]]  # those of each image, by its name
    # by the id of their image; as JSON, which takes less memory when parsed later
    annotations: dict[Any, bytes]
    categories: dict[Any, str]


def write(path: Path, objects: Objects) -> None:
    """Write an image for each plane, and its objects with their categories."""
    names = [kind.name for kind in objects.classes]
    several = objects.labels.size("t") * objects.labels.size("z") > 1
    pictures, count = [], 0
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"annotations":[')
        for number, plane in enumerate(objects.planes(), start=1):
            pictures.append(_picture(objects, plane, number, several=several))
            for outline in trace(plane.ids):
                count += 1
                category = objects.class_of.get(outline.label, len(objects.classes) + 1)
                if category > len(names):
                    names.append(_UNKNOWN)
                annotation = {
                    "id": count if several else outline.label,
                    "image_id": number,
                    "category_id": category,
                    **_shape(plane.ids, outline),
                }
                if outline.label in objects.probability_of:
                    annotation["score"] = objects.probability_of[outline.label]
                file.write(("\n" if count == 1 else ",\n") + text(annotation))
        categories: list[Json] = [
            {"id": k, "name": name} for k, name in enumerate(names, start=1)
        ]
        if len(names) > len(objects.classes):
            categories[-1][_NO_CLASS] = True
        file.write(f'\n],\n"images":{text(pictures)},\n')
        file.write(f'"categories":{text(categories)}}}\n')


def images(path: Path) -> tuple[str, ...]:
    """Return the names of the images in a file; errors as of `read`."""
    return tuple(_content(path).pictures)


def read(path: Path, like: Image | None = None) -> Objects:
    """Read the objects of one image, or of all planes of one stack.

    Of several images, the one named as `like` is used, or ``FILE#2``. Ids are those in
    ``label``, else objects are numbered. Crowds are left out.
    """
    file, number = split_number(path)
    content = _content(file)
    what = printable(path)
    chosen = _chosen(what, list(content.pictures), like, number)
    pictures = {picture["id"]: picture for picture in content.pictures[chosen]}
    texts = [content.annotations.get(each, b"[]") for each in pictures]
    mine = [annotation for text in texts for annotation in from_json(text)]
    with _undamaged(path):
        sizes = _sizes(list(pictures.values()))
        areas = [a for a in mine if a.get("segmentation") and not a.get("iscrowd")]
    _check_size(what, sizes, like)
    with _undamaged(path):
        found = list(_found(areas, pictures, content.categories))
    notes = []
    if others := len(mine) - len(areas):
        outlines = counted(others, "crowd or box is", "crowds and boxes are")
        notes.append(f"{outlines} left out.")
    return painted(file, found, like, sizes, notes)


def _content(file: Path) -> _Content:
    try:
        stat = file.stat()
    except OSError:
        stat = None  # `load` says why
    changes = stat and (stat.st_mtime_ns, stat.st_size)
    return _read_content(file.absolute(), file, changes)


# many images of a file are requested one after the other
@lru_cache(maxsize=1)
def _read_content(_where: Path, file: Path, _changes: object) -> _Content:
    content = load(file)
    pictures: defaultdict[str, list[Json]] = defaultdict(list)
    annotations: defaultdict[Any, list[Json]] = defaultdict(list)
    with _undamaged(file):
        for picture in content["images"]:
            pictures[_PLANE.sub("", str(picture["file_name"]))].append(picture)
        for annotation in content["annotations"]:
            annotations[annotation["image_id"]].append(annotation)
        _check_ids(content["images"], annotations)
        categories = {
            c["id"]: str(c["name"])
            for c in content.get("categories") or []
            if c.get(_NO_CLASS) is not True
        }
    texts = {number: to_json(each) for number, each in annotations.items()}
    return _Content(dict(pictures), texts, categories)


@contextmanager
def _undamaged(file: Path) -> Iterator[None]:
    """Turn any error in the content into one that names the file."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"{printable(file)}: has no instances as COCO has them, or is damaged."
        ) from error


def _picture(objects: Objects, plane: Plane, number: int, *, several: bool) -> Json:
    height, width = plane.ids.shape
    behind = f"#t{plane.t}z{plane.z}" if several else ""
    labels = objects.labels
    name = labels.name if labels.file is None else Path(labels.file.path).name
    picture = {
        "id": number,
        "file_name": name + behind,
        "width": width,
        "height": height,
    }
    return picture | ({"t": plane.t, "z": plane.z} if several else {})


def _shape(ids: NDArray[np.integer], outline: Outline) -> Json:
    """Return the part of an annotation that says where the object is."""
    corners = np.concatenate([polygon[0] for polygon in outline.polygons])
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    inside = ids[top:bottom, left:right] == outline.label
    segmentation: Any = [polygon[0].ravel().tolist() for polygon in outline.polygons]
    if any(len(polygon) > 1 for polygon in outline.polygons):
        segmentation = _runs(inside, int(top), int(left), ids.shape)
    return {
        "label": outline.label,
        "bbox": [int(left), int(top), int(right - left), int(bottom - top)],
        "area": int(np.count_nonzero(inside)),
        "iscrowd": 0,
        "segmentation": segmentation,
    }


def _runs(
    inside: NDArray[np.bool_], top: int, left: int, shape: tuple[int, ...]
) -> Json:
    """Return how many pixels are outside, then inside and so on, column by column."""
    column, row = np.nonzero(inside.T)
    places = (column + left) * shape[0] + row + top
    starts = places[np.diff(places, prepend=-2) > 1]
    stops = places[np.diff(places, append=places[-1] + 2) > 1] + 1
    edges = np.stack([starts, stops], 1).ravel()
    counts = np.diff(edges, prepend=0, append=shape[0] * shape[1])
    return {"size": list(shape), "counts": counts.tolist()}


def _chosen(
    what: str, names: Sequence[str], like: Image | None, number: int | None
) -> str:
    """Return the requested image of those in a file."""
    if number is not None and 1 <= number <= len(names):
        return names[number - 1]
    # labels that stand in for their image are named by their path
    meant = set() if like is None else {like.name, image_name(like.name)}
    alike = [n for n in names if image_name(n) in meant]
    if number is None and len(names) == 1:
        return names[0]
    if number is None and len(alike) == 1:
        return alike[0]
    found = listed([f"#{k} {printable(n)}" for k, n in enumerate(names, start=1)])
    raise SeveralImagesError(
        f"{what}: has the objects of {counted(len(names), 'image')}"
        f"{': ' * bool(names)}{found}; name one of them with its # behind the file.",
        names,
    )


def _check_ids(pictures: Sequence[Json], annotations: Mapping[Any, Any]) -> None:
    """Raise a ValueError unless each annotation belongs to an existing image."""
    ids = {picture["id"] for picture in pictures}
    if len(ids) < max(len(pictures), 1) or not ids.issuperset(annotations):
        raise ValueError("pictures that are not told apart, or not there")


def _sizes(pictures: Sequence[Json]) -> dict[str, int]:
    """Return the size of an image's planes along y and x.

    ValueError if they differ, or are of one plane.
    """
    ((height, width),) = {(int(p["height"]), int(p["width"])) for p in pictures}
    if len({(p.get("t", 0), p.get("z", 0)) for p in pictures}) < len(pictures):
        raise ValueError("two pictures of one plane")
    return {"y": height, "x": width}


def _check_size(what: str, sizes: Mapping[str, int], like: Image | None) -> None:
    """Refuse an image of another size, or a claimed size that is too large."""
    height, width = sizes["y"], sizes["x"]
    if like is not None and (height, width) != (like.size("y"), like.size("x")):
        raise ValueError(
            f"{what}: is of an image of {height} × {width} pixels, not of "
            f"{like.size('y')} × {like.size('x')}."
        )
    if min(height, width) < 1 or (like is None and height * width > MOST_PIXELS):
        raise ValueError(
            f"{what}: says that its image has {shown(height)} × {shown(width)} pixels; "
            f"1 to {MOST_PIXELS} are read without the image."
        )


def _found(
    annotations: Sequence[Json],
    pictures: Mapping[Any, Json],
    categories: Mapping[Any, str],
) -> Iterator[Found]:
    """Yield the parts of the objects, those of one object with one id."""
    given = [a.get("label") for a in annotations]
    labels = [n if isinstance(n, int) and 0 < n <= HIGHEST_ID else None for n in given]
    last = max((n for n in labels if n is not None), default=0)
    for annotation, label in zip(annotations, labels, strict=True):
        last += label is None
        picture = pictures[annotation["image_id"]]
        score = annotation.get("score")
        name = categories.get(annotation.get("category_id"))
        for rings in _outlines(annotation["segmentation"], picture):
            yield Found(
                rings,
                int(picture.get("t", 0)),
                int(picture.get("z", 0)),
                last if label is None else label,
                None if name is None else ObjectClass(name),
                None if score is None else float(score),
            )


def _outlines(segmentation: Any, picture: Json) -> Iterator[list[NDArray[Any]]]:
    """Yield the rings of each part: polygons, or the pieces of run lengths."""
    if isinstance(segmentation, list):
        for polygon in segmentation:
            yield [np.array(polygon, np.float64).reshape(-1, 2)]
        return
    height, width = segmentation["size"]
    if (height, width) != (picture["height"], picture["width"]):
        raise ValueError("run lengths of another size")
    counts = segmentation["counts"]
    counts = np.array(
        _unpacked(counts) if isinstance(counts, str) else counts, np.int64
    )
    if counts.min() < 0 or counts.sum() != height * width:
        raise ValueError("run lengths of another number of pixels")
    edges = np.cumsum(counts)
    starts, stops = edges[:-1:2], edges[1::2]
    lengths = stops - starts[: stops.size]
    first = np.repeat(starts[: stops.size] - np.cumsum(lengths) + lengths, lengths)
    columns, rows = np.divmod(first + np.arange(first.size), height)
    if rows.size:
        top, left = rows.min(), columns.min()
        mask = np.zeros((np.ptp(rows) + 1, np.ptp(columns) + 1), np.uint8)
        mask[rows - top, columns - left] = 1
        for polygon in trace(mask)[0].polygons:
            yield [ring + np.array([left, top]) for ring in polygon]


def _unpacked(text: str) -> list[int]:
    """Return run lengths from COCO's text of them.

    Each is encoded in groups of five bits, the lowest first, from the fourth on as the
    difference to that two before.
    """
    counts: list[int] = []
    value = shift = 0
    for byte in text.encode("ascii"):
        part = byte - 48
        if not 0 <= part < 64 or shift > _RUN_SHIFT:
            raise ValueError("no text of run lengths")
        value |= (part & _RUN_BITS) << shift
        shift += 5
        if part & _RUN_MORE:
            continue
        if part & _RUN_SIGN:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts
