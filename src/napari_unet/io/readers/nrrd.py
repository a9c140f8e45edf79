"""NRRD, with pynrrd for the header: https://teem.sourceforge.net/nrrd/format.html."""

from __future__ import annotations

import bz2
import gzip
from contextlib import ExitStack
from functools import partial
from io import BytesIO
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nrrd
import numpy as np

from napari_unet.core.text import printable
from napari_unet.io.pixels import Pixels
from napari_unet.io.readers.file_image import (
    NO_UNIT,
    FileImage,
    check_size,
    in_memory_if_small,
)
from napari_unet.io.units import micrometres

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_COMPRESSED: Mapping[str, Any] = {
    "gzip": gzip.open,
    "gz": gzip.open,
    "bzip2": bz2.open,
    "bz2": bz2.open,
}
_PIECE = 2**24  # bytes
_SPATIAL = {"domain", "space", "???", "none"}
_COLOURS = {"RGB-color": 0, "RGBA-color": 1, "3-color": 0, "4-color": 1}
_CHANNELS = {"vector", "covariant-vector", "point", "2-vector", "3-vector", "4-vector"}


def images(path: Path) -> list[FileImage]:
    """Return the one image of a file.

    Raises
    ------
    ValueError
        The header cannot be understood, or its data are elsewhere or truncated.
    """
    with path.open("rb") as file:
        header = nrrd.read_header(file)
        start = file.tell()
    data = _data(path, start, header)
    axes, alpha = _axes(header)
    sizes, notes = _sizes(header, axes)
    opened = partial(Pixels, data, axes, sizes, notes, alpha=alpha)
    return [FileImage("", data.shape, data.dtype, opened)]


def data_file(path: Path) -> Path | None:
    """Return the data file that a header names, None if it is this one."""
    return _beside(path, nrrd.read_header(str(path)))


def _beside(path: Path, header: Mapping[str, Any]) -> Path | None:
    named = _field(header, "data file")
    if named is None:
        return None
    # No path from inside the file is followed.
    if not named or Path(named).name != named or "%" in named or named[:4] == "LIST":
        raise ValueError(
            f"its pixels are in {printable(named)}; they are read from this file, or "
            "from one file beside it"
        )
    return path.with_name(named)


def _data(path: Path, start: int, header: Mapping[str, Any]) -> NDArray[Any]:
    """Map the pixels of a file, or decompress them: the slowest axis first."""
    if (elsewhere := _beside(path, header)) is not None:
        path, start = elsewhere, 0
    if _field(header, "line skip", 0) or (skip := _field(header, "byte skip", 0)) < 0:
        raise ValueError("parts of its data file are to be skipped, which is not read")
    shape = tuple(int(n) for n in header["sizes"][::-1])
    if len(shape) != (told := header["dimension"]):
        raise ValueError(f"it tells of {told} axes and of {len(shape)} sizes")
    encoding = header["encoding"]
    # first: text has no byte order that the type could be read with
    if encoding not in {"raw", *_COMPRESSED}:
        raise ValueError(f"its encoding is {encoding}; raw, gzip and bzip2 are read")
    dtype = _dtype(header)
    if encoding == "raw":
        start += skip
        check_size(path.stat().st_size - start, shape, dtype)
        return in_memory_if_small(np.memmap(path, dtype, "r", start, shape))
    size = prod(shape) * dtype.itemsize
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        file.seek(start)
        content = stack.enter_context(_COMPRESSED[encoding](file))
        content.read(skip)
        # in pieces: a claimed size takes no memory
        pixels = bytearray()
        while piece := content.read(min(size - len(pixels), _PIECE)):
            pixels += piece
        content.read(1)  # the checksum is verified at the end
    check_size(len(pixels), shape, dtype)
    return np.frombuffer(pixels, dtype).reshape(shape)


def _dtype(header: Mapping[str, Any]) -> np.dtype[Any]:
    """Return the type of the pixels, from reading one of them."""
    one = {**header, "dimension": 1, "sizes": np.array([1]), "encoding": "raw"}
    for name in ("data file", "datafile", "byte skip", "byteskip"):
        one.pop(name, None)
    dtype: np.dtype[Any] = nrrd.read_data(one, BytesIO(bytes(16))).dtype
    return dtype


def _axes(header: Mapping[str, Any]) -> tuple[str, int]:
    """Name the axes, slowest first, and say how many samples are transparency."""
    letters, alpha = "", 0
    space = iter("xyz")
    for kind in header.get("kinds") or ["domain"] * header["dimension"]:
        alpha += _COLOURS.get(kind, 0)
        if kind in _SPATIAL:
            letters += next(space, "?")
        elif kind == "time":
            letters += "t"
        else:
            letters += "s" if kind in _COLOURS else "c" if kind in _CHANNELS else "?"
    return letters[::-1], alpha


def _sizes(
    header: Mapping[str, Any], axes: str
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the pixel sizes in micrometres, and a note if they have no unit."""
    if (directions := header.get("space directions")) is not None:
        lengths, units = _along(directions, header.get("space units") or [])
    else:
        lengths = list(header.get("spacings", ()))
        units = list(header.get("units") or [""] * len(lengths))
    both = dict(zip(axes[::-1], zip(lengths, units, strict=False), strict=False))
    spatial = {a: one for a, one in both.items() if a in "zyx"}
    found = {a: micrometres(float(n), unit) for a, (n, unit) in spatial.items()}
    sizes = {a: size for a, size in found.items() if size is not None}
    without = [n for n, unit in spatial.values() if not unit and np.isfinite(n)]
    if without and not sizes:
        return {}, (NO_UNIT,)
    return sizes, ()


def _along(
    directions: Sequence[Any], units: Sequence[str]
) -> tuple[list[float], list[str]]:
    """Return the length of a step along each axis, and its unit.

    `units` are those of the axes of space; where they differ, steps are in micrometres.
    """
    unknown = np.full(len(units) or 1, np.nan)
    rows = [unknown if row is None else np.asarray(row, float) for row in directions]
    unit = units[0] if units else ""
    if len(set(units)) > 1:
        if any(row.shape != unknown.shape for row in rows):
            return [np.nan] * len(rows), [""] * len(rows)
        known = np.array([micrometres(1.0, one) or np.nan for one in units])
        # a step does not depend on the unit of an axis that it does not go along
        rows = [np.where(row == 0, 0, row * known) for row in rows]
        unit = "um"
    return [float(np.linalg.norm(row)) for row in rows], [unit] * len(rows)


def _field(header: Mapping[str, Any], name: str, otherwise: Any = None) -> Any:
    """Return a field, whose name may be written with or without a blank."""
    return header.get(name, header.get(name.replace(" ", ""), otherwise))
