"""Which layers make up an image of the project, and the record of it."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_unet.core.images.image import AXES
from napari_unet.io.project_record import ImageSource, ProjectImage
from napari_unet.session.images import layers as roles
from napari_unet.session.images.interpretation import ONE_CHANNEL
from napari_unet.session.images.source_files import path_of
from napari_unet.session.project.recovery import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari.layers import Layer

    from napari_unet.core.images.image import ArrayLike
    from napari_unet.session.images.interpretation import Interpretation

# End of the name of a layer that is a channel, as our reader calls it.
_CHANNEL = re.compile(r" channel \d+$")


def is_image(layer: Layer) -> bool:
    """Whether napari shows the layer as an image."""
    # by its name: to import the class would load all of napari's layers
    return any(
        (kind.__name__, kind.__module__.split(".")[0]) == ("Image", "napari")
        for kind in type(layer).__mro__
    )


def check_images(layers: Sequence[Layer], level: int) -> None:
    """Raise ValueError if there are no layers, or not all are images with a level."""
    if not layers:
        raise ValueError("Select one image layer, or one for each channel.")
    for layer in layers:
        if not is_image(layer):
            raise ValueError(f"{layer.name} is no image layer.")
        levels = roles.level_count(layer)
        if not 0 <= level < levels:
            raise ValueError(
                f"{layer.name} has the levels 0 to {levels - 1}, found {level}."
            )


def check_channels(layers: Sequence[Layer], axes: str, level: int) -> None:
    """Check that layers can be the channels of one image.

    ValueError if they are no images, differ in shape or scale, or do not have these
    axes.
    """
    check_images(layers, level)
    first = layers[0]
    shape, scale = roles.level_shape(first, level), tuple(map(float, first.scale))
    _check_axes(first, axes, shape)
    for other in layers[1:]:
        its_shape = roles.level_shape(other, level)
        if its_shape != shape:
            raise ValueError(
                "the channels of an image have one shape: "
                f"{first.name} has {shape}, {other.name} {its_shape}."
            )
        its_scale = tuple(map(float, other.scale))
        if its_scale != scale:
            raise ValueError(
                "the channels of an image have one scale: "
                f"{first.name} has {scale}, {other.name} {its_scale}."
            )
    if len(layers) > 1 and "c" in axes:
        raise ValueError(
            f"{first.name} has channels itself (axes {axes}): add it alone."
        )


def describe(
    layers: Sequence[Layer], found: Interpretation, level: int, mark: str
) -> ProjectImage:
    """Return the record of an image that is new to the project; `mark`: fingerprint."""
    notes = found.notes
    if len(layers) > 1:
        notes = tuple(note for note in notes if not note.startswith(ONE_CHANNEL))
    return ProjectImage(
        id=uuid4().hex[:12],
        name=_common_name([layer.name for layer in layers]),
        sources=tuple(
            ImageSource(path=path_of(layer), layer=layer.name) for layer in layers
        ),
        axes=found.axes,
        shape=roles.level_shape(layers[0], level),
        level=level,
        fingerprint=mark,
        spacing_um=found.spacing_um,
        samples=found.samples,
        notes=notes,
    )


def fingerprint_of(layers: Sequence[Layer], axes: str, level: int) -> str:
    """Return the fingerprint of an image of one or several layers."""
    return fingerprint_of_arrays([roles.level_data(x, level) for x in layers], axes)


def fingerprint_of_arrays(arrays: Sequence[ArrayLike], axes: str) -> str:
    """Return the fingerprint of an image by the pixels of its layers."""
    marks = [fingerprint(array, axes) for array in arrays]
    if len(marks) == 1:
        return marks[0]
    return hashlib.sha256(" ".join(marks).encode()).hexdigest()[: len(marks[0])]


def fits(layer: Layer, image: ProjectImage) -> bool:
    """Whether the layer's data could be a channel of the image."""
    has_level = image.level < roles.level_count(layer)
    return has_level and roles.level_shape(layer, image.level) == image.shape


def selections(
    channels: Sequence[Layer], image: ProjectImage
) -> Iterator[Sequence[Layer]]:
    """Yield layers that may together be the image, the likeliest first."""
    names = [source.layer for source in image.sources]
    if len(names) == 1:
        for layer in sorted(channels, key=lambda one: one.name != names[0]):
            yield [layer]
        return
    by_name = {layer.name: layer for layer in channels}
    if len(set(names)) == len(names) and set(names) <= set(by_name):
        yield [by_name[name] for name in names]
    if len(channels) == len(names):
        yield channels


def _common_name(names: Sequence[str]) -> str:
    """Return the name of an image by those of its layers, which are its channels."""
    without = {_CHANNEL.sub("", name) for name in names}
    return without.pop() if len(names) > 1 and len(without) == 1 else names[0]


def _check_axes(layer: Layer, axes: str, shape: tuple[int, ...]) -> None:
    usual = roles.guess_axes(layer)
    allowed = set(AXES) >= set(axes) >= {"y", "x"} and len(set(axes)) == len(axes)
    if not allowed or len(axes) != len(shape):
        raise ValueError(
            f"{layer.name} has {len(shape)} axes: name each with one of t, c, z, y, x "
            f"(y and x are needed, for instance {usual!r}), found {axes!r}."
        )
    if layer.rgb and not axes.endswith("c"):
        raise ValueError(
            f"{layer.name} is coloured, its last axis is c ({usual!r}), found {axes!r}."
        )
    if not roles.in_order(axes):
        raise ValueError(
            f"{layer.name}: the order of axes is t, z, y, x, found {axes!r}."
        )
