"""Labels in OME-Zarr: a label image with smaller levels, colours and properties.

Specification: https://ngff.openmicroscopy.org/0.5, "labels". Labels are in their own
folder or, as `IMAGE.zarr/labels/NAME`, in that of their image, which lists them. In an
image of NGFF 0.4 (zarr 2) they are of this version, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.cells.label_colours import label_colours
from napari_unet.core.cells.label_ids import distinct
from napari_unet.core.cells.measurements import CLASS_PROBABILITY
from napari_unet.core.cells.objects import ObjectClass, Objects
from napari_unet.core.geometry.boxes import field_index
from napari_unet.core.text import listed, printable, reason
from napari_unet.io.atomic import atomic
from napari_unet.io.images import read_image, read_labels
from napari_unet.io.objects.label_images import fitted
from napari_unet.io.ome_zarr import (
    CHUNK,
    check_replaceable,
    describe,
    is_zarr,
    metadata_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.core.images.image import Image

# Viewers have their own colours; a larger table is slow to open.
_COLOURED = 1000
_VALUE = "label-value"
_CLASS = "class"
# Columns of a table that are keys, or in other properties.
_KEYS = {"label", _CLASS, CLASS_PROBABILITY}


def write(path: Path, objects: Objects) -> None:
    """Write a label image; what is known of an object is in its properties.

    Measurements are of objects that have one row in the table. Colours are left to the
    viewer where there are more than 1000 objects.
    """
    around, version, first = _image_around(path), 3, False
    if around is not None:
        labels = fitted(path, objects.labels, read_image(around))
        objects = replace(objects, labels=labels)
        version = _version_to_add_to(around)
        # the folder of all labels appears together with the first of them
        first = not path.parent.exists()
    _check_replaceable(path)
    ids = _ids(objects)
    with atomic(path.parent if first else path) as temporary:
        if first:
            _make_list(temporary, version)
        place = temporary / path.name if first else temporary
        _write_image(place, path.name, objects, ids, version, inside=bool(around))
    if around is not None:
        _add_to_list(path)


def has_classes(path: Path) -> bool:
    """Whether a folder is a label image that tells classes of its objects."""
    if not is_zarr(path):
        return False
    try:
        told = _metadata_in(path)["image-label"]["properties"]
        return any(_CLASS in entry and entry[_VALUE] > 0 for entry in told)
    except (ValueError, LookupError, TypeError):
        return False  # what is damaged is told when it is read


def read(path: Path, like: Image | None = None) -> Objects:
    """Read a label image, or the one that an image has."""
    place = _label_image(path)
    labels = read_labels(place)
    told = _metadata_in(place).get("image-label", {})
    try:
        found = {
            int(entry[_VALUE]): (entry.get(_CLASS), entry.get(CLASS_PROBABILITY))
            for entry in told.get("properties") or ()
            if int(entry[_VALUE]) > 0  # background may have some, too
        }
        names = list(dict.fromkeys(str(n) for n, _ in found.values() if n is not None))
        class_of = {
            label: names.index(str(name)) + 1
            for label, (name, _) in found.items()
            if name is not None
        }
        sure = {label: float(p) for label, (_, p) in found.items() if p is not None}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{printable(path)}: the properties of its labels are damaged."
        ) from error
    classes = tuple(ObjectClass(name) for name in names)
    return Objects(fitted(path, labels, like), classes, class_of, sure)


def _image_around(path: Path) -> Path | None:
    """Return the image in whose folder a path puts labels."""
    image = path.parent.parent
    return image if path.parent.name == "labels" and is_zarr(image) else None


def _version_to_add_to(image: Path) -> int:
    """Return the zarr version of an image; ValueError if new labels would be lost."""
    import zarr

    if (image / "labels").exists():
        _metadata_in(image / "labels")  # where they are listed
    found = zarr.open_group(str(image), mode="r").metadata
    if found.consolidated_metadata is not None:
        raise ValueError(
            f"{printable(image)}: its metadata are consolidated, so readers would not "
            "find new labels; write them beside it."
        )
    return int(found.zarr_format)


def _check_replaceable(path: Path) -> None:
    """Refuse to replace anything but labels, with a FileExistsError."""
    check_replaceable(path)
    if path.exists() and "image-label" not in _metadata_in(path):
        raise FileExistsError(
            f"{printable(path)}: exists and is an image without a description of "
            "labels, so it is not replaced."
        )


def _label_image(path: Path) -> Path:
    """Return the folder of labels: the path itself, or the only labels of an image."""
    folder = path / "labels"
    if not folder.is_dir():
        return path
    told = _metadata_in(folder).get("labels")
    there = sorted(child.name for child in folder.iterdir() if child.is_dir())
    names = [name for name in there if isinstance(told, list) and name in told]
    if len(names) == 1:
        return folder / names[0]
    shown = printable(path)
    if not names:
        raise ValueError(f"{shown}: its folder of labels lists none that are there.")
    each = [printable(name) for name in names]
    raise ValueError(
        f"{shown}: it holds the labels {listed(each)}; name one, as in "
        f"{shown}/labels/{each[0]}."
    )


def _metadata_in(folder: Path) -> dict[str, Any]:
    """Return the metadata of a folder; ValueError if it is not zarr."""
    import zarr

    try:
        return metadata_of(zarr.open(str(folder), mode="r"))
    # Damaged metadata may raise anything in their parser.
    except Exception as error:
        raise ValueError(
            f"{printable(folder)}: cannot be read as OME-Zarr: {reason(error)}."
        ) from error


def _ids(objects: Objects) -> NDArray[np.uint64]:
    """Return the ids of all objects, ascending."""
    each = [distinct(plane.ids).astype(np.uint64) for plane in objects.planes()]
    ids = np.unique(np.concatenate(each))
    return ids[ids > 0]


def _write_image(
    place: Path,
    name: str,
    objects: Objects,
    ids: NDArray[np.uint64],
    version: int,
    *,
    inside: bool,
) -> None:
    import zarr

    labels = objects.labels
    axes = labels.label_axes
    shapes = _shapes(axes, [labels.size(a) for a in axes])
    image = describe(axes, labels.known_um, name.split(".")[0], len(shapes))
    told = _told(objects, ids.tolist())
    if inside:
        told["source"] = {"image": "../../"}
    group = zarr.create_group(str(place), zarr_format=version)
    if version == 3:
        ome = {"version": "0.5", "multiscales": [image], "image-label": told}
        group.attrs["ome"] = ome
    else:
        group.attrs["multiscales"] = [{"version": "0.4", **image}]
        group.attrs["image-label"] = {"version": "0.4", **told}
    levels = [
        group.create_array(
            str(level),
            shape=shape,
            dtype=np.min_scalar_type(max(ids.tolist(), default=0)),
            chunks=tuple(
                min(n, CHUNK if a in "yx" else 1)
                for n, a in zip(shape, axes, strict=True)
            ),
            fill_value=0,
            **_style(axes, version),
        )
        for level, shape in enumerate(shapes)
    ]
    for plane in objects.planes():
        index = field_index(axes, plane.t, plane.z)
        for level, array in enumerate(levels):
            array[index] = plane.ids[:: 2**level, :: 2**level]


def _shapes(axes: str, shape: list[int]) -> list[tuple[int, ...]]:
    """Return the shapes of the levels; the last fits into a chunk in a plane."""
    shapes = [tuple(shape)]
    while max(shapes[-1][-2:]) > CHUNK:
        halves = (
            (n + 1) // 2 if a in "yx" else n
            for n, a in zip(shapes[-1], axes, strict=True)
        )
        shapes.append(tuple(halves))
    return shapes


def _style(axes: str, version: int) -> dict[str, Any]:
    if version == 3:
        return {"dimension_names": list(axes)}
    return {"chunk_key_encoding": {"name": "v2", "separator": "/"}}


def _told(objects: Objects, ids: list[int]) -> dict[str, Any]:
    """Return colours and properties of the objects."""
    told: dict[str, Any] = {}
    if len(ids) <= _COLOURED:
        colours = label_colours(ids).tolist()
        told["colors"] = [
            {_VALUE: label, "rgba": [*colour, 255]}
            for label, colour in zip(ids, colours, strict=True)
        ]
    measured = _measurements(objects.table)
    properties = []
    for label in ids:
        entry: dict[str, Any] = {}
        if (kind := objects.class_named(label)) is not None:
            entry[_CLASS] = kind.name
        if label in objects.probability_of:
            entry[CLASS_PROBABILITY] = float(objects.probability_of[label])
        entry |= measured.get(label, {})
        if entry:
            properties.append({_VALUE: label, **entry})
    if properties:
        told["properties"] = properties
    return told


def _measurements(table: Mapping[str, NDArray[Any]]) -> dict[int, dict[str, Any]]:
    """Return the measurements of each object with one row; without NaN, as in JSON."""
    if not table:
        return {}
    labels, counts = np.unique(table["label"], return_counts=True)
    once = set(labels[counts == 1].tolist())
    columns = {n: np.asarray(c).tolist() for n, c in table.items() if n not in _KEYS}
    return {
        label: {n: c[row] for n, c in columns.items() if c[row] == c[row]}
        for row, label in enumerate(np.asarray(table["label"]).tolist())
        if label in once
    }


def _make_list(folder: Path, version: int) -> None:
    import zarr

    zarr.create_group(str(folder), zarr_format=version)


def _add_to_list(path: Path) -> None:
    """Name labels in the list of their image's; zarr replaces the list at once."""
    import zarr

    group = zarr.open_group(str(path.parent), mode="r+")
    names = list(metadata_of(group).get("labels") or ())
    if path.name in names:
        return
    names.append(path.name)
    if group.metadata.zarr_format == 3:
        group.attrs["ome"] = {**metadata_of(group), "version": "0.5", "labels": names}
    else:
        group.attrs["labels"] = names
