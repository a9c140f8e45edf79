"""How large a tile may be: by memory, by time, and in even cuts."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.core.network.geometry import Geometry

# Beyond this many output pixels a larger tile saves little halo and costs the cache.
_LARGEST = {2: 1024, 3: 128}
# Of fewer steps the halo would be most of a tile.
_FEWEST_STEPS = 8


def choose_output(
    geometry: Geometry, shape: Sequence[int], values: float
) -> tuple[int, ...]:
    """Choose the output of the tiles for a field or region of this shape, in pixels.

    The largest whose `peak_values` fit into a memory of so many values, up to where
    larger no longer pays, and cut so that the last tile of a row is not mostly outside
    the field. At least the network's step, also where that does not fit.
    """
    limit = _largest(geometry)
    while True:
        output = even_output(geometry, shape, limit)
        if limit <= max(geometry.step) or geometry.peak_values(output) <= values:
            return output
        limit //= 2


def halve_output(geometry: Geometry, output: Sequence[int]) -> tuple[int, ...] | None:
    """Return a valid output of about half the size; None at the smallest."""
    smaller = output_with_stride(
        geometry,
        [max(o // s // 2, 1) * s for o, s in zip(output, geometry.step, strict=True)],
    )
    return smaller if prod(smaller) < prod(output) else None


def output_with_stride(geometry: Geometry, stride: Sequence[int]) -> tuple[int, ...]:
    """Return the smallest output that advances by at least `stride` pixels a tile."""
    whole = tuple(-(-n // s) * s for n, s in zip(stride, geometry.step, strict=True))
    return geometry.output_covering(whole)


def even_output(
    geometry: Geometry, shape: Sequence[int], limit: int
) -> tuple[int, ...]:
    """Return the output of about `limit` pixels that cuts a field into even parts."""
    strides = []
    for n, s in zip(shape, geometry.step, strict=True):
        count = -(-n // max(limit // s * s, s))
        strides.append(-(-n // count))
    return output_with_stride(geometry, strides)


def output_for_flops(
    geometry: Geometry, shape: Sequence[int], work: float, waste: float
) -> tuple[int, ...]:
    """Choose the largest output of a tile that takes no more than some work.

    `shape` is that of the field or region in pixels, which the output cuts into even
    parts; `work` is as `Geometry.flops` counts. A tile may read at most `waste` times
    its output's pixels: the output is no smaller than that, whatever the work, or the
    halo would take all the time.
    """
    limit = _largest(geometry)
    best = even_output(geometry, shape, limit)
    while geometry.flops(best) > work:
        limit -= max(limit // 8, 1)
        if limit < max(geometry.step):
            break
        smaller = even_output(geometry, shape, limit)
        if prod(geometry.input_size(smaller)) > waste * prod(smaller):
            break
        best = smaller
    return best


def _largest(geometry: Geometry) -> int:
    return max(_LARGEST[geometry.ndim], _FEWEST_STEPS * max(geometry.step))
