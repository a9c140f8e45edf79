"""Where in a frame there is something to see.

A frame is looked at in small squares. Around each the means of the squares differ by
noise alone, or by structure: cells, membranes, tissue. What is found does not depend
on how much empty image there is, nor on where a large image is cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import binary_dilation, maximum_filter, minimum_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

SQUARE = 8
# A square is compared with two at this distance, in squares, on opposite sides.
_APART = (2, 4, 8)
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
# So far around it, structure stands for itself and its ground.
_AROUND = 4
_NEAR = (1, 2 * _AROUND + 1, 2 * _AROUND + 1)  # in a plane, in squares
# Structure differs by more than this many deviations of what noise does, ...
_NOISE = 7.0
# Median of the absolute difference, in deviations of noise in one square: measured.
_HALF = 0.52
# ... and by this share of what the clearest does.
_SHARE = 1 / 10
# A rim is this much further from the rest than the rest is wide, in nearly all squares.
_GAP, _FEW = 0.05, 0.01
# Straight edges have this many squares for each corner.
_STRAIGHT = 8
# Rows of squares that are computed with at a time.
_ROWS, _BAND = 8, 512


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """A channel in squares of `SQUARE` pixels a side, each array (z, rows, columns)."""

    # without the extremes of each column, so that hot pixels do not matter
    mean: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    noise: NDArray[np.float32]  # standard deviation as neighbours in a column have it

    @classmethod
    def empty(cls, shape: tuple[int, int, int]) -> Overview:
        """Make room for planes of the given shape in squares."""
        return cls(*(np.zeros(shape, np.float32) for _ in range(4)))

    def put(self, z: int, row: int, column: int, block: NDArray[Any]) -> None:
        """Fill in a block, shape (y, x), whose first pixel is that of a square."""
        columns = slice(column, column - (-block.shape[1] // SQUARE))
        # a few rows at a time stay in the processor's cache
        for start in range(0, block.shape[0], _ROWS * SQUARE):
            part = block[start : start + _ROWS * SQUARE].astype(np.float32)
            size = [(0, -n % SQUARE) for n in part.shape]
            if size != [(0, 0), (0, 0)]:
                part = np.pad(part, size, mode="edge")
            rows = part.reshape(-1, SQUARE, part.shape[1])
            high, low = rows.max(axis=1), rows.min(axis=1)
            trimmed = (rows.sum(axis=1) - high - low) / (SQUARE - 2)
            # neighbours differ by 2 / sqrt(pi) deviations on average
            steps = np.abs(rows[:, 1:] - rows[:, :-1]).mean(axis=1) * (np.pi**0.5 / 2)
            first = row + start // SQUARE
            at = z, slice(first, first + len(rows)), columns
            shape = len(rows), -1, SQUARE
            self.mean[at] = trimmed.reshape(shape).mean(axis=2)
            self.high[at] = high.reshape(shape).max(axis=2)
            self.low[at] = low.reshape(shape).min(axis=2)
            self.noise[at] = steps.reshape(shape).mean(axis=2)


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """Where there is something to see."""

    # Squares, (z, rows, columns), with structure in them or near them, all if none
    # have. An empty rim (of a mosaic, a padded or turned image) is left out.
    mask: NDArray[np.bool_]
    # by how much structure differs from its surroundings; 0 if there is none
    typical: float
    # value of an empty rim with straight edges, as mosaics and padding have
    empty: float | None


def find_structure(view: Overview) -> Structure:
    """Find where a channel has structure."""
    blank = _blank(view)
    near = binary_dilation(blank, np.ones((1, 3, 3), bool)) if blank.any() else blank
    field, empty = np.ones_like(blank), None
    if blank.any() and not near.all():
        contrast = _contrast(view.mean, ~near)
        if _is_rim(view, blank, near, contrast):
            field = ~near
            empty = float(view.low[blank][0]) if _is_straight(blank) else None
    if field.all():
        contrast = _contrast(view.mean, field)
    quiet = field & ~near
    quiet = quiet if quiet.any() else field
    # smooth noise shows in most squares, that under dense structure in the pixels
    noise = min(
        float(np.median(contrast[quiet])) / _HALF,
        3 / SQUARE * float(np.median(view.noise[quiet])),
    )
    strong = contrast[field & (contrast > _NOISE * noise)]
    if not strong.size:
        return Structure(field, 0.0, empty)
    strong.sort()
    most = strong[-1]
    # much that is faint does not hide little that is clear
    weight = np.cumsum((strong / most) ** 2, dtype=np.float64)
    clearest = strong[np.searchsorted(weight, weight[-1] / 2)]
    strong = strong[strong > _SHARE * clearest]
    found = contrast >= strong[0]
    # nor is one speck of debris typical among cells
    mask = field & maximum_filter(found & field, _NEAR).astype(bool)
    return Structure(mask, float(np.median(strong)), empty)


def _blank(view: Overview) -> NDArray[np.bool_]:
    """Return the squares that have one value throughout, that of most such squares."""
    flat: NDArray[np.bool_] = view.low == view.high
    if not flat.any():
        return flat
    values, counts = np.unique(view.low[flat], return_counts=True)
    blank: NDArray[np.bool_] = flat & (view.low == values[counts.argmax()])
    return blank


def _is_rim(
    view: Overview,
    blank: NDArray[np.bool_],
    near: NDArray[np.bool_],
    contrast: NDArray[np.float32],
) -> bool:
    """Whether blank squares are no part of what was imaged.

    They are not if the rest is wide, has noise or structure, and no values like theirs:
    the ground of an image whose dark values were cut off is its ground all the same.
    """
    rest = ~near
    whole = minimum_filter(rest, _NEAR)
    if 2 * np.count_nonzero(whole) < np.count_nonzero(rest):
        return False
    value, middle = view.low[blank][0], np.median(view.mean[rest])
    if not np.median(view.noise[whole]) > 0 and contrast[whole].max() < 0.01 * abs(
        middle - value
    ):
        return False
    nearest = view.low[rest] if value < middle else view.high[rest]
    alike = np.abs(nearest - value) < _GAP * abs(middle - value)
    return bool(value != middle and alike.mean() < _FEW)


def _is_straight(blank: NDArray[np.bool_]) -> bool:
    """Whether the edges run along rows and columns, with a corner now and then."""
    edges = sum(np.count_nonzero(np.diff(blank, axis=axis)) for axis in (1, 2))
    corners = np.count_nonzero(np.diff(np.diff(blank, axis=1), axis=2))
    return bool(edges >= _STRAIGHT * corners)


def _contrast(
    mean: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return by how much each square differs from those around it, whatever the side.

    That is 0 along a straight edge and where grey values change evenly.
    """
    contrast = np.zeros_like(mean)
    padding = [(_APART[-1], _APART[-1])] * 2
    for z in range(len(mean)):
        plane = np.pad(np.where(valid[z], mean[z], np.nan), padding, mode="reflect")
        for start in range(0, mean.shape[1], _BAND):
            band = z, slice(start, start + _BAND)
            contrast[band] = _differences(plane[start : start + _BAND + 2 * _APART[-1]])
    contrast[~valid] = 0
    return contrast


def _differences(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `_contrast` of a plane but for its margin; NaN is unknown."""
    margin = _APART[-1]
    height, width = (n - 2 * margin for n in plane.shape)

    def shifted(y: int, x: int) -> NDArray[np.float32]:
        return plane[margin + y :, margin + x :][:height, :width]

    centre, holes = shifted(0, 0), bool(np.isnan(plane).any())
    most = np.zeros((height, width), np.float32)
    for apart in _APART:
        least = np.full_like(most, np.inf)
        for y, x in _DIRECTIONS:
            one = shifted(y * apart, x * apart)
            other = shifted(-y * apart, -x * apart)
            if holes:
                # beside a rim there is but one side to compare with
                one = np.where(np.isnan(one) & ~np.isnan(other), centre, one)
                other = np.where(np.isnan(other), centre, other)
            # fmin leaves out a direction without either
            least = np.fmin(least, np.abs(centre - (one + other) / 2))
        least[np.isinf(least)] = 0
        most = np.maximum(most, least)
    return most
