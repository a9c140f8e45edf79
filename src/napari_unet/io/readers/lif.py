"""Leica LIF and LOF, through liffile: a file is a list of images.

Each tile of a mosaic is an image: how they overlap is not known.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from liffile import LifFile, LifFileType

from napari_unet.core.text import reason
from napari_unet.io.pixels import Pixels
from napari_unet.io.readers.file_image import FileImage, in_memory_if_small
from napari_unet.io.units import micrometres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_WHOLE = {LifFileType.LIF, LifFileType.LOF}
_TILE = "M"
# DimID of the spatial axes, Leica Image File Formats 3.2
_SPATIAL = {"1": "x", "2": "y", "3": "z"}
_DIMENSIONS = "./Data/Image/ImageDescription/Dimensions/DimensionDescription"


def images(path: Path) -> list[FileImage]:
    """List the images of a file, and the tiles of each that is a mosaic.

    Raises
    ------
    ValueError
        Its pixels are in other files.
    """
    with LifFile(path) as file:
        if file.type not in _WHOLE:  # no path from inside the file is followed
            raise ValueError(f"it is {file.type.name}, whose pixels are in other files")
        return [
            one
            for number, image in enumerate(file.images)
            for one in _tiles(path, number, image)
        ]


def _tiles(path: Path, number: int, image: Any) -> Iterator[FileImage]:
    name = str(image.path)
    try:
        sizes, dtype = dict(image.sizes), np.dtype(image.dtype)
    # one that liffile does not understand keeps its number, the others can be read
    except Exception as error:
        yield FileImage(name, (), np.dtype("V"), partial(_refuse, reason(error)))
        return
    tiles = sizes.pop(_TILE, 1)
    axes = "".join(axis.lower() if len(axis) == 1 else "?" for axis in sizes)
    opened = partial(_pixels, path, number, axes, _sizes_um(image))
    for tile in range(tiles):
        title = f"{name}, tile {tile + 1}" if tiles > 1 else name
        yield FileImage(title, tuple(sizes.values()), dtype, partial(opened, tile))


def _refuse(why: str) -> Pixels:
    raise ValueError(why)


def _pixels(
    path: Path, number: int, axes: str, sizes_um: dict[str, float], tile: int
) -> Pixels:
    with LifFile(path) as file:
        image = file.images[number]
        data = _data(image)
        if _TILE in image.sizes:
            data = np.moveaxis(data, list(image.sizes).index(_TILE), 0)[tile]
    return Pixels(data, axes, sizes_um)


def _data(image: Any) -> NDArray[Any]:
    """Map the pixels of an image; colours, which may be reversed, are read."""
    try:
        if "S" in image.sizes:
            return np.asarray(image.asarray())
        return in_memory_if_small(image.asarray(out="memmap"))
    except KeyError as error:  # liffile silently stops at a truncated block
        raise ValueError(f"its pixels ({error.args[0]}) are not in it") from error


def _sizes_um(image: Any) -> dict[str, float]:
    """Return the pixel sizes: the length is from the first pixel to the last."""
    found: dict[str, float] = {}
    for axis in image.xml_element.iterfind(_DIMENSIONS):
        letter = _SPATIAL.get(axis.get("DimID", ""))
        steps = int(axis.get("NumberOfElements", "1")) - 1
        if letter and steps > 0:
            length = abs(float(axis.get("Length", "0"))) / steps
            size = micrometres(length, axis.get("Unit", ""))
            found |= {letter: size} if size is not None else {}
    return found
