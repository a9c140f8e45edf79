"""The class of each pixel, with borders that may follow edges in the image.

Where the network is not sure, borders of regions lie some pixels beside the edge that
people see. A guided filter (He, Sun and Tang: Guided Image Filtering, ECCV 2010) makes
each probability a linear function of the grey values around: it is smooth where these
are, and jumps where they jump. Here an edge is one compared with the variance nearby,
not in the whole image, so that a part of an image gives the same bits as the whole, and
brightness and contrast do not matter.

It closes thin gaps between cells, so it is only for models of regions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.cells.instances import most_probable
from napari_unet.core.cells.pieces import region_classes, tidy
from napari_unet.core.geometry.blocks import cut
from napari_unet.core.images.smoothing import box_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import ClassInfo
    from napari_unet.core.geometry.blocks import Block
    from napari_unet.core.images.image import Field, Image
    from napari_unet.core.settings import Segmentation

# Edges are where the variance is well above this share of the mean one nearby.
_SOFT = 0.25
# Means are taken three times, so a pixel depends on those up to three reaches away.
_ROUNDS = 3
# Largest box that is decided at a time.
_PLANE, _VOLUME = (1024, 2048), (32, 512, 512)


def check_segmentation(settings: Segmentation, classes: Sequence[ClassInfo]) -> None:
    """Refuse settings that cannot be used with some classes, or here.

    A ValueError says that borders of cells would follow edges, a ModuleNotFoundError
    that a package is missing.
    """
    cells = [c.name for c in classes if c.kind == "cells"]
    if cells and settings.edge_smoothing:
        raise ValueError(
            "borders follow edges in the image (edge_smoothing) for models of regions "
            "alone, as gaps between cells would close; this one has the class "
            f"{cells[0]} of cells."
        )
    if cells:
        settings.check_installed()


def class_map(
    probabilities: Image,
    image: Image,
    ndim: int,
    settings: Segmentation,
    cell_classes: Sequence[int],
) -> NDArray[np.uint8]:
    """Return the class of each pixel of a whole prediction.

    The axes are t, z, y, x as far as `probabilities` has them; its channels are the
    classes, background first. `ndim` is 2 or 3, the spatial axes of the network. The
    settings are for the pixels of the image.
    """
    classes = np.zeros([probabilities.size(a) for a in "tzyx"], np.uint8)
    rows = zip(probabilities.fields(ndim), image.fields(ndim), strict=True)
    for field, shown in rows:
        at = field.t, slice(None) if field.z is None else field.z
        classes[at] = field_classes(field, shown, settings, cell_classes)
    shape = [probabilities.size(a) for a in probabilities.label_axes]
    return classes.reshape(shape)


def field_classes(
    probabilities: Field,
    image: Field,
    settings: Segmentation,
    cell_classes: Sequence[int],
) -> NDArray[np.uint8]:
    """Return the class of each pixel of a plane or volume, unwanted pieces removed.

    Besides the result only a block of it is in memory, if all pieces stay.
    """
    classes = np.empty(probabilities.shape, np.uint8)
    reach = edge_reach(settings, probabilities.image.field_spacing(classes.ndim))
    for block in blocks(classes.shape, reach):
        classes[block.core] = decide(probabilities, image, block, reach)
    regions = region_classes(probabilities.image.channels, cell_classes)
    if settings.keeps_all_pieces or not regions:
        return classes
    return tidy(classes, settings, regions)


def edge_reach(settings: Segmentation, spacing: Sequence[float]) -> tuple[int, ...]:
    """Return from how far edges move borders, in pixels along each axis; 0: never."""
    return tuple(round(settings.edge_smoothing / step) for step in spacing)


def blocks(shape: Sequence[int], reach: Sequence[int], unit: int = 1) -> list[Block]:
    """Divide a field into boxes, each with the window that its classes depend on."""
    margin = [_ROUNDS * r for r in reach]
    return cut(shape, _PLANE if len(shape) == 2 else _VOLUME, margin, unit=unit)


def decide(
    probabilities: Field, image: Field, block: Block, reach: Sequence[int]
) -> NDArray[np.uint8]:
    """Return the most probable class of each pixel of a block's core."""
    if not any(reach):
        return most_probable(probabilities.read(block.core))
    window = probabilities.read(block.window), image.read(block.window)
    return most_probable(follow_edges(*window, reach)[(slice(None), *block.inner)])


def follow_edges(
    probabilities: NDArray[np.floating], image: NDArray[Any], reach: Sequence[int]
) -> NDArray[np.float32]:
    """Smooth probabilities along the edges of an image.

    Parameters
    ----------
    probabilities : ndarray of float, shape (classes, [z,] y, x), in [0, 1]
    image : ndarray, shape (channels, [z,] y, x)
        Any grey values; the results of the channels are averaged.
    reach : sequence of int
        Half the width of the boxes along [z,] y, x. A pixel depends on those up to
        three times as far; beyond the edge they are mirrored.

    Returns
    -------
    ndarray of float32, shape of `probabilities`
        Their sum over the classes is as it was.
    """
    smoothed = np.zeros(probabilities.shape)
    for channel in image:
        grey = channel.astype(np.float64)
        mean = box_mean(grey, reach)
        variance = np.maximum(box_mean(grey * grey, reach) - mean * mean, 0)
        # without variance nearby there is no edge, and the division would be by zero
        spread = np.maximum(variance + _SOFT * box_mean(variance, reach), 1e-30)
        for number, values in enumerate(probabilities):
            own = values.astype(np.float64)
            usual = box_mean(own, reach)
            slope = (box_mean(grey * own, reach) - mean * usual) / spread
            offset = box_mean(usual - slope * mean, reach)
            smoothed[number] += box_mean(slope, reach) * grey + offset
    return (smoothed / len(image)).astype(np.float32)
