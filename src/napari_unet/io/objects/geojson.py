"""QuPath's GeoJSON: a feature for each object of a plane, with class and measurements.

Coordinates are pixels of the image from its upper left corner, and QuPath's additions
to GeoJSON are members of their own: the plane in the geometry, the object's type,
class, colour and measurements in the properties.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np

from napari_unet.core.cells.measurements import CLASS_PROBABILITY
from napari_unet.core.cells.objects import HIGHEST_ID, ObjectClass
from napari_unet.core.cells.outlines import ellipse, trace
from napari_unet.core.text import counted, encodable, printable
from napari_unet.io.atomic import atomic
from napari_unet.io.objects.found import Found, painted
from napari_unet.io.objects.json_file import load, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.core.cells.measurements import Columns
    from napari_unet.core.cells.objects import Objects, Plane
    from napari_unet.core.cells.outlines import Outline
    from napari_unet.core.images.image import Image

    Measured = dict[tuple[int, ...], dict[str, float]]

# Columns of a table that are not measurements.
_NAMES = {"label", "class", "t", "z"}
# Object types of cells in QuPath; annotations are regions.
_CELLS = {"detection", "cell"}
# Classes of QuPath's own that are no objects.
_IGNORED, _REGION = "Ignore*", "Region*"
_OF_QUPATH = {_IGNORED, _REGION}


def write(path: Path, objects: Objects) -> None:
    """Write QuPath detections, one a line; `name` is the id."""
    measured = _measurements(objects.table)
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"type":"FeatureCollection","features":[')
        between = "\n"
        for plane in objects.planes():
            for outline in trace(plane.ids):
                feature = _feature(objects, plane, outline, measured)
                file.write(between + text(feature))
                between = ",\n"
        file.write("\n]}\n")


def read(path: Path, like: Image | None = None) -> Objects:
    """Read cells and detections, or the annotations where there are neither.

    Ids are the names, if these are numbers and unique in a plane. Points and lines have
    no area and are left out; so are nuclei within cells, and the regions that tell
    QuPath where to work. In areas to be ignored there may be other objects.
    """
    content = load(path)
    damaged = f"{printable(path)}: is no GeoJSON of objects"
    try:
        features = content
        if isinstance(content, dict):
            alone = content.get("type") == "Feature"
            features = [content] if alone else content["features"]
        features = list(_flat(features))
        named = [_class_name(feature) for feature in features]
        own = [f for f, n in zip(features, named, strict=True) if n not in _OF_QUPATH]
        cells = any(_type(feature) in _CELLS for feature in own)
        wanted = [f for f in own if _type(f) in _CELLS or not cells]
        areas = [f for f in wanted if _polygons(f["geometry"])]
        found = [_found(feature) for feature in areas]
        unknown = [
            _found(feature)
            for feature, name in zip(features, named, strict=True)
            if name == _IGNORED and _polygons(feature["geometry"])
        ]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(f"{damaged}, or is damaged.") from error
    notes = []
    ids = [(one.label, one.t, one.z) for one in found if one.label is not None]
    if len(set(ids)) < len(ids):
        found = [one._replace(label=None) for one in found]
        notes.append("Several objects have one name: the names are not taken for ids.")
    if unknown:
        areas_are = counted(len(unknown), "area is", "areas are")
        notes.append(f"{areas_are} of the class {_IGNORED}: nothing is known there.")
    if others := len(features) - len(unknown) - len(wanted):
        regions = counted(
            others, "object is no cell and is", "objects are no cells and are"
        )
        notes.append(f"{regions} left out.")
    if others := len(wanted) - len(areas):
        points = counted(others, "point or line is", "points and lines are")
        notes.append(f"{points} left out.")
    return painted(path, found, like, notes=notes, unknown=unknown)


def _feature(
    objects: Objects, plane: Plane, outline: Outline, measured: Measured
) -> dict[str, Any]:
    label = outline.label
    polygons = [
        [[*ring.tolist(), ring[0].tolist()] for ring in polygon]
        for polygon in outline.polygons
    ]
    several = len(polygons) > 1
    geometry = {
        "type": "MultiPolygon" if several else "Polygon",
        "coordinates": polygons if several else polygons[0],
        "plane": {"c": -1, "z": plane.z, "t": plane.t},
    }
    # so that an object has the same id when it is written again
    name = encodable(objects.labels.name)
    id_ = uuid5(NAMESPACE_OID, f"{name} {label} {text(geometry)}")
    properties: dict[str, Any] = {"objectType": "detection", "name": str(label)}
    if (kind := objects.class_named(label)) is not None:
        properties["classification"] = _classification(kind)
    found = measured.get((label, plane.t, plane.z)) or measured.get(
        (label, plane.t), {}
    )
    if label in objects.probability_of:
        found = {**found, CLASS_PROBABILITY: objects.probability_of[label]}
    if found:
        properties["measurements"] = found
    return {
        "type": "Feature",
        "id": str(id_),
        "geometry": geometry,
        "properties": properties,
    }


def _classification(kind: ObjectClass) -> str | dict[str, Any]:
    """Return a class; QuPath requires a colour with the name."""
    if kind.colour is None:
        return kind.name
    return {"name": kind.name, "color": [*bytes.fromhex(kind.colour[1:])]}


def _measurements(table: Columns) -> Measured:
    """Return measurements by label, time point and, for planes, slice."""
    if not table:
        return {}
    keys = ["label", "t"] if "slices" in table else ["label", "t", "z"]
    numbers = {
        name: np.asarray(column, np.float64).tolist()
        for name, column in table.items()
        if name not in _NAMES and np.asarray(column).dtype.kind in "buif"
    }
    rows = zip(*(table[key].tolist() for key in keys), strict=True)
    return {
        row: {n: c[i] for n, c in numbers.items() if np.isfinite(c[i])}
        for i, row in enumerate(rows)
    }


def _flat(features: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield features and nested ones, which QuPath shows above them."""
    left = list(reversed(features))
    while left:
        feature = left.pop()
        yield feature
        left += reversed(_properties(feature).get("childObjects") or [])


def _properties(feature: dict[str, Any]) -> dict[str, Any]:
    return feature.get("properties") or {}


def _type(feature: dict[str, Any]) -> str:
    return str(_properties(feature).get("objectType", "annotation"))


def _found(feature: dict[str, Any]) -> Found:
    geometry, properties = feature["geometry"], _properties(feature)
    plane = geometry.get("plane") or {}
    measured = properties.get("measurements") or {}
    probability = (
        measured.get(CLASS_PROBABILITY) if isinstance(measured, dict) else None
    )
    return Found(
        _rings(geometry),
        int(plane.get("t", 0)),
        int(plane.get("z", 0)),
        _label(properties.get("name")),
        _kind(properties.get("classification")),
        None if probability is None else float(probability),
    )


def _class_name(feature: dict[str, Any]) -> str:
    kind = _kind(_properties(feature).get("classification"))
    return "" if kind is None else kind.name


def _polygons(geometry: dict[str, Any] | None) -> list[Any]:
    """Return the polygons of a geometry, also of several that are one object."""
    found, left = [], [geometry] if geometry else []
    while left:
        one = left.pop(0)
        kind = one.get("type")
        if kind == "GeometryCollection":
            left += one["geometries"]
        elif kind == "MultiPolygon":
            found += one["coordinates"]
        elif kind == "Polygon":
            found.append(one["coordinates"])
    return found


def _rings(geometry: dict[str, Any]) -> list[NDArray[np.float64]]:
    polygons = _polygons(geometry)
    rings = [np.array(ring, np.float64)[:, :2] for one in polygons for ring in one]
    if geometry.get("isEllipse"):
        corners = np.concatenate(rings)
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        return [ellipse(left, top, right - left, bottom - top)]
    return rings


def _label(name: Any) -> int | None:
    """Return a name as an id, None if it is not one."""
    text = str(name)
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(HIGHEST_ID)):
        return None
    return int(text) if 0 < int(text) <= HIGHEST_ID else None


def _kind(classification: Any) -> ObjectClass | None:
    if not classification:
        return None
    if isinstance(classification, str):
        return ObjectClass(classification)
    name = ": ".join(classification.get("names") or [classification["name"]])
    colour = classification.get("color")
    if isinstance(colour, list):
        red, green, blue = (int(value) & 255 for value in colour)
    elif colour is not None:
        red, green, blue = ((int(colour) >> shift) & 255 for shift in (16, 8, 0))
    else:
        return ObjectClass(name)
    return ObjectClass(name, f"#{red:02x}{green:02x}{blue:02x}")
