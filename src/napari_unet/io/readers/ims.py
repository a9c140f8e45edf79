"""Imaris .ims, through h5py: full resolution, all channels and time points.

Format: https://imaris.oxinst.com/support/imaris-file-format, of version 5.5.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from napari_unet.io.pixels import Pixels
from napari_unet.io.readers.file_image import FileImage, OnDisk
from napari_unet.io.readers.hdf5 import check_inside, check_links
from napari_unet.io.units import micrometres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_unet.io.readers.file_image import Read

_FULL = "DataSet/ResolutionLevel 0"
_IMAGE = "DataSetInfo/Image"


def images(path: Path) -> list[FileImage]:
    """Return the one image of a file.

    Raises
    ------
    ValueError
        Its layout is not that of Imaris, or volumes are missing or differ.
    """
    with h5py.File(path) as file:
        check_links(file, _FULL)
        if _FULL not in file:
            raise ValueError(f"it has no {_FULL}, as files of Imaris have")
        volumes = _volumes(file)
        info = file[_IMAGE].attrs if _IMAGE in file else {}
        size = [_size(info, volumes[0, 0], axis) for axis in "ZYX"]
        if any(n > stored for n, stored in zip(size, volumes[0, 0].shape, strict=True)):
            raise ValueError(f"it tells of {size} voxels, more than are stored")
        shape = (*_shape(volumes), *size)
        dtype = volumes[0, 0].dtype
        sizes_um = _sizes_um(info, size)
    data = OnDisk(shape, dtype, 2, partial(_opened, path))
    return [FileImage("", shape, dtype, partial(Pixels, data, "tczyx", sizes_um))]


@contextmanager
def _opened(path: Path) -> Iterator[Read]:
    with h5py.File(path) as file:
        yield lambda at, part: file[_name(*at)][part]


def _name(t: int, c: int) -> str:
    return f"{_FULL}/TimePoint {t}/Channel {c}/Data"


def _volumes(file: Any) -> dict[tuple[int, int], Any]:
    """Return the dataset of each time point and channel."""
    times = sum(name.startswith("TimePoint ") for name in file[_FULL])
    first = f"{_FULL}/TimePoint 0"
    check_links(file, first)
    if first not in file:
        raise ValueError("it holds no time point 0")
    channels = sum(name.startswith("Channel ") for name in file[first])
    where = [(t, c) for t in range(times) for c in range(channels)]
    for at in where:
        check_links(file, _name(*at))
    lost = [at for at in where if _name(*at) not in file]
    if lost or not where:
        raise ValueError(f"{len(lost)} of its {len(where)} volumes are not in it")
    found = {at: file[_name(*at)] for at in where}
    for volume in found.values():
        check_inside(file, volume)
    if len({(v.shape, v.dtype) for v in found.values()}) > 1:
        raise ValueError("its channels and time points differ in size or type")
    return found


def _shape(volumes: dict[tuple[int, int], Any]) -> tuple[int, int]:
    t, c = max(volumes)
    return t + 1, c + 1


def _size(info: Any, volume: Any, axis: str) -> int:
    """Return the length of an axis: volumes are stored padded to whole blocks."""
    text = _text(volume.parent.attrs.get(f"ImageSize{axis}")) or _text(info.get(axis))
    return int(text) if text else int(volume.shape["ZYX".index(axis)])


def _sizes_um(info: Any, size: list[int]) -> dict[str, float]:
    """Return the voxel size: the extent is that of all voxels, edge to edge."""
    found: dict[str, float] = {}
    for number, (axis, count) in enumerate(zip("xyz", size[::-1], strict=True)):
        ends = [_text(info.get(f"Ext{end}{number}")) for end in ("Min", "Max")]
        try:
            length = (float(ends[1]) - float(ends[0])) / count
        except ValueError:
            continue
        size_um = micrometres(length, _text(info.get("Unit")) or "um")
        found |= {axis: size_um} if size_um is not None else {}
    return found


def _text(value: Any) -> str:
    """Return a text that is stored as an array of letters."""
    return "" if value is None else np.asarray(value).astype("S1").tobytes().decode()
