"""How much the network computes for a tile, and which tile takes how long."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from napari_unet.core.network.tile_size import LARGEST, even_output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.core.network.architecture import Architecture


def tile_flops(architecture: Architecture, output: Sequence[int]) -> float:
    """Count the multiplications of the convolutions for a tile's output, in pixels."""
    work = 0.0
    for level, size, width in architecture.contracting(output):
        for wide in level.down:
            size = level.convolved(size)
            work += prod(size) * prod(level.kernel) * width * wide
            width = wide
    for level in reversed(architecture.levels[:-1]):
        size = tuple(n * p for n, p in zip(size, level.pool, strict=True))
        # stride and kernel of an up-convolution are equal: each output has one term
        work += prod(size) * width * level.up_conv
        width = level.up_conv + level.down[1]
        for wide in level.up:
            size = level.convolved(size)
            work += prod(size) * prod(level.kernel) * width * wide
            width = wide
    return work + prod(size) * width * architecture.classes


def output_for_flops(
    architecture: Architecture, shape: Sequence[int], work: float, waste: float
) -> tuple[int, ...]:
    """Choose the largest output of a tile that takes no more than some work.

    `shape` is that of the field or region in pixels, which the output cuts into even
    parts; `work` is as `tile_flops` counts. A tile may read at most `waste` times its
    output's pixels: the output is no smaller than that, whatever the work, or the halo
    would take all the time.
    """
    best = even_output(architecture, shape, LARGEST[architecture.ndim])
    limit = LARGEST[architecture.ndim]
    while tile_flops(architecture, best) > work:
        limit -= max(limit // 8, 1)
        if limit < max(architecture.step):
            break
        smaller = even_output(architecture, shape, limit)
        if prod(architecture.input_size(smaller)) > waste * prod(smaller):
            break
        best = smaller
    return best
