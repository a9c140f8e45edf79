"""The fingerprint of annotated images: sizes and counts for planning settings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
    """Sizes and counts of the annotation; lengths in pixels along y and x."""

    channels: int
    # without the background
    classes: tuple[ClassInfo, ...]
    # of each annotated frame, (z, y, x)
    sizes: tuple[tuple[int, int, int], ...]
    # annotated ones of each class, the background first
    pixels: tuple[int, ...]
    # of a typical cell, of a circle with its largest area; None without cells
    diameter: float | None = None
    # annotated slices through a typical cell; None without cells
    span: float | None = None
    # most annotated slices in a row
    neighbours: int = 1
    # largest distance of two slices; None where one is not known
    step: float | None = None
    # pixels of the planes in which something is annotated; None if not counted
    area: int | None = None

    @property
    def slices(self) -> int:
        """Of the thinnest image."""
        return min(z for z, _, _ in self.sizes)

    @property
    def annotated(self) -> int:
        """Annotated pixels of all classes."""
        return sum(self.pixels)

    def resized(self, scale: float, ndim: int) -> Fingerprint:
        """Return it as of images of another size, a share of their own, in each axis.

        Planes keep their number of slices.
        """
        if scale == 1:
            return self
        deep = scale if ndim == 3 else 1.0

        def scaled(n: int, factor: float) -> int:
            return max(round(n * factor), 1)

        return replace(
            self,
            sizes=tuple(
                (scaled(z, deep), scaled(y, scale), scaled(x, scale))
                for z, y, x in self.sizes
            ),
            pixels=tuple(round(count * scale**ndim) for count in self.pixels),
            area=None if self.area is None else round(self.area * scale**ndim),
            diameter=None if self.diameter is None else self.diameter * scale,
            span=None if self.span is None else self.span * deep,
            neighbours=scaled(self.neighbours, deep),
            step=None if self.step is None else self.step * scale / deep,
        )


def fingerprint(pairs: Iterable[tuple[Field, Annotation]]) -> Fingerprint:
    """Return the fingerprint of annotated planes or volumes; as `Observer`."""
    observer = Observer()
    for place, annotation in pairs:
        observer.add(place, annotation)
    return observer.fingerprint()


class Observer:
    """Takes a fingerprint, plane by plane.

    No pixel of an image is read. An id is one cell in all slices of a frame.
    """

    def __init__(self) -> None:
        self._frames: dict[tuple[Image, int], _Frame] = {}
        self._classes: tuple[ClassInfo, ...] = ()

    def add(self, place: Field, annotation: Annotation) -> None:
        """Add the annotation of a plane or volume."""
        frame = self._frames.setdefault((place.image, place.t), _Frame())
        self._classes = annotation.classes
        for z, plane in _planes(place, annotation):
            known = plane.class_image()
            frame.slices.add(z)
            frame.pixels += np.bincount(known.ravel(), minlength=256)
            for cell, area in _cells(plane, known):
                widest, slices = frame.cells.get(cell, (0, 0))
                frame.cells[cell] = max(widest, area), slices + 1

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint; a ValueError says that nothing is annotated."""
        if not self._frames:
            raise ValueError("nothing is annotated: there is nothing to plan by.")
        frames = self._frames.values()
        images = [image for image, _ in self._frames]
        cells = [cell for frame in frames for cell in frame.cells.values()]
        areas, spans = zip(*cells, strict=True) if cells else ((), ())
        pixels = np.sum([frame.pixels for frame in frames], axis=0)
        steps = [_step(image) for image in images]
        return Fingerprint(
            channels=images[0].channels,
            classes=self._classes,
            sizes=tuple((i.size("z"), i.size("y"), i.size("x")) for i in images),
            pixels=tuple(pixels[: len(self._classes) + 1].tolist()),
            diameter=2 * sqrt(np.median(areas) / pi) if cells else None,
            span=float(np.median(spans)) if cells else None,
            neighbours=max(_longest_row(frame.slices) for frame in frames),
            step=None if None in steps else max(s for s in steps if s is not None),
            area=sum(
                len(frame.slices) * image.size("y") * image.size("x")
                for (image, _), frame in self._frames.items()
            ),
        )


@dataclass(slots=True, eq=False)
class _Frame:
    """Counts of one frame of an image."""

    # int64, (256,): annotated ones of each class
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    # of each cell: pixels in the slice where it is widest, number of slices
    cells: dict[int, tuple[int, int]] = field(default_factory=dict)
    slices: set[int] = field(default_factory=set)


def _longest_row(slices: set[int]) -> int:
    longest = row = 0
    for z in sorted(slices):
        row = row + 1 if z - 1 in slices else 1
        longest = max(longest, row)
    return longest


def _planes(place: Field, annotation: Annotation) -> Iterator[tuple[int, Annotation]]:
    """Yield the slices that are annotated, in their order."""
    if place.z is not None:
        yield place.z, annotation
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
