"""Labels drawn as outlines, quickly enough for large planes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from napari_unet.core.geometry.boxes import grown, shape_of, within

if TYPE_CHECKING:
    from napari.layers import Labels
    from numpy.typing import NDArray

# The function of napari that computes the outlines of a part of a plane. For 2048 x
# 2048 pixels of 32 bits napari's takes the GUI thread half a second, ours some
# hundredths.
_NAPARIS = "_calculate_contour"
# Of the shorter side of an image one pixel of an outline: seen when all of it is.
_SHARE = 700
# Rows computed at a time, which stay near the processor: for 32 bits that takes half
# as long as all at once.
_ROWS = 128


def draw_outlines(layer: Labels) -> None:
    """Show a Labels layer as outlines; users may turn them off or make them wider."""
    if hasattr(layer, _NAPARIS):
        weak = ref(layer)

        def quick(labels: NDArray[Any], part: tuple[slice, ...]) -> Any:
            known = weak()
            width = known.contour if known is not None else 0
            # in 3-D there are none
            return part_outlined(labels, part, width) if labels.ndim == 2 else None

        layer.__dict__[_NAPARIS] = quick
    layer.contour = -(-min(layer.data.shape[-2:]) // _SHARE)


def part_outlined(
    labels: NDArray[Any], part: tuple[slice, ...], width: int
) -> NDArray[Any] | None:
    """Return the outlines of a part of a plane, as in the whole plane.

    Pixels with another label within `width` pixels keep theirs, others are 0. None for
    a width of 0.
    """
    if width < 1:
        return None
    rows, columns = part
    outlines = np.empty(shape_of(part), labels.dtype)
    for start in range(rows.start, rows.stop, _ROWS):
        band = slice(start, min(start + _ROWS, rows.stop))
        at = slice(start - rows.start, band.stop - rows.start)
        outlines[at] = _band_outlined(labels, (band, columns), width)
    return outlines


def _band_outlined(
    labels: NDArray[Any], part: tuple[slice, ...], width: int
) -> NDArray[Any]:
    wide = grown(part, width, labels.shape)
    seen = labels[wide]
    edge = np.zeros(seen.shape, bool)
    for axis in (0, 1):
        lines, edges = np.moveaxis(seen, axis, 0), np.moveaxis(edge, axis, 0)
        differs = lines[1:] != lines[:-1]
        edges[1:] |= differs
        edges[:-1] |= differs
    for _ in range(width - 1):
        narrow = edge.copy()
        for axis in (0, 1):
            edges, lines = np.moveaxis(edge, axis, 0), np.moveaxis(narrow, axis, 0)
            edges[1:] |= lines[:-1]
            edges[:-1] |= lines[1:]
    inner = within(part, wide)
    outlines: NDArray[Any] = seen[inner] * edge[inner]
    return outlines
