"""Leica's LIF and LOF, through liffile: a file is a list of images.

Of an image that is a mosaic each tile is an image: how they overlap is not known.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from liffile import LifFile, LifFileType

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
        if file.type not in _WHOLE:  # no path from the inside of a file is followed
            raise ValueError(f"it is {file.type.name}, whose pixels are in other files")
        return [
            one
            for number, image in enumerate(file.images)
            for one in _tiles(path, number, image)
        ]


def _tiles(path: Path, number: int, image: Any) -> Iterator[FileImage]:
    sizes = dict(image.sizes)
    tiles = sizes.pop(_TILE, 1)
    axes, shape = "".join(sizes).lower(), tuple(sizes.values())
    sizes_um = _sizes_um(image)
    for tile in range(tiles):
        title = f"{image.path}, tile {tile + 1}" if tiles > 1 else str(image.path)
        opened = partial(_pixels, path, number, tile, axes, sizes_um)
        yield FileImage(title, shape, np.dtype(image.dtype), opened)


def _pixels(
    path: Path, number: int, tile: int, axes: str, sizes_um: dict[str, float]
) -> Pixels:
    with LifFile(path) as file:
        image = file.images[number]
        data = _data(image)
        if _TILE in image.sizes:
            data = data.take(tile, list(image.sizes).index(_TILE))
    return Pixels(data, axes, sizes_um)


def _data(image: Any) -> NDArray[Any]:
    """Map the pixels of an image; colours, which may be in reverse, are read."""
    try:
        if "S" in image.sizes:
            return np.asarray(image.asarray())
        return in_memory_if_small(image.asarray(out="memmap"))
    except KeyError as error:  # liffile stops in silence at a block that is cut off
        raise ValueError(f"its pixels ({error.args[0]}) are not in it") from error


def _sizes_um(image: Any) -> dict[str, float]:
    """Return the pixel sizes: the length is from the first pixel to the last."""
    found = {}
    for axis in image.xml_element.iterfind(_DIMENSIONS):
        letter = _SPATIAL.get(axis.get("DimID", ""))
        steps = int(axis.get("NumberOfElements", "1")) - 1
        if letter and steps > 0:
            length = abs(float(axis.get("Length", "0"))) / steps
            size = micrometres(length, axis.get("Unit", ""))
            found |= {letter: size} if size is not None else {}
    return found
