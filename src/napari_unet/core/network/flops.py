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
    size = architecture.input_size(tuple(output))
    width, work = architecture.channels, 0.0
    for level in architecture.levels:
        for wide in level.down:
            size = tuple(n - k + 1 for n, k in zip(size, level.kernel, strict=True))
            work += prod(size) * prod(level.kernel) * width * wide
            width = wide
        size = tuple(n // p for n, p in zip(size, level.pool, strict=True))
    for level in reversed(architecture.levels[:-1]):
        size = tuple(n * p for n, p in zip(size, level.pool, strict=True))
        # stride and kernel of an up-convolution are equal: each output has one term
        work += prod(size) * width * level.up_conv
        width = level.up_conv + level.down[1]
        for wide in level.up:
            size = tuple(n - k + 1 for n, k in zip(size, level.kernel, strict=True))
            work += prod(size) * prod(level.kernel) * width * wide
            width = wide
    return work + prod(size) * width * architecture.classes


def output_for_flops(
    architecture: Architecture, shape: Sequence[int], work: float, waste: float
) -> tuple[int, ...]:
    """Choose the largest output of a tile that takes no more than some work.

    Parameters
    ----------
    shape : sequence of int
        Size of the field or region in pixels; the output cuts it into even parts.
    work : float
        As `tile_flops` counts.
    waste : float
        How many times its output's pixels a tile may read. The output is no smaller
        than that, whatever the work: the halo would take all the time.
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
