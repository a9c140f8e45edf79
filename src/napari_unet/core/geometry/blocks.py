"""Blocks that cover a plane or volume, each with a margin of what lies around it.

What is computed from a block's window holds in its core: near the window's own edge the
pixels beyond are missing. The cores cover the field once.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.core.geometry.tiles import Box


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a field.

    Attributes
    ----------
    core : tuple of slice
        Its own pixels.
    window : tuple of slice
        These and a margin, as far as the field goes.
    """

    core: Box
    window: Box

    @property
    def inner(self) -> Box:
        """The core's place within the window."""
        return within(self.core, self.window)

    def around(self, reach: int) -> Box:
        """Return the core and so many pixels on each side that the window has."""
        return tuple(
            slice(max(c.start - reach, w.start), min(c.stop + reach, w.stop))
            for c, w in zip(self.core, self.window, strict=True)
        )


def cut(
    shape: Sequence[int],
    sides: Sequence[int],
    margin: Sequence[int] | None = None,
    *,
    unit: int = 1,
) -> list[Block]:
    """Cut a field into blocks of about one size, in reading order.

    Parameters
    ----------
    shape : sequence of int
        Of the field, ([z,] y, x).
    sides : sequence of int
        Largest core along each axis, in pixels; multiples of `unit`.
    margin : sequence of int, optional
        What a window has around the core on each side; nothing unless given.
    unit : int
        Cores begin at multiples of it along y and x.

    Returns
    -------
    list of Block
    """
    margins = margin or (0,) * len(shape)
    rows = []
    for axis, (n, side) in enumerate(zip(shape, sides, strict=True)):
        step = unit if axis >= len(shape) - 2 else 1
        # even parts: a last one of few pixels would cost a network its whole halo
        length = -(-n // -(-n // side))
        length = -(-length // step) * step
        rows.append([slice(a, min(a + length, n)) for a in range(0, n, length)])
    return [
        Block(
            core,
            tuple(
                slice(max(c.start - m, 0), min(c.stop + m, n))
                for c, m, n in zip(core, margins, shape, strict=True)
            ),
        )
        for core in product(*rows)
    ]


def within(box: Box, window: Box) -> Box:
    """Return a box counted from the first pixel of a window."""
    return tuple(
        slice(b.start - w.start, b.stop - w.start)
        for b, w in zip(box, window, strict=True)
    )
