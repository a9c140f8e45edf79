"""Olympus OIB, and OIF with its folder of planes, through oiffile."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

from oiffile import OifFile

from napari_unet.core.text import counted
from napari_unet.io.pixels import Pixels
from napari_unet.io.readers.file_image import FileImage, OnDisk
from napari_unet.io.units import micrometres

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from napari_unet.io.readers.file_image import Read


def images(path: Path) -> list[FileImage]:
    """Return the one image of a file; the others in it are reference pictures.

    Raises
    ------
    ValueError
        It holds no image, or planes of it are missing.
    """
    with OifFile(path) as file:
        if not file.series:
            raise ValueError("it holds no image")
        # a reference picture has "-R" in its name, and is no more than a plane
        planes = max(file.series, key=lambda found: (len(found), "-R" not in found[0]))
        if lost := planes.files_missing:
            raise ValueError(f"{counted(lost, 'plane')} of it cannot be found")
        files = dict(zip(planes.indices, planes, strict=True))
        first = file.asarray(planes[0])
        axes = planes.axes.lower() + "yxs"[: first.ndim]
        sizes_um = _sizes_um(file.mainfile)
        notes = _notes(file, len(files))
    shape, outer = (*planes.shape, *first.shape), len(planes.shape)
    data = OnDisk(shape, first.dtype, outer, partial(_opened, path, files))
    opened = partial(Pixels, data, axes, sizes_um, notes)
    return [FileImage("", shape, first.dtype, opened)]


@contextmanager
def _opened(path: Path, files: Mapping[tuple[int, ...], str]) -> Iterator[Read]:
    with OifFile(path) as file:
        yield lambda at, part: file.asarray(files[at])[part]


def _notes(file: OifFile, planes: int) -> tuple[str, ...]:
    """Say what is left out, and whether the settings list more than there is."""
    notes = []
    if len(file.series) > 1:
        notes.append("smaller pictures beside its planes are left out.")
    lengths = {
        axis.get("AxisCode"): axis.get("MaxSize")
        for axis in map(partial(_axis, file.mainfile), range(8))
    }
    told = prod(lengths.get(code) or 1 for code in "CZT")
    if told > planes:
        notes.append(f"it tells of {told} planes, of which {planes} are there.")
    return tuple(notes)


def _axis(settings: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    found: Mapping[str, Any] = settings.get(f"Axis {number} Parameters Common", {})
    return found


def _sizes_um(settings: Mapping[str, Any]) -> dict[str, float]:
    """Return the pixel sizes that a settings file has: of a plane, and the interval."""
    plane = settings.get("Reference Image Parameter", {})
    sizes = {
        "y": (plane.get("HeightConvertValue"), plane.get("HeightUnit")),
        "x": (plane.get("WidthConvertValue"), plane.get("WidthUnit")),
    }
    for number in range(8):
        axis = _axis(settings, number)
        if axis.get("AxisCode") == "Z":
            sizes["z"] = axis.get("Interval"), axis.get("UnitName")
    found = {
        letter: micrometres(abs(size), str(unit))
        for letter, (size, unit) in sizes.items()
        if isinstance(size, (int, float))
    }
    return {letter: size for letter, size in found.items() if size is not None}
