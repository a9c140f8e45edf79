"""Cellpose's masks: `NAME_cp_masks.tif` or `.png`, and `NAME_seg.npy` of its GUI.

A `_seg.npy` is a pickle, which may run any code when loaded as numpy and Cellpose do.
Here it can make only arrays and built-in values.
"""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from napari_unet.core.cells.objects import Objects
from napari_unet.core.images.image import Image
from napari_unet.core.text import printable, reason
from napari_unet.io.export import write_labels
from napari_unet.io.images import read_labels
from napari_unet.io.names import image_name
from napari_unet.io.objects.label_images import fitted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


def write(path: Path, objects: Objects) -> None:
    """Write the ids of a plane or a stack as TIFF."""
    labels = objects.labels
    if labels.size("t") > 1:
        raise ValueError(
            f"{printable(path)}: Cellpose's masks are of one time point, found "
            f"{labels.size('t')}; write the Cell Tracking Challenge's or OME-Zarr."
        )
    write_labels(path, labels.data, labels.axes, labels.known_um)


def read(path: Path, like: Image | None = None) -> Objects:
    """Read masks; only the masks of a `_seg.npy` are used."""
    labels = _masks(path) if path.suffix.lower() == ".npy" else read_labels(path)
    of_times = like is not None and set(like.axes) - {"c"} == set("tyx")
    if of_times and labels.axes == "zyx":
        # Cellpose does not say whether a stack is of slices or of times
        labels = replace(labels, axes="tyx")
    return Objects(fitted(path, labels, like))


def _masks(path: Path) -> Image:
    try:
        with path.open("rb") as file:
            masks = _content(file)["masks"]
        masks = np.asarray(masks.content if isinstance(masks, _Array) else masks)
        if masks.dtype.kind not in "ui" or masks.ndim not in (2, 3) or masks.min() < 0:
            raise ValueError(f"masks of {masks.dtype} and shape {masks.shape}")
    except OSError as error:
        raise type(error)(
            f"{printable(path)}: cannot be read, {error.strerror}."
        ) from error
    # A damaged or hostile pickle may raise anything.
    except Exception as error:
        raise ValueError(
            f"{printable(path)}: cannot be read as masks of Cellpose: {reason(error)}."
        ) from error
    return Image.from_array(masks, name=image_name(path))


def _content(file: BinaryIO) -> dict[str, Any]:
    """Load the dictionary that numpy saved as an array with one object."""
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"numpy's format {version} is unknown")
    shape, _, dtype = readers[version](file)
    if shape != () or not dtype.hasobject:
        raise ValueError(f"it is an array of {dtype}, not Cellpose's dictionary")
    (content,) = _Arrays(file).load().content
    if not isinstance(content, dict) or "masks" not in content:
        raise ValueError("there are no masks in it")
    return content


class _Arrays(pickle.Unpickler):
    """Makes arrays and built-in values, and calls nothing that a file names."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in for one of the few names in pickles of arrays."""
        # numpy 2 moved numpy.core
        known = _MAKERS.get((module.replace("numpy._core", "numpy.core"), name))
        if known is None:
            raise pickle.UnpicklingError(f"it asks to run {module}.{name}")
        return known


class _Type:
    """Stands for a dtype, as numpy's would trust the pickle.

    A dtype of objects that claims to have none would read any bytes as addresses.
    """

    def __init__(self, code: str, *_: Any) -> None:
        self._dtype = np.dtype(str(code))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self._dtype = self._dtype.newbyteorder(state[1])

    def values(self, content: bytes) -> NDArray[Any]:
        """Return the values in bytes; numpy raises a ValueError for objects."""
        return np.frombuffer(content, self._dtype)


class _Array:
    """Stands for an array until its state follows, whatever size is claimed."""

    content: Any = None  # an array, or the list of values of one of objects

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, content = state
        if not isinstance(content, list):
            content = _array(content, kind, shape, "F" if fortran else "C")
        self.content = content


def _scalar(kind: _Type, content: bytes) -> Any:
    return kind.values(content)[0]


def _array(
    content: bytes, kind: _Type, shape: tuple[int, ...], order: Any
) -> NDArray[Any]:
    return kind.values(content).reshape(shape, order=order)


_MAKERS: dict[tuple[str, str], Callable[..., Any] | str] = {
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): "ndarray",  # an argument of the next, never called
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _array,
}
