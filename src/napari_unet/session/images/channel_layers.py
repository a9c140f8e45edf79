"""The channels of one layer as layers of their own, where napari needs that.

napari matches the axes of layers from the last one on. What lies on an image has no
channels: below a layer with the axes z, c, y, x it would follow the slider of the
channels instead of that of z, and be seen, painted and predicted at another slice.
"""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.session.images import layers as roles
from napari_unet.session.images.image_layers import fingerprint_of_arrays
from napari_unet.session.images.source_files import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_unet.io.project_record import ProjectImage

# As napari colours channels: two of them, and more.
_TWO = ("magenta", "green")
_MORE = ("cyan", "magenta", "yellow", "blue", "green", "red")


def are_in_the_way(layer: Layer, axes: str) -> bool:
    """Whether the channels of a layer come after an axis that has a slider."""
    if layer.rgb or "c" not in axes:
        return False
    before = roles.level_shape(layer)[: axes.index("c")]
    return any(length > 1 for length in before)


def part_channels(
    viewer: ViewerModel, layer: Layer, axes: str, samples: int | None
) -> list[Layer]:
    """Put a layer for each channel in place of a layer that has all; pixels are shared.

    They are known by the file of that layer. `samples` is as in `Interpretation`.
    """
    at, rest = axes.index("c"), axes.replace("c", "")
    number = samples or roles.level_shape(layer)[at]
    colours = {1: ("gray",), 2: _TWO}.get(number, _MORE)
    parts = []
    names = enumerate(_names(layer.name, number))
    for (channel, name), colour in zip(names, cycle(colours), strict=False):
        levels = [_channel(data, at, channel) for data in _levels(layer)]
        parts.append(
            viewer.add_image(
                levels if layer.multiscale else levels[0],
                **roles.attributes_like(layer, axes, rest),
                name=name,
                metadata={**layer.metadata, **roles.from_file(path_of(layer))},
                multiscale=layer.multiscale,
                rgb=False,
                colormap=colour,
                blending="additive" if channel else "translucent_no_depth",
            )
        )
    viewer.layers.remove(layer)
    return parts


def parted(image: ProjectImage, layer: Layer) -> ProjectImage:
    """Return the record of an image of one layer whose channels become layers.

    Records of before channels were parted are of one layer; annotation stays as it is.
    """
    at, axes = image.axes.index("c"), image.axes.replace("c", "")
    number = image.samples or image.shape[at]
    data = roles.level_data(layer, image.level)
    names = _names(layer.name, number)
    (source,) = image.sources
    return image.replace(
        sources=tuple(source.replace(layer=name) for name in names),
        axes=axes,
        shape=image.annotation_shape,
        samples=None,
        fingerprint=fingerprint_of_arrays(
            [_channel(data, at, channel) for channel in range(number)], axes
        ),
    )


def name_of_channel(name: str, channel: int) -> str:
    """Return the name of the layer of a channel, which is counted from 0."""
    return f"{name} channel {channel + 1}"


def _names(layer: str, number: int) -> list[str]:
    """Return the names of the layers of so many channels of a layer."""
    every = [name_of_channel(layer, channel) for channel in range(number)]
    return every if number > 1 else [layer]


def _levels(layer: Layer) -> Iterator[Any]:
    for level in range(roles.level_count(layer)):
        yield roles.level_data(layer, level)


def _channel(data: Any, axis: int, channel: int) -> Any:
    """Return a channel of an array: a view, or read when it is looked at."""
    if not isinstance(data, np.ndarray) and not hasattr(data, "compute"):
        from dask.array import from_array

        # other arrays, such as of zarr, would be read at once
        data = from_array(data, name=False)
    return data[(slice(None),) * axis + (channel,)]
