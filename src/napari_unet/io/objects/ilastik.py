"""ilastik's HDF5: a dataset `exported_data` with `axistags` for its axes.

The tags are those of vigra (http://ukoethe.github.io/vigra/doc-release/vigranumpy): a
key for each axis with a bit for its type. Channels are last. The pixel size, which
ilastik does not ask for, is in `element_size_um`, as ImageJ's plugin for HDF5 has it.
"""

from __future__ import annotations

import json
from collections import deque
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.cells.objects import Objects
from napari_unet.core.geometry.blocks import cut
from napari_unet.core.geometry.boxes import field_index
from napari_unet.io.atomic import atomic
from napari_unet.io.images import read_labels
from napari_unet.io.objects.label_images import fitted

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.core.images.image import Image

# ilastik's own order of axes.
_AXES = "tzyxc"
_TYPES = {"c": 1, "z": 2, "y": 2, "x": 2, "t": 8}  # bits of vigra's AxisType
# Part of a plane that is read at a time, and side of a chunk, in pixels.
_PART = (1024, 2048)
_CHUNK = 256


def write(path: Path, objects: Objects) -> None:
    """Write the ids, as ilastik's object identities are."""
    deque(objects.planes(), maxlen=0)  # refuses values that are not ids
    _write(path, objects.labels)


def read(path: Path, like: Image | None = None) -> Objects:
    """Read object identities."""
    return Objects(fitted(path, read_labels(path), like))


def _write(path: Path, image: Image) -> None:
    import h5py

    from napari_unet.io.readers.hdf5 import SIZES, TAGS

    axes = "".join(a for a in _AXES if a in image.axes or a == "c")
    shape = tuple(image.size(a) for a in axes)
    sides = {"y": _CHUNK, "x": _CHUNK}
    chunks = tuple(min(n, sides.get(a, 1)) for a, n in zip(axes, shape, strict=True))
    # HDF5 ends the process if it cannot write to a disk, so it writes to memory
    content = BytesIO()
    with h5py.File(content, "w") as file:
        stored = file.create_dataset(
            "exported_data", shape, np.uint32, chunks=chunks, compression="gzip"
        )
        stored.attrs[TAGS] = _tags(axes)
        if image.known_um is not None:
            stored.attrs[SIZES] = np.array(image.known_um)
        for field in image.fields(2):
            for block in cut(field.shape, _PART, unit=_CHUNK):
                part = np.moveaxis(field.read(block.core), 0, -1)
                stored[field_index(axes, field.t, field.z, block.core)] = part
    with atomic(path) as temporary:
        temporary.write_bytes(content.getvalue())


def _tags(axes: str) -> str:
    tags: list[dict[str, Any]] = [
        {"key": a, "typeFlags": _TYPES[a], "resolution": 0, "description": ""}
        for a in axes
    ]
    return json.dumps({"axes": tags})
