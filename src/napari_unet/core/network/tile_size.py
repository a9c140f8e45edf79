"""How large a tile may be: memory of one run of the network, and even cuts."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.core.network.architecture import Architecture

# Beyond this many output pixels a larger tile saves little halo and costs the cache.
LARGEST = {2: 1024, 3: 128}


def peak_values(architecture: Architecture, output: Sequence[int]) -> int:
    """Estimate how many numbers are alive at once while a tile is computed.

    They are values of the feature maps; times the bytes of one value it is the memory.
    `output` is the tile's, in pixels.
    """
    alive, peak = 0, 0
    for level, size, width in architecture.contracting(output):
        pixels = prod(size)
        peak = max(peak, alive + pixels * (width + sum(level.down)))
        if level.up:
            # the expanding path: skip, up-convolved map, both joined, two convolutions
            join = level.up_conv + level.down[1]
            peak = max(peak, alive + pixels * (2 * join + sum(level.up)))
            alive += pixels * level.down[1]
    return peak


def kept_values(architecture: Architecture, output: Sequence[int]) -> int:
    """Return a number of values that one step of training keeps at the least.

    They are those of the contracting path, where the input of each convolution has to
    wait for the gradient; the expanding path comes on top. `output` is a patch's, in
    pixels.
    """
    kept = 0
    for level, size, width in architecture.contracting(output):
        kept += prod(size) * width + prod(level.convolved(size)) * level.down[0]
    return kept


def choose_output(
    architecture: Architecture, shape: Sequence[int], values: float
) -> tuple[int, ...]:
    """Choose the output of the tiles for a field or region of this shape, in pixels.

    The largest whose `peak_values` fit into a memory of so many values, up to where
    larger no longer pays, and cut so that the last tile of a row is not mostly outside
    the field. At least the network's step, also where that does not fit.
    """
    limit = LARGEST[architecture.ndim]
    while True:
        output = even_output(architecture, shape, limit)
        if (
            limit <= max(architecture.step)
            or peak_values(architecture, output) <= values
        ):
            return output
        limit //= 2


def halve_output(
    architecture: Architecture, output: Sequence[int]
) -> tuple[int, ...] | None:
    """Return a valid output of about half the size; None at the smallest."""
    smaller = output_with_stride(
        architecture,
        [
            max(o // s // 2, 1) * s
            for o, s in zip(output, architecture.step, strict=True)
        ],
    )
    return smaller if prod(smaller) < prod(output) else None


def output_with_stride(
    architecture: Architecture, stride: Sequence[int]
) -> tuple[int, ...]:
    """Return the smallest output that advances by at least `stride` pixels a tile."""
    whole = tuple(
        -(-n // s) * s for n, s in zip(stride, architecture.step, strict=True)
    )
    return architecture.output_covering(whole)


def even_output(
    architecture: Architecture, shape: Sequence[int], limit: int
) -> tuple[int, ...]:
    """Return the output of about `limit` pixels that cuts a field into even parts."""
    strides = []
    for n, s in zip(shape, architecture.step, strict=True):
        count = -(-n // max(limit // s * s, s))
        strides.append(-(-n // count))
    return output_with_stride(architecture, strides)
