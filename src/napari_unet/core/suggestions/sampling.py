"""A sample of frames and tiles, so that the time for suggestions is bounded."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.image import Image

SIDE = 128
"""Pixels along each side of a tile, or as many as the image has."""

# Most frames (whose grey values are measured) and tiles.
_FRAMES, _TILES = 100, 400


@dataclass(frozen=True, slots=True)
class TilePlace:
    """Where a tile is."""

    image: int  # number of the image
    t: int
    z: int
    box: Box  # in y and x


def sample_frames(times: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Choose evenly spaced time points of each image, at most 100 in all.

    `times` is how many each image has. Of more than 100 images some get none.
    """
    return tuple(
        tuple(_spread(n, quota))
        for n, quota in zip(times, _quotas(times, _FRAMES), strict=True)
    )


def sample_tiles(
    images: Sequence[Image], frames: Sequence[Sequence[int]]
) -> list[TilePlace]:
    """Choose tiles from the time points of images, at most 400 in all.

    Planes are cut into tiles that hardly overlap. Of too many tiles a stratified random
    sample over times, slices and planes is drawn.
    """
    rng = np.random.default_rng(0)  # the same tiles each time
    cuts = [_cuts(image) for image in images]
    shapes = [
        (len(times), image.size("z"), len(rows), len(columns))
        for image, times, (rows, columns) in zip(images, frames, cuts, strict=True)
    ]
    counts = [prod(shape) for shape in shapes]
    places = []
    for number, quota in enumerate(_quotas(counts, _TILES)):
        if not quota:
            continue
        # one from each of `quota` equal strata
        within = np.arange(quota) + rng.random(quota)
        chosen = np.unique((within * (counts[number] / quota)).astype(np.int64))
        rows, columns = cuts[number]
        for t, z, y, x in zip(*np.unravel_index(chosen, shapes[number]), strict=True):
            box = rows[y], columns[x]
            places.append(TilePlace(number, frames[number][t], int(z), box))
    return places


def boxes_of_plane(image: Image) -> list[Box]:
    """Return the tiles of a plane, in y and x, line by line."""
    rows, columns = _cuts(image)
    return [(y, x) for y in rows for x in columns]


def _cuts(image: Image) -> tuple[list[slice], list[slice]]:
    """Return the rows and the columns of tiles of a plane."""
    rows, columns = (
        [slice(start, min(start + SIDE, length)) for start in _starts(length, SIDE)]
        for length in (image.size("y"), image.size("x"))
    )
    return rows, columns


def _starts(length: int, side: int) -> list[int]:
    """Return where tiles begin along an axis; the last ends where the axis does.

    The fewest between which, or beside one alone, at most an eighth of one is left out.
    """
    gap = side // 8
    count = max(ceil((length + gap) / (side + gap)), 1)
    return [int(v) for v in np.linspace(0, max(length - side, 0), count)]


def _spread(length: int, count: int) -> list[int]:
    """Return `count` evenly spaced integers below `length`."""
    return [int((k + 0.5) * length / count) for k in range(count)]


def _quotas(counts: Sequence[int], most: int) -> list[int]:
    """Distribute `most` over the images as evenly as their counts allow."""
    quotas = [0] * len(counts)
    left = min(most, sum(counts))
    while left:
        open_ = [k for k, n in enumerate(counts) if quotas[k] < n]
        each = left // len(open_)
        if not each:
            # fewer than images: some of them, spread over the list
            for k in _spread(len(open_), left):
                quotas[open_[k]] += 1
            break
        for k in open_:
            more = min(each, counts[k] - quotas[k])
            quotas[k] += more
            left -= more
    return quotas
