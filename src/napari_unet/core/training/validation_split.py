"""Which part of few labels is held out to judge by: the one that costs the least."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.geometry.boxes import Box, full_box, grown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

# Sides of the parts that are tried, in pixels: from a few cells to a corner.
_SIDES = (24, 32, 48, 64, 96, 128, 192, 256)
# Positions tried along an axis for each side.
_POSITIONS = 24
# Largest share of all labels that may be given up, the margin included.
_LARGEST_LOSS = 1 / 3


def cheapest_part(
    labels: Sequence[NDArray[np.uint8]],
    classes: int,
    halo: Sequence[int],
    enough: int,
) -> tuple[int, Box] | None:
    """Find the box that knows enough of each class and costs the fewest labels.

    What is lost to learning is the box with a margin as wide as the network sees:
    `halo`, in pixels along each axis. `labels` are the class of each pixel of some
    fields ([z,] y, x); numbers from `classes` up say nothing. `enough` pixels of each
    class are needed in the box, and outside the margin. Returned are the number of the
    field and the box in it, all slices of a volume; None if there is no such box.
    """
    sums = [_integral(field, classes) for field in labels]
    known = sum((s[:, -1, -1] for s in sums), np.zeros(classes, np.int64))
    asked = known > 0
    best: tuple[int, int, Box] | None = None
    for number, total in enumerate(sums):
        size = (total.shape[1] - 1, total.shape[2] - 1)
        for box in _candidates(total, size):
            inside = _count(total, box)
            lost = _count(total, grown(box, halo[-2:], size))
            fits = (
                (inside[asked] >= enough).all()
                and (known - lost)[asked].min() >= enough
                and lost.sum() <= _LARGEST_LOSS * known.sum()
            )
            if fits and (best is None or lost.sum() < best[0]):
                depth = full_box(labels[number].shape[:-2])
                best = int(lost.sum()), number, (*depth, *box)
    return None if best is None else best[1:]


def _integral(field: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Sums of the pixels of each class above and left of every corner."""
    flat = field.reshape(-1, *field.shape[-2:])
    sums = np.zeros((classes, flat.shape[1] + 1, flat.shape[2] + 1), np.int64)
    for k in range(classes):
        count = (flat == k).sum(axis=0)
        sums[k, 1:, 1:] = count.cumsum(axis=0).cumsum(axis=1)
    return sums


def _candidates(total: NDArray[np.int64], size: tuple[int, int]) -> Iterator[Box]:
    """Squares of several sides spread over the annotated part."""
    spans = []
    for axis in (1, 2):
        line = total.sum(axis=0)[:, -1] if axis == 1 else total.sum(axis=0)[-1]
        there = np.flatnonzero(np.diff(line))
        if not len(there):
            return
        spans.append((int(there[0]), int(there[-1]) + 1))
    for side in _SIDES:
        starts = []
        for (first, last), n in zip(spans, size, strict=True):
            highest = max(min(last, n) - side, first)
            starts.append(
                np.unique(np.linspace(first, highest, _POSITIONS).astype(int))
            )
        for y, x in product(*starts):
            box = (slice(int(y), int(y) + side), slice(int(x), int(x) + side))
            if all(b.stop <= n for b, n in zip(box, size, strict=True)):
                yield box


def _count(total: NDArray[np.int64], box: Box) -> NDArray[np.int64]:
    """Pixels of each class in a box."""
    y, x = box
    counts: NDArray[np.int64] = (
        total[:, y.stop, x.stop]
        - total[:, y.start, x.stop]
        - total[:, y.stop, x.start]
        + total[:, y.start, x.start]
    )
    return counts
