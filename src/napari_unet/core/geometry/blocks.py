"""Blocks that cover a plane or volume, each with a margin of what lies around it.

What is computed from a block's window holds in its core: near the window's own edge the
pixels beyond are missing. The cores cover the field once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from napari_unet.core.geometry.boxes import Box, grown, within

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a field."""

    core: Box  # its own pixels
    window: Box  # these and a margin, as far as the field goes

    @property
    def inner(self) -> Box:
        """The core, counted from the first pixel of the window."""
        return within(self.core, self.window)

    def around(self, reach: int) -> Box:
        """Return the core and so many pixels on each side that the window has."""
        return grown(self.core, reach, self.window)


class Grid:
    """Blocks of one size, as `cut` gives them: which of them are where."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = blocks
        ndim = len(blocks[0].core)
        self._starts = [
            sorted({block.core[axis].start for block in blocks}) for axis in range(ndim)
        ]

    def touching(self, box: Box) -> list[int]:
        """Return the numbers of the blocks whose cores have pixels of a box."""
        rows = [
            range(bisect_right(starts, side.start) - 1, bisect_left(starts, side.stop))
            for starts, side in zip(self._starts, box, strict=True)
        ]
        numbers = []
        for place in product(*rows):
            number = 0
            for starts, index in zip(self._starts, place, strict=True):
                number = number * len(starts) + index
            numbers.append(number)
        return numbers

    @property
    def slabs(self) -> list[range]:
        """The numbers of the blocks that lie side by side, but for the first axis."""
        each = len(self.blocks) // len(self._starts[0])
        return [range(n, n + each) for n in range(0, len(self.blocks), each)]


def cut(
    shape: Sequence[int],
    sides: Sequence[int],
    margin: Sequence[int] | None = None,
    *,
    unit: int = 1,
) -> list[Block]:
    """Cut a field of a shape ([z,] y, x) into blocks of one size, in reading order.

    `sides` are the largest of a core along each axis, in pixels, multiples of `unit`;
    cores begin at multiples of `unit` along y and x. `margin` is what a window has
    around the core on each side, nothing unless given.
    """
    margins = margin or (0,) * len(shape)
    rows = []
    for axis, (n, side) in enumerate(zip(shape, sides, strict=True)):
        step = unit if axis >= len(shape) - 2 else 1
        # even parts: a last one of few pixels would cost a network its whole halo
        length = -(-n // -(-n // side))
        length = -(-length // step) * step
        rows.append([slice(a, min(a + length, n)) for a in range(0, n, length)])
    return [Block(core, grown(core, margins, shape)) for core in product(*rows)]
