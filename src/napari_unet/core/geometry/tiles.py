"""Overlap-tile geometry: which windows to read, and where their outputs go.

A U-Net commutes only with shifts by multiples of its step. The result is independent of
the tile size exactly if all windows start at one residue modulo the step, counted from
the image's origin, and if each window is cut from one mirrored extension of the whole
image. Both are guaranteed here: targets start at multiples of the step, and windows are
read through `read_window`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.geometry.boxes import Box, full_box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.core.images.image import Field
    from napari_unet.core.images.rescaling import Rescaled


@dataclass(frozen=True, slots=True)
class Tile:
    """One run of the network.

    ::

        window (read, mirrored beyond the image)
        ┌───────────────────────┐
        │ halo                  │
        │    ┌── output ─────┐  │
        │    │ target  ┊ not │  │    target: what is kept and written, clipped to the
        │    │┈┈┈┈┈┈┈┈┈┘     │  │    image or region asked for. It starts where the
        │    │          used │  │    output starts unless a region begins in between.
        │    └───────────────┘  │
        └───────────────────────┘
    """

    # first pixel of the window; negative beyond the image's edge
    start: tuple[int, ...]
    size: tuple[int, ...]  # of the window
    target: Box  # pixels of the image that this tile decides
    inner: Box  # the same pixels within the network's output


def plan(
    shape: Sequence[int],
    output: Sequence[int],
    *,
    step: Sequence[int],
    halo: Sequence[int],
    region: Box | None = None,
    focus: Sequence[float] | None = None,
) -> list[Tile]:
    """Cut a field, or a region of it, into tiles whose targets cover each pixel once.

    `shape` is that of the whole field in pixels, ([z,] y, x); `output` the size of the
    network's output for one tile, at least its `step`. Tiles are in raster order, or
    those nearest to the point `focus`, in pixels, come first. A ValueError says that
    the output is smaller than the step, or the region is not in the field.
    """
    if any(o < s for o, s in zip(output, step, strict=True)):
        raise ValueError(
            f"a tile's output must be at least the network's step "
            f"{tuple(step)}, found {tuple(output)}."
        )
    region = region if region is not None else full_box(shape)
    if not all(0 <= b.start < b.stop <= n for b, n in zip(region, shape, strict=True)):
        found = ", ".join(f"{b.start}:{b.stop}" for b in region)
        raise ValueError(
            f"the region [{found}] is not inside the image of size {tuple(shape)}."
        )
    rows = [_cut(*axis) for axis in zip(region, output, step, strict=True)]
    tiles = [
        Tile(
            start=tuple(o - h for (o, _), h in zip(cuts, halo, strict=True)),
            size=tuple(o + 2 * h for o, h in zip(output, halo, strict=True)),
            target=tuple(target for _, target in cuts),
            inner=tuple(slice(t.start - o, t.stop - o) for o, t in cuts),
        )
        for cuts in product(*rows)
    ]
    if focus is not None:
        tiles.sort(key=lambda tile: _distance(tile.target, focus))
    return tiles


def read_window(
    field: Field | Rescaled, start: Sequence[int], size: Sequence[int]
) -> NDArray[Any]:
    """Read a window of a field's mirrored extension: an array (channels, *size).

    The extension mirrors about the edge pixel without repeating it, folds again where
    the image is smaller than the window, and is constant along an axis of one pixel.
    Only the pixels that appear in the window are read. `start` may be negative.
    """
    indices = [
        mirrored(a, n, length)
        for a, n, length in zip(start, size, field.shape, strict=True)
    ]
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in indices)
    block = field.read(box)
    for axis, (index, part) in enumerate(zip(indices, box, strict=True), start=1):
        if index[0] != part.start or not np.all(np.diff(index) == 1):
            block = np.take(block, index - part.start, axis=axis)
    return block


def mirrored(start: int, size: int, length: int) -> NDArray[np.intp]:
    """Return the pixel of an axis of `length` that each pixel of a window shows."""
    period = max(2 * (length - 1), 1)
    index = np.arange(start, start + size) % period
    return np.minimum(index, period - index) if length > 1 else index * 0


def _cut(box: slice, output: int, step: int) -> list[tuple[int, slice]]:
    """Cut one axis: (origin of the output, target) of each tile."""
    stride = output // step * step
    first = box.start // step * step
    return [
        (origin, slice(max(origin, box.start), min(origin + stride, box.stop)))
        for origin in range(first, box.stop, stride)
    ]


def _distance(box: Box, focus: Sequence[float]) -> float:
    """Squared distance from a point to the nearest pixel of a box."""
    return sum(
        float(max(b.start - f, 0.0, f - (b.stop - 1))) ** 2
        for b, f in zip(box, focus, strict=True)
    )
