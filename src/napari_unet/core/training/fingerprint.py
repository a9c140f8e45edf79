"""What of annotated images decides how a network is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from math import pi, sqrt
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import cell_classes
from napari_unet.core.cells.label_ids import distinct, positions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import Annotation, ClassInfo
    from napari_unet.core.images.image import Field, Image


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Sizes and counts of what is annotated; lengths in pixels along y and x."""

    channels: int
    # without the background
    classes: tuple[ClassInfo, ...]
    # of each annotated frame, (z, y, x)
    sizes: tuple[tuple[int, int, int], ...]
    # annotated ones of each class, the background first
    pixels: tuple[int, ...]
    # of a typical cell where it is widest, as of a circle; None without cells
    diameter: float | None = None
    # annotated slices that a typical cell shows in; None without cells
    span: float | None = None
    # most annotated slices in a row
    neighbours: int = 1
    # largest distance of two slices; None where one is not known
    step: float | None = None

    @property
    def slices(self) -> int:
        """Of the thinnest image."""
        return min(z for z, _, _ in self.sizes)

    @property
    def annotated(self) -> int:
        """Annotated pixels of all classes."""
        return sum(self.pixels)


def fingerprint(pairs: Iterable[tuple[Field, Annotation]]) -> Fingerprint:
    """Look at annotated planes or volumes, those of one frame of an image in a row.

    No pixel of an image is read. An id is one cell in all slices of a frame. There has
    to be one pair at least.
    """
    frames = [
        _look_at(image, frame)
        for (image, _), frame in groupby(pairs, key=lambda p: (p[0].image, p[0].t))
    ]
    areas = [area for frame in frames for area, _ in frame.cells]
    spans = [slices for frame in frames for _, slices in frame.cells]
    classes = frames[0].classes
    counts = np.sum([frame.counts for frame in frames], axis=0)
    images = [frame.image for frame in frames]
    steps = [_step(image) for image in images]
    return Fingerprint(
        channels=images[0].channels,
        classes=classes,
        sizes=tuple((i.size("z"), i.size("y"), i.size("x")) for i in images),
        pixels=tuple(counts[: len(classes) + 1].tolist()),
        diameter=2 * sqrt(np.median(areas) / pi) if areas else None,
        span=float(np.median(spans)) if spans else None,
        neighbours=max(frame.neighbours for frame in frames),
        step=None if None in steps else max(s for s in steps if s is not None),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """What is annotated of an image at one time."""

    image: Image
    classes: tuple[ClassInfo, ...]
    # int64, (256,): pixels of each class
    counts: NDArray[np.int64]
    # of each cell: pixels in the slice where it is widest, number of slices
    cells: list[tuple[int, int]]
    neighbours: int


def _look_at(image: Image, pairs: Iterable[tuple[Field, Annotation]]) -> _Frame:
    counts = np.zeros(256, np.int64)
    widest: dict[int, int] = {}
    slices: dict[int, int] = {}
    row, neighbours, last = 0, 1, -1
    classes: tuple[ClassInfo, ...] = ()
    for z, annotation in (plane for pair in pairs for plane in _planes(*pair)):
        row = row + 1 if z == last + 1 else 1
        neighbours, last = max(neighbours, row), z
        classes = annotation.classes
        known = annotation.class_image()
        counts += np.bincount(known.ravel(), minlength=256)
        for cell, area in _cells(annotation, known):
            widest[cell] = max(widest.get(cell, 0), area)
            slices[cell] = slices.get(cell, 0) + 1
    cells = [(widest[cell], slices[cell]) for cell in widest]
    return _Frame(image, classes, counts, cells, neighbours)


def _planes(field: Field, annotation: Annotation) -> Iterator[tuple[int, Annotation]]:
    """Yield the slices that are annotated, in their order."""
    if field.z is not None:
        yield field.z, annotation
        return
    for z, labels in enumerate(annotation.labels):
        finished = None if annotation.finished is None else annotation.finished[z]
        if labels.any() or (finished is not None and finished.any()):
            yield z, replace(annotation, labels=labels, finished=finished)


def _cells(
    annotation: Annotation, classes: NDArray[np.uint8]
) -> Iterator[tuple[int, int]]:
    """Yield the id of each cell of a plane, and its pixels."""
    is_cell = np.zeros(256, bool)
    is_cell[list(cell_classes(annotation.classes))] = True
    labels = np.where(is_cell[classes], annotation.labels, 0)
    ids = distinct(labels)
    areas = np.bincount(positions(ids, labels).ravel(), minlength=ids.size)
    for cell, area in zip(ids.tolist(), areas.tolist(), strict=True):
        if cell:
            yield cell, area


def _step(image: Image) -> float | None:
    """Return the distance of two slices in pixels; None where it is not known."""
    if image.size("z") == 1 or image.spacing_um is None:
        return None
    z, y, x = image.spacing_um
    return z / sqrt(y * x)
