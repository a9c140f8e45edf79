"""Labels layers of napari from files of other programs, and into these.

What napari's *Open* and *Save Selected Layers* call, as the manifest says.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.gui.image_layers import on_demand
from napari_unet.gui.notifications import notify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_unet.core.cells.objects import ObjectClass, Objects
    from napari_unet.core.images.image import Image
    from napari_unet.io.objects.catalogue import ObjectFormat

    LayerData = tuple[Any, dict[str, Any], str]

# What files of each end of name begin with, and what is in their first part.
_SIGNS = {
    ".roi": (b"Iout", b""),
    ".zip": (b"PK", b".roi"),
    "_seg.npy": (b"\x93NUMPY", b""),
    "_object identities.h5": (b"\x89HDF", b""),
    ".geojson": (b"", b'"objectType"'),
    ".json": (b"", b'"annotations"'),
    "zarr.json": (b"", b'"image-label"'),
    ".zattrs": (b"", b'"image-label"'),
    "_track.txt": (b"", b""),
}
# QuPath writes what an object is behind its outline, which may be long.
_PART = 2**22
# Files that stand for their folder. A reader of folders would make napari ask for every
# folder that anyone opens, of images too, which plugin is to read it.
_IN_FOLDERS = {
    "res_track.txt": "ctc",
    "man_track.txt": "ctc",
    "zarr.json": "ome-zarr",
    ".zattrs": "ome-zarr",
}
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
    from napari_unet.gui.which_images import each_chosen
    from napari_unet.session.images.layers import scale_of

    layers: list[Any] = []
    for one in path if isinstance(path, list) else [path]:
        found, source = _source(one)
        for objects in each_chosen(source, found.read):
            labels = objects.labels
            for note in labels.notes:
                notify("warning", f"{source.name}: {note}")
            attributes = {
                "name": labels.name,
                "axis_labels": tuple(labels.axes),
                "features": _features(objects),
                **scale_of(labels, labels.axes),
            }
            layers.append((on_demand(labels), attributes, "labels"))
    return layers or [(None,)]  # to napari: there is nothing to add


def write(kind: str, path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer in a format; return the file.

    A name that does not end as those of the format gets its ending: napari's dialog
    does not add it. Classes are those in the column class of its features. Errors are
    those of `ObjectFormat.write`.
    """
    from napari_unet.io.objects.catalogue import FORMATS

    found, name = FORMATS[kind], path
    if not path.lower().endswith(tuple(end.lower() for end in found.suffixes)):
        name += found.suffixes[0]
        if Path(name).exists():  # napari asked about the other name only
            raise FileExistsError(f"{name}: exists; name it in full to replace it.")
    found.write(name, _objects(data, meta, movie=kind == "ctc"))
    return [name]


# As the manifest names them.
write_rois = partial(write, "rois")
write_geojson = partial(write, "geojson")
write_coco = partial(write, "coco")
write_ome_zarr = partial(write, "ome-zarr")
write_ctc = partial(write, "ctc")
write_ilastik = partial(write, "ilastik")


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
    ends = [end for end in _SIGNS if str(path).lower().endswith(end)]
    if not ends:
        return False
    try:
        with open(path, "rb") as file:
            part = file.read(_PART)
    except OSError:
        return False
    begin, within = _SIGNS[max(ends, key=len)]
    return part.startswith(begin) and within in part


def _source(path: str) -> tuple[ObjectFormat, Path]:
    """Return the format of a file, and the file or the folder that it stands for."""
    from napari_unet.io.objects.catalogue import FORMATS, format_of

    file = Path(path)
    if (kind := _IN_FOLDERS.get(file.name.lower())) is not None:
        return FORMATS[kind], file.parent
    found = format_of(file)
    if found is None:
        raise ValueError(f"{path}: is no file of objects.")
    return found, file


def _features(objects: Objects) -> dict[str, Any]:
    """Return what is known of the objects, as columns."""
    from napari_unet.core.cells.measurements import CLASS_PROBABILITY

    ids = sorted({*objects.class_of, *objects.probability_of})
    features: dict[str, Any] = {_ID: ids} if ids else {}
    if objects.class_of:
        kinds = [objects.class_named(i) for i in ids]
        features[_CLASS] = ["" if kind is None else kind.name for kind in kinds]
    if objects.probability_of:
        sure = objects.probability_of
        features[CLASS_PROBABILITY] = [sure.get(i, np.nan) for i in ids]
    return features


def _objects(data: Any, meta: Mapping[str, Any], *, movie: bool) -> Objects:
    """Return the objects of a layer; a stack without names of axes may be a `movie`."""
    from napari.layers import Layer

    from napari_unet.core.cells.measurements import CLASS_PROBABILITY
    from napari_unet.core.cells.objects import Objects
    from napari_unet.core.images.image import Image
    from napari_unet.session.images.layers import (
        guess_axes,
        named_axes,
        noted,
        spacing_um_of,
    )

    layer = Layer.create(data, dict(meta), "labels")
    if isinstance(data, (list, tuple)):  # levels of a pyramid
        data = data[0]
    axes, note = guess_axes(layer), noted(layer)
    if movie and axes == "zyx" and not named_axes(layer):
        axes = "tyx"
        notify("warning", f"{layer.name}: its slices are taken for time points.")
    labels = Image(data, axes, spacing_um_of(layer, axes), layer.name)
    features = meta.get("features")
    kinds = kinds_in(features)
    parents = note.get("parents") or {}
    if note.get("role") == "annotation":
        # 1 is painted background
        labels = replace(labels, data=np.where(np.asarray(data) > 1, data, 0))
        kinds.pop(1, None)
    elif note.get("shows") == "cells" and "t" in axes and note.get("parents") is None:
        labels = _apart_in_time(labels)
    kinds = _with_unlisted(labels, kinds, note.get("classes", ()))
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
        parent_of=parents,
    )


def _with_unlisted(
    labels: Image, kinds: Mapping[int, ObjectClass], classes: Sequence[ObjectClass]
) -> dict[int, ObjectClass]:
    """Return the classes of all objects of a layer of ours, in their colours.

    Those that its features do not list are of the first class: of an annotation where
    there are many, of cells of one class.
    """
    from napari_unet.core.cells.label_ids import distinct

    if not classes:
        return dict(kinds)
    coloured = {kind.name: kind for kind in classes}
    ids = (i for i in distinct(labels.read()).tolist() if i > 0)
    every = {i: kinds.get(i, classes[0]) for i in ids}
    return {i: coloured.get(kind.name, kind) for i, kind in every.items()}


def _apart_in_time(cells: Image) -> Image:
    """Return predicted cells with ids that differ through time, as in exports."""
    from napari_unet.core.cells.cell_table import objects_of
    from napari_unet.core.cells.label_ids import distinct

    ids = [(distinct(plane.read()), plane.t) for plane in cells.fields(2)]
    table = {
        "label": np.concatenate([each for each, _ in ids]).astype(np.int64),
        "t": np.concatenate([np.full(each.size, t) for each, t in ids]),
    }
    return objects_of(cells, table, (), cells).labels


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
