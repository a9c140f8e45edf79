"""Olympus OIB, and OIF with its folder of planes, through oiffile."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from oiffile import OifFile

from napari_unet.core.text import counted
from napari_unet.io.pixels import Pixels
from napari_unet.io.readers.file_image import FileImage, OnDisk
from napari_unet.io.units import micrometres

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from napari_unet.io.readers.file_image import Read

# Bytes of the header of a compound document, and of its sectors, by what it says there.
_HEAD = 512
_SIDES = {b"\x09\0": 512, b"\x0c\0": 4096}


def images(path: Path) -> list[FileImage]:
    """Return the one image of a file; the others in it are reference pictures.

    Raises
    ------
    ValueError
        It holds no image, or planes of it are missing.
    """
    if path.suffix.lower() == ".oib":
        _check_sectors(path)
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


def _check_sectors(path: Path) -> None:
    """Refuse a compound document that oiffile would follow in a circle for ever.

    A table has for each sector the next one of its file; higher numbers are ends. Its
    own sectors are listed in the header and, of large files, in further ones ([MS-CFB]
    2.2 to 2.5).
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
        side = _SIDES.get(head[30:32], 0)
        numbers = np.frombuffer(head[44:].ljust(_HEAD - 44, b"\xff"), "<u4").tolist()
        if max(numbers[0], numbers[7]) * side > path.stat().st_size or not side:
            return  # oiffile says what is wrong

        def sector(number: int) -> list[int]:
            file.seek(side * (number + 1))
            part = file.read(side).ljust(side, b"\xff")
            found: list[int] = np.frombuffer(part, "<u4").tolist()
            return found

        count, small, further, parts = (numbers[k] for k in (0, 4, 6, 7))
        listed = numbers[8:]
        for _ in range(parts):
            *more, further = sector(further)
            listed += more
        table = [n for number in listed[:count] for n in sector(number)]
        _check_ends(table)
        of_small: list[int] = []
        while small < len(table):
            of_small += sector(small)
            small = table[small]
        _check_ends(of_small)


def _check_ends(following: list[int]) -> None:
    """Raise a ValueError unless each number leads beyond all of them in the end."""
    beyond = len(following)
    ends = np.append(np.minimum(following, beyond), beyond).astype(np.int64)
    for _ in range(beyond.bit_length()):
        ends = ends[ends]  # twice as far
    if (ends < beyond).any():
        raise ValueError("its sectors lead in a circle")


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
