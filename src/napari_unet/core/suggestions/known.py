"""The annotated tiles of a project, and the sizes of annotated cells."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import pi
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import IGNORED, cell_classes
from napari_unet.core.suggestions.sampling import TilePlace, boxes_of_plane

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Sequence

    from napari_unet.core.annotation.annotations import Annotation
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.image import Image

# Most pixels of annotation that are read, and most tiles that are kept.
_PIXELS, _TILES = 2 * 10**8, 200


@dataclass(frozen=True, slots=True, eq=False)
class KnownParts:
    """Where an image is annotated, and how to read a part of a plane."""

    places: Collection[tuple[int, int]]  # (t, z) of planes with annotation
    read: Callable[[int, int, Box], Annotation]  # of t, z and a box

    def share(self, t: int, z: int, box: Box) -> float:
        """Return how much of a box of a plane is annotated, 0 to 1."""
        if (t, z) not in self.places:
            return 0.0
        return float(np.mean(self.read(t, z, box).class_image() != IGNORED))


@dataclass(frozen=True, slots=True, eq=False)
class Annotated:
    """What was found in the annotation."""

    # with the share of annotated pixels
    tiles: tuple[tuple[TilePlace, float], ...] = ()
    # of circles with the areas of the cells, in pixels
    diameters: tuple[float, ...] = ()


def find_annotated(
    images: Sequence[Image], known: Sequence[KnownParts | None]
) -> Generator[None, None, Annotated]:
    """Find the annotated tiles of images, and the sizes of annotated cells.

    It yields None after each row of tiles, so that it can be cancelled. Of more than
    200 million pixels, evenly spaced planes are read.
    """
    planes = [
        (number, parts, t, z)
        for number, parts in enumerate(known)
        if parts is not None
        for t, z in sorted(parts.places)
    ]
    pixels = [images[n].size("y") * images[n].size("x") for n, *_ in planes]
    step = max(-(-sum(pixels) // _PIXELS), 1)
    tiles: list[tuple[TilePlace, float]] = []
    diameters: list[float] = []
    for number, parts, t, z in planes[::step]:
        shares, sizes = yield from _of_plane(images[number], parts, t, z)
        diameters += [2 * (size / pi) ** 0.5 for size in sizes]
        tiles += [(TilePlace(number, t, z, box), share) for box, share in shares]
    kept = tiles[:: max(-(-len(tiles) // _TILES), 1)]
    return Annotated(tuple(kept), tuple(diameters))


def _of_plane(
    image: Image, known: KnownParts, t: int, z: int
) -> Generator[None, None, tuple[list[tuple[Box, float]], list[int]]]:
    """Return the tiles with annotation and how much of each, and the sizes of cells."""
    boxes = boxes_of_plane(image)
    rows = sorted({box[0].start for box in boxes})
    ends = [*rows[1:], image.size("y")]
    counts: Counter[int] = Counter()
    found = []
    for start, end in zip(rows, ends, strict=True):
        yield
        strip = [box for box in boxes if box[0].start == start]
        stop = max(strip[0][0].stop, end)
        part = known.read(t, z, (slice(start, stop), slice(0, image.size("x"))))
        classes = part.class_image()
        annotated = classes != IGNORED
        if not annotated.any():
            continue
        for box in strip:
            share = float(annotated[: box[0].stop - start, box[1]].mean())
            if share > 0:
                found.append((box, share))
        own = slice(0, end - start)
        cells = np.isin(classes[own], cell_classes(part.classes))
        ids, pixels = np.unique(part.labels[own][cells], return_counts=True)
        counts.update(dict(zip(ids.tolist(), pixels.tolist(), strict=True)))
    return found, list(counts.values())
