"""What the values of masks mean: guessed from the masks, all of them together.

One frame is not enough: one with a single cell looks like a mask of two values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_unet.core.annotation.annotations import BACKGROUND, MAX_CLASSES
from napari_unet.core.cells.label_ids import distinct

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import Kind

MEANINGS: dict[Kind, str] = {
    "instances": "each value is a cell, 0 is background",
    "binary": "each connected area is a cell, 0 is background",
    "semantic": "each value is a class, 0 is background",
    "annotation": "0 is not annotated, 1 background, 2 and up cells",
    "sparse": "0 is not annotated, 1 background, 2 and up classes",
}

# Cells may be in pieces, but values with as many as this are more likely classes.
_AREAS = 2
# A mask of 1 alone, beside masks with ids, is one cell unless it has as many pieces.
_ONE_CELL = 4
# With more values than this, background is no longer the only one that may be large.
_FEW = 3
# Share of the pixels at edges that lie on a slope, from which values are grey levels:
# labels make 0.03 at most (cells of 13 pixels, without gaps), blurred edges 0.1 to 0.7.
_SLOPE, _SLOPE_PIXELS = 0.06, 16
# Grey levels are as many or more; a class of borders lies between two others by right.
_LEVELS, _CLASS_LEVELS = 3, 8


class UnclearLabelsError(ValueError):
    """The values of masks can be read in several ways: the user has to say."""


def guess(masks: Iterable[NDArray[np.integer]]) -> Literal["binary", "instances"]:
    """Guess from the values of masks ([z,] y, x), of one kind, what they mean.

    "binary" if there is at most one value above 0, or if each mask has 1 or the highest
    value of its type. Raises UnclearLabelsError if they may be classes or an
    annotation.
    """
    seen = _Counts()
    for mask in masks:
        # planes of a movie and of a stack mean the same
        for plane in mask.reshape(-1, *mask.shape[-2:]):
            seen.add(plane)
    if len(seen.values) <= 1 or seen.only_masks:
        return "binary"
    painted = seen.marked == seen.pixels
    # An annotation's 1 is background: most of what is marked, or all around the cells.
    ones_most = 2 * seen.ones > seen.beside_others
    ones_around = seen.beside_ones > seen.beside_zeros
    # Ids of the masks add up: cells of two frames that have one id are two areas.
    many = seen.areas >= _AREAS * seen.ids and len(seen.values) <= MAX_CLASSES
    if painted or ones_most or ones_around or many:
        raise UnclearLabelsError(
            f"{len(seen.values)} values in {seen.areas} connected areas may be cells "
            "or classes: say which with --labels instances, semantic, annotation or "
            "sparse."
        )
    return "instances"


def check_ids(masks: Sequence[NDArray[np.integer]]) -> None:
    """Refuse a mask of two values, those of one file, that is among masks with ids.

    Raises UnclearLabelsError if the only value is 1 or the highest of its type, in
    several areas.
    """
    values = {int(v) for mask in masks for v in distinct(mask) if v > 0}
    highest = {_highest(mask) for mask in masks}
    if len(values) != 1 or not values <= {1, *highest}:
        return
    (value,) = values
    most = max(_areas(mask) for mask in masks)
    # the one cell of a movie's first frame may be in pieces, one of 255 is not met
    if most >= (_ONE_CELL if value == 1 else _AREAS):
        raise UnclearLabelsError(
            f"its only value above 0 is {value}, in {most} areas, while other masks "
            "have ids of cells: save them alike, or say which with --labels instances "
            "or binary."
        )


def check_no_grey_levels(mask: NDArray[np.integer], kind: Kind | None = None) -> None:
    """Refuse, with a ValueError, masks that were interpolated or compressed as JPEG.

    At the edges of labels a value changes at once; where the edges are slopes of values
    between those on both sides, values are grey levels and mean nothing. Classes may
    well lie between two others: of "semantic" and "sparse" up to seven are never
    refused.
    """
    levels = int(np.count_nonzero(distinct(mask)))
    if levels < (_CLASS_LEVELS if kind in ("semantic", "sparse") else _LEVELS):
        return
    # background around the cells of an annotation is a step, not a slope
    values = np.where(mask == BACKGROUND, mask.dtype.type(0), mask)
    slope = edge = 0
    # never along z, where cells may well be one slice thick
    for axis in (-2, -1):
        lines = np.moveaxis(values, axis, -1)
        before, here, after = lines[..., :-2], lines[..., 1:-1], lines[..., 2:]
        up = (before < here) & (here < after)
        down = (before > here) & (here > after)
        steps = (here > 0) & ((before != here) | (here != after))
        slope += int(np.count_nonzero(up | down))
        edge += int(np.count_nonzero(steps))
    if slope >= max(_SLOPE * edge, _SLOPE_PIXELS):
        raise ValueError(
            f"{levels} values above 0 run into each other like grey levels: labels "
            "have sharp edges, and lose them where a mask is resized with "
            "interpolation or saved as JPEG (or is this the image?); save the mask "
            "again, resized without interpolation."
        )


@dataclass(slots=True)
class _Counts:
    """Counts over all planes."""

    values: set[int] = field(default_factory=set)  # above 0, of all
    only_masks: bool = True  # each has 1 or the highest value of its type, no other
    pixels: int = 0  # of planes with any value above 0
    marked: int = 0  # pixels above 0
    ones: int = 0  # pixels of 1 where there are more than a few values ...
    beside_others: int = 0  # ... and pixels above 0 there
    ids: int = 0  # values of each plane added up
    areas: int = 0  # connected areas of one value
    beside_ones: int = 0  # edges of pixels above 1 that border on 1 ...
    beside_zeros: int = 0  # ... and on 0

    def add(self, mask: NDArray[np.integer]) -> None:
        """Count a plane; one without any value says nothing."""
        found = distinct(mask)
        ids = found[found > 0].tolist()
        if not ids:
            return
        self.values.update(ids)
        self.only_masks &= len(ids) == 1 and ids[0] in (1, _highest(mask))
        self.pixels += mask.size
        marked = int(np.count_nonzero(mask))
        self.marked += marked
        if len(ids) > _FEW:
            self.ones += int(np.count_nonzero(mask == 1))
            self.beside_others += marked
        self.ids += len(ids)
        self.areas += _areas(mask)
        if ids[0] != 1:
            return
        for a, b in ((mask[:-1], mask[1:]), (mask[:, :-1], mask[:, 1:])):
            low, high = np.minimum(a, b), np.maximum(a, b)
            self.beside_ones += int(np.count_nonzero((low == 1) & (high > 1)))
            self.beside_zeros += int(np.count_nonzero((low == 0) & (high > 1)))


def _highest(mask: NDArray[np.integer]) -> int:
    return int(np.iinfo(mask.dtype).max)


def _areas(mask: NDArray[np.integer]) -> int:
    """Count the connected areas of one value each."""
    from skimage.measure import label  # slow to import

    return int(label(mask, background=0, return_num=True)[1])
