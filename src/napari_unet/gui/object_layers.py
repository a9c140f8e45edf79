"""Labels layers of napari from files of other programs, and into these.

What napari's *Open* and *Save Selected Layers* call, as the manifest says.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.gui.notifications import notify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_unet.core.cells.objects import ObjectClass, Objects

    LayerData = tuple[Any, dict[str, Any], str]

# What files of each end of name begin with, or have in their first part.
_BEGIN = {
    ".roi": b"Iout",
    ".zip": b"PK",
    "_seg.npy": b"\x93NUMPY",
    "_object identities.h5": b"\x89HDF",
}
_WITHIN = {".zip": b".roi", ".geojson": b'"objectType"', "_coco.json": b'"annotations"'}
# QuPath writes what an object is behind its outline, which may be long.
_PART = 2**22
# Columns of a Labels layer's features.
_ID, _CLASS = "index", "class"


def get_reader(
    path: str | list[str],
) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return a reader if the files look as if they had objects in them, else None."""
    paths = path if isinstance(path, list) else [path]
    return read if paths and all(map(_looks_right, paths)) else None


def read(path: str | list[str]) -> list[LayerData]:
    """Read a Labels layer from each file; what was chosen in reading is shown.

    Errors are those of `ObjectFormat.read`.
    """
    from napari_unet.io.objects.catalogue import format_of
    from napari_unet.session.images.layers import scale_of

    layers = []
    for one in path if isinstance(path, list) else [path]:
        found = format_of(one)
        if found is None:
            raise ValueError(f"{one}: is no file of objects.")
        objects = found.read(one)
        labels = objects.labels
        for note in labels.notes:
            notify("warning", f"{Path(one).name}: {note}")
        attributes = {
            "name": labels.name,
            "axis_labels": tuple(labels.axes),
            "features": _features(objects),
            **scale_of(labels, labels.axes),
        }
        layers.append((labels.data, attributes, "labels"))
    return layers


def write(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer as the end of the file's name says; return the file.

    Classes are those in the column class of its features. Errors are those of
    `ObjectFormat.write`.
    """
    from napari_unet.io.objects.catalogue import format_of

    found = format_of(path)
    if found is None:
        raise ValueError(f"{path}: is no file of objects.")
    found.write(path, _objects(data, meta))
    return [path]


def kinds_in(features: Any) -> dict[int, ObjectClass]:
    """Return the classes of objects that a Labels layer's features tell, by their ids.

    They are in the column class, as `read` has them.
    """
    from napari_unet.core.cells.objects import ObjectClass

    names = _column(features, _CLASS)
    return {
        i: ObjectClass(str(name))
        for i, name in zip(_ids(features, len(names)), names, strict=False)
        if i > 0 and name is not None and str(name)
    }


def _looks_right(path: str) -> bool:
    name = str(path).lower()
    try:
        with open(path, "rb") as file:
            part = file.read(_PART)
    except OSError:
        return False
    begins = [sign for end, sign in _BEGIN.items() if name.endswith(end)]
    within = [sign for end, sign in _WITHIN.items() if name.endswith(end)]
    known = bool(begins or within)
    return (
        known and all(map(part.startswith, begins)) and all(s in part for s in within)
    )


def _features(objects: Objects) -> dict[str, Any]:
    """Return what is known of each object, as columns."""
    from napari_unet.core.cells.label_ids import distinct
    from napari_unet.core.cells.measurements import CLASS_PROBABILITY

    ids = [i for i in distinct(objects.labels.read()).tolist() if i > 0]
    features: dict[str, Any] = {_ID: ids}
    if objects.class_of:
        kinds = [objects.class_named(i) for i in ids]
        features[_CLASS] = ["" if kind is None else kind.name for kind in kinds]
    if objects.probability_of:
        sure = objects.probability_of
        features[CLASS_PROBABILITY] = [sure.get(i, np.nan) for i in ids]
    return features


def _objects(data: Any, meta: Mapping[str, Any]) -> Objects:
    from napari.layers import Layer

    from napari_unet.core.cells.measurements import CLASS_PROBABILITY
    from napari_unet.core.cells.objects import Objects
    from napari_unet.core.images.image import Image
    from napari_unet.session.images.layers import (
        METADATA_KEY,
        guess_axes,
        spacing_um_of,
    )

    layer = Layer.create(data, dict(meta), "labels")
    if isinstance(data, (list, tuple)):  # levels of a pyramid
        data = data[0]
    features = meta.get("features")
    kinds = kinds_in(features)
    note = (meta.get("metadata") or {}).get(METADATA_KEY, {})
    if note.get("role") == "annotation":
        data = np.where(np.asarray(data) > 1, data, 0)  # 1 is painted background
        kinds.pop(1, None)
    axes = guess_axes(layer)
    labels = Image(data, axes, spacing_um_of(layer, axes), layer.name)
    classes = tuple(dict.fromkeys(kinds.values()))
    sure = _column(features, CLASS_PROBABILITY)
    return Objects(
        labels,
        classes,
        {i: classes.index(kind) + 1 for i, kind in kinds.items()},
        {
            i: float(p)
            for i, p in zip(_ids(features, len(sure)), sure, strict=False)
            if i > 0 and p is not None
        },
    )


def _ids(features: Any, rows: int) -> list[int]:
    """Return the ids of rows; without an index napari takes their numbers for them."""
    ids = [0 if i is None else int(i) for i in _column(features, _ID)]
    return ids or list(range(rows))


def _column(features: Any, name: str) -> list[Any]:
    """Return a column of a table of pandas or of a mapping, empty if there is none.

    None is for what is missing there, which has as many ways to be written.
    """
    from pandas import isna

    if features is None or name not in features:
        return []
    return [None if isna(value) else value for value in features[name]]
