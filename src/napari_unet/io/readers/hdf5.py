"""HDF5, of ilastik or any other, through h5py: each dataset of pixels is an image.

Axes are those of vigra's ``axistags`` (ilastik) or of HDF5's own labels, the pixel size
is ``element_size_um``. External links are not followed.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from napari_unet.core.images.image import AXES, BY_NDIM
from napari_unet.io.pixels import Pixels
from napari_unet.io.readers.file_image import FileImage, OnDisk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_unet.io.readers.file_image import Read

TAGS = "axistags"
SIZES = "element_size_um"


def images(path: Path) -> list[FileImage]:
    """List the datasets of a file that may be images: numbers, of two axes or more.

    Raises
    ------
    ValueError
        There is none.
    """
    found: list[FileImage] = []

    def note(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and _is_image(node):
            opened = partial(_pixels, path, name)
            found.append(FileImage(f"/{name}", node.shape, node.dtype, opened))

    with h5py.File(path) as file:
        file.visititems(note)
    if not found:
        raise ValueError("no dataset of numbers in it has two axes or more")
    return found


@contextmanager
def opened(path: Path, name: str) -> Iterator[Read]:
    """Open a file to read one of its datasets."""
    with h5py.File(path) as file:
        dataset = file[name]
        yield lambda _, part: dataset[part]


def check_inside(file: Any, dataset: Any) -> None:
    """Refuse a dataset whose pixels are elsewhere: external links are not followed.

    Raises
    ------
    ValueError
        They are in another file.
    """
    elsewhere = dataset.file.filename != file.filename
    if elsewhere or dataset.is_virtual or dataset.external:
        raise ValueError(
            f"the pixels of {dataset.name} are in other files, or would be"
        )


def check_links(file: Any, name: str) -> None:
    """Refuse a name of a group or dataset that leads through a link.

    Raises
    ------
    ValueError
        A part of it is a link.
    """
    parts = name.split("/")
    for k in range(1, len(parts) + 1):
        part = "/".join(parts[:k])
        link = file.get(part, getlink=True)
        if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
            raise ValueError(f"{part} in it is a link, which is not followed")


def _is_image(node: Any) -> bool:
    return node.ndim >= 2 and node.size and node.dtype.kind in "buif"


def _pixels(path: Path, name: str) -> Pixels:
    with h5py.File(path) as file:
        dataset = file[name]
        check_inside(file, dataset)
        axes, notes = _axes(dataset)
        sizes = _sizes(dataset, axes)
        data = OnDisk(dataset.shape, dataset.dtype, 0, partial(opened, path, name))
    return Pixels(data, axes, sizes, notes)


def _axes(dataset: Any) -> tuple[str, tuple[str, ...]]:
    """Return the axes of a dataset, and whether they were guessed."""
    named = _tagged(dataset.attrs.get(TAGS)) or [d.label for d in dataset.dims]
    if len(named) == dataset.ndim and all(named):
        return "".join(
            a.lower() if a.lower() in tuple(AXES) else "?" for a in named
        ), ()
    guess = BY_NDIM.get(dataset.ndim, "?" * dataset.ndim)
    note = f"the file names no axes: they are taken as {', '.join(guess)}."
    return guess, (note,) if dataset.ndim > 2 else ()


def _tagged(tags: Any) -> list[str]:
    try:
        return [str(axis["key"]) for axis in json.loads(tags)["axes"]]
    except (TypeError, ValueError, KeyError):
        return []


def _sizes(dataset: Any, axes: str) -> dict[str, float]:
    """Return the pixel sizes; one for each axis of the dataset, or [z,] y, x."""
    try:
        sizes = [float(size) for size in dataset.attrs[SIZES]]
    except (KeyError, TypeError, ValueError):
        return {}
    letters = axes if len(sizes) == len(axes) else "zyx"[-len(sizes) :]
    return {
        letter: size
        for letter, size in zip(letters, sizes, strict=False)
        if letter in "zyx" and np.isfinite(size) and size > 0
    }
