"""Image layers of napari from files of microscopes and of other programs.

What napari's *Open* calls, as the manifest says: napari itself reads none of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.gui.notifications import notify

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.core.images.image import Image

    LayerData = tuple[Any, dict[str, Any], str]

# Largest side of a chunk, in pixels: a chunk is a plane or a part of one.
_CHUNK = 4096


def get_reader(
    path: str | list[str],
) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return a reader of files of these formats; of others None."""
    from napari_unet.io.readers.catalogue import SUFFIXES

    paths = path if isinstance(path, list) else [path]
    known = all(str(one).lower().endswith(SUFFIXES) for one in paths)
    return read if paths and known else None


def read(path: str | list[str]) -> list[LayerData]:
    """Make a layer of each image, with a layer for each of its channels.

    Of several images in a file a dialog asks which; nothing comes of it if it is
    cancelled. What was chosen in reading is shown. Errors are those of
    `io.images.read_image`; that a file has several images is one without a window.
    """
    from napari_unet.gui.which_images import each_chosen
    from napari_unet.io.images import read_image

    layers: list[Any] = []
    for one in path if isinstance(path, list) else [path]:
        for image in each_chosen(Path(one), read_image):
            for note in image.notes:
                notify("warning", f"{image.name}: {note}")
            layers.append(_layer(image))
    return layers or [(None,)]  # to napari: there is nothing to add


def on_demand(image: Image) -> Any:
    """Return pixels as napari takes them; those on disk are read where looked at."""
    import numpy as np

    data = image.data
    if isinstance(data, np.ndarray):
        return data
    from dask.array import from_array

    sides = {"y": _CHUNK, "x": _CHUNK}
    chunks = [
        min(n, sides.get(a, 1)) for a, n in zip(image.axes, data.shape, strict=True)
    ]
    meta = np.empty((0,) * len(chunks), data.dtype)
    return from_array(data, chunks, name=False, meta=meta)


def _layer(image: Image) -> LayerData:
    """Return an image as napari takes one."""
    from napari_unet.session.images.layers import scale_of

    axes = image.axes.replace("c", "")
    attributes = {
        "name": image.name,
        "axis_labels": tuple(axes),
        **scale_of(image, axes),
    }
    if "c" in image.axes:
        attributes["channel_axis"] = image.axes.index("c")
        channels = range(1, image.size("c") + 1)
        attributes["name"] = [f"{image.name} channel {k}" for k in channels]
    return on_demand(image), attributes, "image"
