"""ImageJ's ROIs: one outline, a zip of those of the ROI Manager, or a TIFF's overlay.

A ROI is named after class and id, ``nuclei#17``, as the U-Net plugin of Fiji reads it,
with the number of the plane behind it where there are several, ``nuclei#17-3``.
"""

from __future__ import annotations

import re
import struct
import zipfile
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_unet.core.cells.measurements import CLASS_PROBABILITY
from napari_unet.core.cells.objects import HIGHEST_ID, ObjectClass
from napari_unet.core.cells.outlines import ellipse, trace
from napari_unet.core.text import (
    counted,
    listed,
    printable,
    reason,
    shown,
    unreadable,
)
from napari_unet.io.atomic import atomic
from napari_unet.io.images import TIFF, read_image
from napari_unet.io.names import file_stem
from napari_unet.io.objects.found import Found, painted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from roifile import ImagejRoi

    from napari_unet.core.cells.objects import Objects, Plane
    from napari_unet.core.cells.outlines import Outline
    from napari_unet.core.images.image import Image

# Its outlines have single precision, which is exact up to this integer.
_WIDEST = 2**24
# All files in a zip, unpacked.
_LARGEST = 2**29
_NAME = re.compile(r"(.*)#(\d{1,10})(?:-\d+)?(?:\.roi)?", re.DOTALL | re.IGNORECASE)
_IGNORED = re.compile(r"ignore(#\d+)?(-\d+)?(\.roi)?", re.IGNORECASE)
# What ImageJ appends to a name that is taken, and its default names.
_ADDED = re.compile(r"(-\d+)?(\.roi)?$", re.IGNORECASE)
# Bars that ImageJ draws for scale and colours.
_BAR = re.compile(r"\|[A-Z]{2}\|.*")
_OWN_NAME = re.compile(r"[\d-]*")
# The disc of a point, in pixels, as the U-Net plugin of Fiji has it by default.
_RADIUS = 2
_END = (".roi", ".ROI")
# Lines of a ROI's properties.
_CLASS = "class"
# Steps of a path: move to, line to, curves with their points, close.
_MOVE, _LINE, _CURVES, _CLOSE = 0, 1, {2: 2, 3: 3}, 4
_CURVE_STEPS = 64


def write(path: Path, objects: Objects) -> None:
    """Write a zip for the ROI Manager; classes are groups, in their colours."""
    sizes = {axis: objects.labels.size(axis) for axis in "tzyx"}
    if max(sizes["y"], sizes["x"]) > _WIDEST:
        raise ValueError(
            f"{printable(path)}: ImageJ's ROIs are in images of up to {_WIDEST} pixels "
            f"along y and x, found {sizes['y']} × {sizes['x']}; write another format."
        )
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        for plane in objects.planes():
            for outline in trace(plane.ids):
                roi = _roi(objects, plane, outline)
                file.writestr(zipfile.ZipInfo(f"{roi.name}.roi"), roi.tobytes())


def read(path: Path, like: Image | None = None) -> Objects:
    """Read ROIs that are areas, and points as discs.

    A ROI without a slice in a stack is a ValueError, as its position is unclear. Lines
    are left out. As with the U-Net plugin of Fiji, areas named ignore are not
    annotated, nor is a ring around the disc of a point. ROIs in a TIFF are on its own
    slices, and are labels of its size.
    """
    rois = list(_rois(path))
    is_tiff = path.name.lower().endswith(TIFF)
    if is_tiff:
        like = read_image(path)
    classes = _class_names(name for name, _ in rois)
    found: list[Found] = []
    unknown: list[Found] = []
    others = points = ignored = 0
    guessed = False
    for name, roi in rois:
        with _told(path, name):
            inside, around = _areas(name, roi, like, classes)
        others += not inside
        guessed |= roi.z_position <= 0 and any(one.z > 0 for one in inside)
        if _IGNORED.fullmatch(name):
            ignored += bool(inside)
            unknown += inside
        else:
            points += len(around)
            found += inside
            unknown += around
    if is_tiff and not found and not unknown:
        # such as a scale bar, which does not make all of an image background
        raise ValueError(
            f"{printable(path)}: none of the ROIs that ImageJ keeps in it is an area."
        )
    notes = []
    if like is None and guessed:
        notes.append("Positions that name no time point are taken for slices.")
    if others:
        areas = counted(others, "ROI is no area", "ROIs are no areas")
        notes.append(f"{areas} and left out.")
    if classes:
        names = listed([shown(title) for title in classes])
        notes.append(f"Names of ROIs are taken for classes: {names}.")
    if points:
        discs = counted(points, "point is a disc", "points are discs")
        notes.append(
            f"{discs} with a radius of {_RADIUS} pixels; within {2 * _RADIUS} nothing "
            "else is known."
        )
    if ignored:
        named = counted(ignored, "ROI is", "ROIs are")
        notes.append(f"{named} named ignore: nothing is known there.")
    return painted(path, found, like, notes=notes, unknown=unknown)


@contextmanager
def _told(path: Path, name: str) -> Iterator[None]:
    """Name the ROI in an error."""
    try:
        yield
    except _Unplaced:
        raise ValueError(
            f"{printable(path)}: the ROI {shown(name)} is on no slice of the "
            "stack; set its position in ImageJ (Properties)."
        ) from None
    except _MaskImage:
        raise ValueError(
            f"{printable(path)}: the ROI {shown(name)} is an image, as the plugin of "
            "Fiji embeds masks, whose values are not kept safely in it: extract the "
            "mask there, and name its file with --labels sparse or annotation."
        ) from None
    except (ValueError, LookupError, OverflowError, struct.error) as error:
        raise ValueError(_damaged(path, name)) from error


class _Unplaced(Exception):
    """A ROI belongs to no slice of a stack."""


class _MaskImage(Exception):
    """A ROI is an image."""


class _Identity(NamedTuple):
    label: int | None
    kind: ObjectClass | None
    probability: float | None


def _roi(objects: Objects, plane: Plane, outline: Outline) -> ImagejRoi:
    from roifile import ROI_OPTIONS, ROI_TYPE, ImagejRoi

    rings = [ring for polygon in outline.polygons for ring in polygon]
    corners = np.concatenate(rings)
    roi = ImagejRoi.frompoints(corners, name=_name(objects, plane, outline.label))
    roi.options &= ROI_OPTIONS.SUB_PIXEL_RESOLUTION
    (roi.left, roi.top), (roi.right, roi.bottom) = (
        corners.min(axis=0).tolist(),
        corners.max(axis=0).tolist(),
    )
    roi.roitype = ROI_TYPE.TRACED
    if len(rings) > 1:
        roi.roitype, roi.options = ROI_TYPE.RECT, ROI_OPTIONS(0)
        roi.integer_coordinates = roi.subpixel_coordinates = None
        roi.n_coordinates = 0
        roi.multi_coordinates = np.concatenate([_path(ring) for ring in rings])
        roi.shape_roi_size = len(roi.multi_coordinates)
    depth, times = objects.labels.size("z"), objects.labels.size("t")
    if depth == objects.channels == 1 < times:
        # not a hyperstack, where ImageJ looks for a slice, not for a time point
        roi.position = plane.t + 1
    elif depth * times > 1:
        roi.z_position, roi.t_position = plane.z + 1, plane.t + 1
    number = objects.class_of.get(outline.label)
    if number is not None:
        name, colour = objects.classes[number - 1]
        roi.group = number
        roi.props = f"{_CLASS}: {_plain(name)}\n"
        if colour is not None:
            roi.stroke_color = b"\xff" + bytes.fromhex(colour[1:])
    if outline.label in objects.probability_of:
        roi.props += f"{CLASS_PROBABILITY}: {objects.probability_of[outline.label]!r}\n"
    return roi


def _name(objects: Objects, plane: Plane, label: int) -> str:
    kind = objects.class_named(label)
    name = "" if kind is None else file_stem(_plain(kind.name), "class", longest=40)
    depth = objects.labels.size("z")
    several = depth * objects.labels.size("t") > 1
    behind = f"-{plane.t * depth + plane.z + 1}" if several else ""
    return f"{name}#{label}{behind}"


def _plain(text: str) -> str:
    """Return a text in one line of characters of two bytes at most."""
    return "".join(c if c <= "\uffff" else "_" for c in " ".join(text.split()))


def _path(ring: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return a ring as steps of a path: command, x and y."""
    steps = np.ones((len(ring), 3), np.float32)
    steps[0, 0] = _MOVE
    steps[:, 1:] = ring
    return np.append(steps, np.float32(_CLOSE))


def _rois(path: Path) -> Iterator[tuple[str, ImagejRoi]]:
    """Yield the ROIs of a file, with their names."""
    for name, content in _files(path):
        try:
            yield _parsed(name, content)
        # whatever the parser raises
        except Exception as error:
            raise ValueError(_damaged(path, name)) from error


def _parsed(name: str, content: bytes) -> tuple[str, ImagejRoi]:
    from roifile import ImagejRoi

    roi = ImagejRoi.frombytes(content)
    return (roi.name or name), roi


def _files(path: Path) -> list[tuple[str, bytes]]:
    """Return what may be ROIs, the file, those of a zip or in a TIFF, with names."""
    what = printable(path)
    if path.name.lower().endswith(TIFF) and path.is_file():
        from napari_unet.io import tiff  # slow to import

        return [(str(k), one) for k, one in enumerate(tiff.rois(path), start=1)]
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                file.seek(0)
                return [(path.name, file.read(_LARGEST))]
            with zipfile.ZipFile(file) as archive:
                entries = [e for e in archive.infolist() if _may_be_roi(e.filename)]
                size = sum(entry.file_size for entry in entries)
                if size <= _LARGEST:  # no more is read of a file than it claims
                    return [(entry.filename, archive.read(entry)) for entry in entries]
    except FileNotFoundError:
        raise FileNotFoundError(f"{what}: there is no such file.") from None
    except OSError as error:
        raise unreadable(path, error) from error
    except MemoryError:
        raise
    # a damaged zip file may raise anything in its reader
    except Exception as error:
        raise ValueError(f"{what}: is a damaged zip file: {reason(error)}.") from error
    raise ValueError(
        f"{what}: its ROIs have {size // 2**20} MiB, more than the "
        f"{_LARGEST // 2**20} MiB that are read."
    )


def _may_be_roi(name: str) -> bool:
    # macOS adds a file of metadata to each file in a zip
    return name.endswith(_END) and not name.startswith("__MACOSX/")


def _damaged(path: Path, name: str) -> str:
    which = "" if name == path.name else f"{shown(name)} in it "
    kind = "zip of ROIs" if not which and path.name.lower().endswith(".zip") else "ROI"
    return f"{printable(path)}: {which}is no {kind} of ImageJ, or is damaged."


def _class_names(names: Iterable[str]) -> dict[str, None]:
    """Return the names without a number that are classes: few for many ROIs."""
    plain = [_ADDED.sub("", n) for n in names if not _NAME.fullmatch(n)]
    plain = [n for n in plain if not _OWN_NAME.fullmatch(n) and n.lower() != "ignore"]
    found = dict.fromkeys(plain)
    return found if 2 * len(found) <= len(plain) else {}


def _areas(
    name: str, roi: ImagejRoi, like: Image | None, classes: Collection[str]
) -> tuple[list[Found], list[Found]]:
    """Return the objects of a ROI, and areas around them that are not annotated."""
    from roifile import ROI_SUBTYPE

    if roi.subtype == ROI_SUBTYPE.IMAGE:
        raise _MaskImage
    if roi.subtype == ROI_SUBTYPE.TEXT or _BAR.fullmatch(name):
        return [], []
    rings, points = _rings(roi), _points(roi)
    if not rings and not len(points):
        return [], []
    identity = _identity(name, roi, classes)
    if rings:
        t, z = _place(roi, like)
        return [Found(rings, t, z, *identity)], []
    places = [_place(roi, like)] * len(points)
    if roi.counter_positions is not None and roi.counter_positions.all():
        positions = roi.counter_positions.tolist()
        places = [_place_of(position, like) for position in positions]
    if len(points) > 1:
        identity = identity._replace(label=None)
    inside, around = [], []
    for (x, y), (t, z) in zip(points.tolist(), places, strict=True):
        inside.append(Found([_disc(x, y, _RADIUS)], t, z, *identity))
        around.append(Found([_disc(x, y, 2 * _RADIUS)], t, z))
    return inside, around


def _disc(x: float, y: float, radius: int) -> NDArray[np.float64]:
    # pixels whose centres are on its edge belong to it
    reach = radius + 0.1
    return ellipse(x - reach, y - reach, 2 * reach, 2 * reach)


def _identity(name: str, roi: ImagejRoi, classes: Collection[str]) -> _Identity:
    """Return the identity of a ROI's object from its name, properties and colour."""
    lines = (line.split(":", 1) for line in roi.props.splitlines() if ":" in line)
    said = {key.strip(): text.strip() for key, text in lines}
    parts = _NAME.fullmatch(name)
    plain = _ADDED.sub("", name)
    of_name = parts[1] if parts else plain if plain in classes else ""
    title = said.get(_CLASS) or of_name
    number = int(parts[2]) if parts else 0
    colour = roi.hexcolor(roi.stroke_color)
    likely = float(said[CLASS_PROBABILITY]) if CLASS_PROBABILITY in said else None
    return _Identity(
        number if 0 < number <= HIGHEST_ID else None,
        ObjectClass(title, colour) if title else None,
        likely,
    )


def _place(roi: ImagejRoi, like: Image | None) -> tuple[int, int]:
    """Return time point and slice of a ROI, from 0."""
    depth, times = (like.size("z"), like.size("t")) if like else (1, 1)
    if roi.z_position > 0 or roi.t_position > 0:
        if (depth > 1 and roi.z_position <= 0) or (times > 1 and roi.t_position <= 0):
            raise _Unplaced
        return max(roi.t_position - 1, 0), max(roi.z_position - 1, 0)
    if roi.position > 0:
        return _place_of(roi.position, like)
    if depth * times > 1:
        raise _Unplaced
    return 0, 0


def _place_of(position: int, like: Image | None) -> tuple[int, int]:
    """Return time point and slice, from 0, of the number of a plane, from 1."""
    if like is None:
        return 0, position - 1
    depth = like.size("z")
    if depth * like.size("t") == 1 and position <= like.channels:
        return 0, 0  # drawn on one of its channels
    # channels are planes
    t, z = divmod((position - 1) // like.channel_planes, depth)
    return t, z


def _points(roi: ImagejRoi) -> NDArray[np.float64]:
    """Return x and y of the points of a ROI, none if it has areas or lines."""
    from roifile import ROI_TYPE

    if roi.roitype != ROI_TYPE.POINT or not roi.n_coordinates:
        return np.zeros((0, 2))
    points = np.asarray(roi.coordinates(), np.float64)
    if not np.isfinite(points).all():
        raise ValueError(f"found the points {points.tolist()}")
    # whole numbers are those of pixels
    return points + 0.5 if (points == np.rint(points)).all() else points


def _rings(roi: ImagejRoi) -> Sequence[NDArray[Any]]:
    """Return the outline of a ROI, nothing if it is not an area."""
    from roifile import ROI_SUBTYPE, ROI_TYPE

    if roi.multi_coordinates is not None:
        return _followed(roi.multi_coordinates.tolist())
    if roi.roitype in (ROI_TYPE.RECT, ROI_TYPE.OVAL):
        box = (roi.left, roi.top, roi.right - roi.left, roi.bottom - roi.top)
        if roi.subpixelrect:
            box = (roi.xd, roi.yd, roi.widthd, roi.heightd)
        if prod(box[2:]) <= 0:
            return []
        return [ellipse(*box) if roi.roitype == ROI_TYPE.OVAL else _rectangle(*box)]
    if roi.roitype == ROI_TYPE.FREEHAND and roi.subtype in (
        ROI_SUBTYPE.ELLIPSE,
        ROI_SUBTYPE.ROTATED_RECT,
    ):
        return [_turned(roi, is_ellipse=roi.subtype == ROI_SUBTYPE.ELLIPSE)]
    areas = (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED)
    return [roi.coordinates()] if roi.roitype in areas and roi.n_coordinates else []


def _rectangle(
    left: float, top: float, width: float, height: float
) -> NDArray[np.float64]:
    right, bottom = left + width, top + height
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


def _turned(roi: ImagejRoi, *, is_ellipse: bool) -> NDArray[np.float64]:
    """Return a rotated ellipse or rectangle, stored as its long axis and a number.

    The number, in the bytes of three others, is its width: of an ellipse as a share of
    the long axis, of a rectangle in pixels.
    """
    packed = struct.pack(
        ">BBh",
        roi.arrow_style_or_aspect_ratio,
        roi.arrow_head_size,
        roi.rounded_rect_arc_size,
    )
    (wide,) = struct.unpack(">f", packed)
    start, stop = np.array([roi.x1, roi.y1]), np.array([roi.x2, roi.y2])
    along = (stop - start) / 2
    across = np.array([-along[1], along[0]])
    middle = start + along
    if is_ellipse:
        angle = np.linspace(0, 2 * np.pi, _CURVE_STEPS, endpoint=False)[:, np.newaxis]
        return np.asarray(
            middle + np.cos(angle) * along + np.sin(angle) * across * wide
        )
    across *= wide / 2 / np.hypot(*across)
    return np.stack([start - across, stop - across, stop + across, start + across])


def _followed(steps: Sequence[float]) -> list[NDArray[np.float64]]:
    """Return the rings of a path, with curves as many short lines."""
    rings: list[list[NDArray[np.float64]]] = []
    at = 0
    while at < len(steps):
        kind = int(steps[at])
        count = {_MOVE: 1, _LINE: 1, **_CURVES, _CLOSE: 0}[kind]
        points = np.array(steps[at + 1 : at + 1 + 2 * count], float).reshape(count, 2)
        at += 1 + 2 * count
        if kind == _MOVE:
            rings.append([])
        if kind in _CURVES:
            points = _curve(np.concatenate([rings[-1][-1][-1:], points]))
        if kind != _CLOSE:
            rings[-1].append(points)
    return [np.concatenate(ring) for ring in rings]


def _curve(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return corners along a Bézier curve, from behind its first point to its last."""
    share = np.linspace(0, 1, _CURVE_STEPS + 1)[1:, np.newaxis]
    while len(points) > 1:
        if points.ndim == 2:
            points = np.broadcast_to(
                points[:, np.newaxis], (len(points), len(share), 2)
            )
        points = points[:-1] * (1 - share) + points[1:] * share
    return np.asarray(points[0])
