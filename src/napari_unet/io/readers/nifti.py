"""NIfTI, through nibabel: the pixels in the order of the file, x fastest."""

from __future__ import annotations

import gzip
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
from nibabel.imageglobals import LoggingOutputSuppressor

from napari_unet.io.pixels import Pixels
from napari_unet.io.readers.file_image import (
    NO_UNIT,
    FileImage,
    OnDisk,
    check_size,
    in_memory_if_small,
)
from napari_unet.io.units import micrometres

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.core.images.image import ArrayLike

# The fifth axis has the values of one voxel, the fourth is time: NIfTI-1, dim.
_AXES = "xyztc"
# Highest compression ratio of deflate: zlib.net/zlib_tech.html.
_DEFLATED = 1032
_PIECE = 2**24  # bytes


def images(path: Path) -> list[FileImage]:
    """Return the one image of a file.

    Raises
    ------
    ValueError
        It is truncated, or claims more pixels than possible.
    """
    with LoggingOutputSuppressor():  # it prints warnings about headers
        image = nibabel.load(path)
    packed = 1
    if path.suffix.lower() == ".gz":
        packed = _DEFLATED
        _check_sum(path)
    stored = image.dataobj
    check_size(path.stat().st_size * packed, stored.shape, stored.dtype)
    data = _data(image.dataobj)
    axes = (_AXES + "??")[: len(data.shape)][::-1]
    unit, _ = image.header.get_xyzt_units()
    lengths = zip("xyz", image.header.get_zooms(), strict=False)
    found = {axis: micrometres(float(n), unit) for axis, n in lengths}
    sizes = {axis: size for axis, size in found.items() if size is not None}
    notes = (NO_UNIT,)
    opened = partial(Pixels, data, axes, sizes, () if sizes else notes)
    return [FileImage("", data.shape, data.dtype, opened)]


def _check_sum(path: Path) -> None:
    """Read a compressed file to its end, where its checksum is verified."""
    with gzip.open(path) as file:
        while file.read(_PIECE):
            pass


def _data(proxy: Any) -> ArrayLike:
    """Map the pixels of a file; those of a compressed one are read."""
    stored: NDArray[Any] = np.asanyarray(proxy.get_unscaled()).T
    if (proxy.slope, proxy.inter) == (1, 0):
        return in_memory_if_small(stored)
    # float32 holds what 16 bits hold
    dtype = np.result_type(stored.dtype, np.float32)

    def read(_: tuple[int, ...], part: tuple[int | slice, ...]) -> Any:
        return stored[part].astype(dtype) * proxy.slope + proxy.inter

    return OnDisk(stored.shape, dtype, 0, lambda: nullcontext(read))
