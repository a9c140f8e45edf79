"""MRC2014 of electron microscopes, through mrcfile; lengths in it are in ångström."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import mrcfile
import numpy as np

from napari_unet.core.text import reason
from napari_unet.io.pixels import Pixels
from napari_unet.io.readers.file_image import FileImage, in_memory_if_small

if TYPE_CHECKING:
    from pathlib import Path

# IMOD's stamp in the header, and its flag that bytes have a sign
_IMOD, _SIGNED = 1146047817, 1
_UNSIGNED_BYTES = "its bytes are without sign, as IMOD writes them."


def images(path: Path) -> list[FileImage]:
    """Return the one image of a file.

    Raises
    ------
    ValueError
        The file is truncated, or not an MRC.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with mrcfile.mmap(path, mode="r") as file:
            data = np.asanyarray(file.data)
            axes = _axes(file)
            sizes = {a: float(file.voxel_size[a]) for a in "zyx"}
            if axes[0] == "?" and file.header.mz < len(data):
                sizes.pop("z")  # of pictures, which are not beside each other
            unsigned = data.dtype == np.int8 and _is_unsigned(file.header)
            if unsigned:
                data = data.view(np.uint8)
            data = in_memory_if_small(data)
    # such as bytes at its end, but not what numpy has to say of the reader
    of_file = [w for w in said if not issubclass(w.category, DeprecationWarning)]
    notes = tuple(f"{reason(Warning(w.message))}." for w in of_file)
    notes += (_UNSIGNED_BYTES,) if unsigned else ()
    known, more = _known(sizes)
    opened = partial(Pixels, data, axes, known, notes + more)
    return [FileImage("", data.shape, data.dtype, opened)]


def _axes(file: Any) -> str:
    """Return the axes; that of a stack of images or volumes is not explained."""
    if file.is_image_stack():
        return "?yx"
    return "?zyx"[-file.data.ndim :] if file.data.ndim > 2 else "yx"


def _known(sizes: dict[str, float]) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the sizes in micrometres, and notes on those that are not sizes.

    Programs that know no size write one ångström, or nothing.
    """
    if set(sizes.values()) == {1.0}:
        return {}, ("its pixel size of 1 Å is what is written for an unknown one.",)
    return {a: n * 1e-4 for a, n in sizes.items() if np.isfinite(n) and n > 0}, ()


def _is_unsigned(header: Any) -> bool:
    """Whether IMOD wrote the bytes, and says that they are unsigned."""
    stamp, flags = np.frombuffer(header.tobytes()[152:160], header.nx.dtype)
    return bool(stamp == _IMOD and not flags & _SIGNED)
