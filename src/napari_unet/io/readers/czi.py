"""Zeiss CZI, through czifile: each scene is an image, its mosaic assembled."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from czifile import CziFile

from napari_unet.io.pixels import Pixels
from napari_unet.io.readers.file_image import FileImage, OnDisk
from napari_unet.io.units import micrometres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_unet.io.readers.file_image import Read

_IN_A_PLANE = "YXS"


def images(path: Path) -> list[FileImage]:
    """List the scenes of a file.

    Raises
    ------
    ValueError
        It holds no image.
    """
    with CziFile(path) as file:
        scenes = [_scene(path, key, image) for key, image in file.scenes.items()]
    if len(scenes) == 1:
        return [FileImage("", *scenes[0])]
    return [FileImage(f"scene {k}", *one) for k, one in enumerate(scenes, start=1)]


def _scene(path: Path, key: int, image: Any) -> tuple[Any, ...]:
    """Return shape, dtype and pixels of a scene."""
    sizes, dtype = dict(image.sizes), np.dtype(image.dtype)
    shape = tuple(sizes.values())
    outer = sum(axis not in _IN_A_PLANE for axis in sizes)
    data = OnDisk(shape, dtype, outer, partial(_opened, path, key))
    units, scales = image.coord_units, image.coord_scales
    lengths = {
        axis.lower(): micrometres(scale, units.get(axis, ""))
        for axis, scale in scales.items()
        if axis in "ZYX"
    }
    sizes_um = {axis: size for axis, size in lengths.items() if size is not None}
    axes = "".join(sizes).lower()
    # four samples are colours and transparency
    alpha = int(sizes.get("S") == 4)
    return shape, dtype, partial(Pixels, data, axes, sizes_um, alpha=alpha)


@contextmanager
def _opened(path: Path, key: int) -> Iterator[Read]:
    """Open a file to read boxes of planes of a scene."""
    with CziFile(path) as file:
        image = file.scenes[key]
        first = dict(zip(image.dims, image.start, strict=True))
        outer = [axis for axis in image.dims if axis not in _IN_A_PLANE]
        left, top, width, height = image.bbox

        def read(at: tuple[int, ...], part: tuple[int | slice, ...]) -> Any:
            where = {a: first[a] + k for a, k in zip(outer, at, strict=True)}
            rows, columns = (
                range(n)[k if isinstance(k, slice) else slice(k, k + 1)]
                for n, k in zip((height, width), part, strict=False)
            )
            box = (left + columns.start, top + rows.start, len(columns), len(rows))
            plane = _box(image(**where) if where else image, box)
            inside = tuple(slice(None) if isinstance(k, slice) else 0 for k in part[:2])
            return plane[(*inside, *part[2:])]

        yield read


def _box(plane: Any, box: tuple[int, int, int, int]) -> Any:
    """Read a box of a plane, (y, x) or (y, x, samples); 0 where there is no tile."""
    *_, width, height = box
    shape = (height, width, *((plane.sizes["S"],) if "S" in plane.sizes else ()))
    try:
        found = plane(roi=box)
    except ValueError:  # no tile covers any of it
        return np.zeros(shape, plane.dtype)
    return found.asarray(maxworkers=1).reshape(shape)  # which omits axes of length one
