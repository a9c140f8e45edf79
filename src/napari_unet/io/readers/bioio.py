"""Whatever the installed bioio and its plugins can read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from bioio import BioImage
from bioio_base.exceptions import UnsupportedFileFormatError

from napari_unet.io.pixels import Pixels
from napari_unet.io.readers.file_image import NO_UNIT, FileImage
from napari_unet.io.units import micrometres

if TYPE_CHECKING:
    from pathlib import Path


def images(path: Path) -> list[FileImage]:
    """List the scenes of a file, their axes in the order t, c, z, y, x.

    Raises
    ------
    ValueError
        None of the plugins reads it.
    """
    try:
        image = BioImage(path)
    except UnsupportedFileFormatError as error:
        raise ValueError("no plugin of bioio that is installed reads it") from error
    scenes = image.scenes
    found = []
    for number, scene in enumerate(scenes):
        image.set_scene(number)
        axes = "TCZYX" + ("S" if "S" in image.dims.order else "")
        shape = tuple(int(getattr(image.dims, axis)) for axis in axes)
        title = str(scene) if len(scenes) > 1 else ""
        opened = partial(_pixels, path, number, axes)
        found.append(FileImage(title, shape, np.dtype(image.dtype), opened))
    return found


def _pixels(path: Path, number: int, axes: str) -> Pixels:
    image = BioImage(path)
    image.set_scene(number)
    data = image.get_image_dask_data(axes)
    sizes, notes = _sizes_um(image)
    return Pixels(data, axes.lower(), sizes, notes)


def _sizes_um(image: Any) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the pixel sizes of which bioio knows the unit."""
    known = {}
    told = 0
    for axis in "ZYX":
        size = getattr(image.physical_pixel_sizes, axis)
        unit = getattr(image.dimension_properties, axis).unit
        told += size is not None
        if size and unit and (length := micrometres(float(size), f"{unit}")):
            known[axis.lower()] = length
    return known, (NO_UNIT,) if told and not known else ()
