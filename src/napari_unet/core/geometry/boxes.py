"""Boxes of pixels: a slice with start and stop for each axis of a plane or volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Box = tuple[slice, ...]


def shape_of(box: Box) -> tuple[int, ...]:
    """Return how many pixels a box has along each axis."""
    return tuple(b.stop - b.start for b in box)


def full_box(shape: Sequence[int]) -> Box:
    """Return the box of all pixels of a plane or volume."""
    return tuple(slice(0, n) for n in shape)


def grown(box: Box, margins: int | Sequence[int], limits: Sequence[int] | Box) -> Box:
    """Return a box with a margin on each side, as far as a shape or box goes."""
    if isinstance(margins, int):
        margins = (margins,) * len(box)
    bounds = [n if isinstance(n, slice) else slice(0, n) for n in limits]
    return tuple(
        slice(max(b.start - m, s.start), min(b.stop + m, s.stop))
        for b, m, s in zip(box, margins, bounds, strict=True)
    )


def union(*boxes: Box) -> Box:
    """Return the smallest box that holds all of some."""
    return tuple(
        slice(min(s.start for s in axis), max(s.stop for s in axis))
        for axis in zip(*boxes, strict=True)
    )


def holds(outer: Box, inner: Box) -> bool:
    """Whether all of a box is in another one."""
    return union(outer, inner) == outer


def common(first: Box, second: Box) -> Box:
    """Return the pixels that are in two boxes that have some in common."""
    return tuple(
        slice(max(a.start, b.start), min(a.stop, b.stop))
        for a, b in zip(first, second, strict=True)
    )


def within(box: Box, window: Box) -> Box:
    """Return a box counted from the first pixel of a window, cut off before that."""
    return tuple(
        slice(max(b.start - w.start, 0), max(b.stop - w.start, 0))
        for b, w in zip(box, window, strict=True)
    )


def around(mask: NDArray[np.bool_]) -> Box | None:
    """Return the smallest box that holds all that is true; None if nothing is."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        occupied = np.flatnonzero(mask.any(axis=others))
        if not occupied.size:
            return None
        box.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    return tuple(box)


def centre(box: Box) -> tuple[float, ...]:
    """Return the point in the middle of a box."""
    return tuple((part.start + part.stop) / 2 for part in box)


def square(middle: Sequence[float], side: int, shape: Sequence[int]) -> Box:
    """Return a box around a point, moved into the plane where it is over its edge."""
    sides = [min(side, n) for n in shape]
    starts = [
        min(max(round(c - n / 2), 0), whole - n)
        for c, n, whole in zip(middle, sides, shape, strict=True)
    ]
    return tuple(slice(a, a + n) for a, n in zip(starts, sides, strict=True))


def field_index(
    axes: str, t: int, z: int | None, box: Sequence[slice] | None = None
) -> tuple[int | slice, ...]:
    """Return where a box of a plane, or of a volume where z is None, is in an array.

    All channels are in it. `axes` has a letter for each axis of the array; t and z that
    it does not have are not used.
    """
    spatial = "yx" if z is not None else "zyx"
    wanted: dict[str, int | slice] = {"t": t}
    if z is not None:
        wanted["z"] = z
    if box is not None:
        wanted |= zip(spatial, box, strict=True)
    return tuple(wanted.get(axis, slice(None)) for axis in axes)


class _Sizes(dict[str, int]):
    def __missing__(self, axis: str) -> int:
        return 1


def axis_sizes(axes: str, shape: Sequence[int]) -> Mapping[str, int]:
    """Return the size along each named axis; 1 for one that the array does not have."""
    return _Sizes(zip(axes, shape, strict=True))
