"""What people painted, and what a network is to learn from it.

In an annotation 0 means not annotated, 1 background, and 2 and up one id for each
object. Objects belong to classes of two kinds: cells, where touching objects are kept
apart by ridges of background, and regions, which have no objects. This is also the
convention of the Fiji plugin (Falk et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from napari_unet.core.cells.label_ids import distinct, positions
from napari_unet.core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box

# In the targets: this pixel is ignored.
IGNORED = 255
# In an annotation.
UNKNOWN, BACKGROUND, FIRST_OBJECT = 0, 1, 2
MAX_CLASSES = 254

# Of foreground classes: distinct for the colour-blind, bright on dark and grey images
# (Okabe and Ito 2008).
PALETTE = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#0072b2")

Kind = Literal["instances", "binary", "semantic", "annotation", "sparse"]
"""What the values of a mask mean."""

ClassKind = Literal["cells", "regions"]
"""Objects to be kept apart, or areas without objects."""


# No axis is longer and no id is higher than this.
Index = Annotated[int, Field(ge=0, le=2**31 - 1)]


class ClassInfo(Settings):
    """A foreground class."""

    name: str = Field("cells", min_length=1, description="Shown to people.")
    kind: ClassKind = Field(
        "cells", description="Objects to be kept apart, or areas without objects."
    )


def plain_classes(classes: Iterable[ClassInfo]) -> tuple[ClassInfo, ...]:
    """Return classes as a worker or a model file has them: without their colours."""
    return tuple(ClassInfo(name=c.name, kind=c.kind) for c in classes)


class FinishedPart(Settings):
    """A part of a plane in which unlabelled means background."""

    t: Index = 0
    z: Index = 0
    box: tuple[tuple[Index, Index], tuple[Index, Index]] = Field(
        description="Start and stop in y and x."
    )


def cell_classes(classes: Iterable[ClassInfo]) -> tuple[int, ...]:
    """Return the numbers of the classes of cells; all others are of regions."""
    return tuple(n for n, c in enumerate(classes, start=1) if c.kind == "cells")


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """The annotation of one plane or volume."""

    # ([z,] y, x): 0 not annotated, 1 background, 2 and up ids of objects
    labels: NDArray[np.integer]
    # foreground classes: number 1 is the first, 0 the background
    classes: tuple[ClassInfo, ...] = (ClassInfo(),)
    # class number by object, 1 for objects not in it
    class_of: Mapping[int, int] = field(default_factory=dict)
    finished: NDArray[np.bool_] | None = None  # where unlabelled means background

    def __post_init__(self) -> None:
        _check_labels(self.labels)
        if not 1 <= len(self.classes) <= MAX_CLASSES:
            raise ValueError(
                f"an annotation has 1 to {MAX_CLASSES} classes, "
                f"found {len(self.classes)}."
            )
        for number in set(self.class_of.values()):
            if not 1 <= number <= len(self.classes):
                raise ValueError(
                    f"class numbers are 1 to {len(self.classes)}, one for each class, "
                    f"found {number}."
                )
        if self.finished is not None and self.finished.shape != self.labels.shape:
            raise ValueError(
                f"the finished mask must have the shape of the labels, "
                f"{self.labels.shape}, found {self.finished.shape}."
            )

    def crop(self, box: Box) -> Annotation:
        """Return a part.

        Its targets are those of the whole, except for ridges within as many pixels of
        its edge as there are axes.
        """
        finished = None if self.finished is None else self.finished[box]
        return replace(self, labels=self.labels[box], finished=finished)

    def with_regions(self, numbers: Collection[int] | None) -> Annotation:
        """Return the annotation with some classes as regions, all of them for None.

        A ValueError says that a number is of no class.
        """
        there = range(1, len(self.classes) + 1)
        for number in numbers or ():
            if number not in there:
                raise ValueError(
                    f"there are the classes 1 to {len(self.classes)}, found {number} "
                    "among those of regions."
                )
        chosen = there if numbers is None else numbers
        classes = tuple(
            c.replace(kind="regions") if n in chosen else c
            for n, c in zip(there, self.classes, strict=True)
        )
        return replace(self, classes=classes)

    def without_regions(self) -> NDArray[np.integer]:
        """Return the labels with those of regions as not annotated."""
        regions = {n for n, c in enumerate(self.classes, 1) if c.kind == "regions"}
        if not regions:
            return self.labels
        present = distinct(self.labels)
        objects = present[present >= FIRST_OBJECT]
        of_regions = [i for i in objects.tolist() if self.class_of.get(i, 1) in regions]
        return np.where(np.isin(self.labels, of_regions), UNKNOWN, self.labels)

    def class_image(self) -> NDArray[np.uint8]:
        """Return the class number of each pixel, `IGNORED` where nothing is known.

        Unlike in `targets`, cells that touch are not parted.
        """
        ids = distinct(self.labels)
        table = np.array([self.class_of.get(i, 1) for i in ids.tolist()], np.uint8)
        table[ids == UNKNOWN] = IGNORED
        table[ids == BACKGROUND] = 0
        classes: NDArray[np.uint8] = table[positions(ids, self.labels)]
        if self.finished is not None:
            classes[self.finished & (self.labels == UNKNOWN)] = 0
        return classes

    def targets(self) -> Targets:
        """Return the target of the network: ridges drawn, unknown pixels marked."""
        classes = self.class_image()
        is_cell = np.zeros(256, bool)
        is_cell[list(cell_classes(self.classes))] = True
        instances = np.where(is_cell[classes], self.labels, 0).astype(np.int32)
        classes[_ridges(instances, classes)] = 0
        return Targets(classes, instances)


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The target of a network for an annotation."""

    # ([z,] y, x): 0 background and ridges, class numbers, 255 not annotated
    classes: NDArray[np.uint8]
    # ids of the objects of classes of cells, before ridges; 0 elsewhere
    instances: NDArray[np.int32]

    @property
    def annotated(self) -> NDArray[np.bool_]:
        """Where something is known."""
        known: NDArray[np.bool_] = self.classes != IGNORED
        return known


def with_background_ring(annotation: Annotation, width: float) -> Annotation:
    """Make what surrounds painted cells background, where nothing was painted.

    `width` is the largest distance to a pixel of a cell, in pixels, 0 or more (else a
    ValueError). Regions get no ring.
    """
    from scipy.ndimage import distance_transform_edt  # only rings need it

    if width < 0:
        raise ValueError(f"the width of a ring is 0 pixels or more, found {width}.")
    cells = annotation.targets().instances > 0
    if not cells.any():
        return annotation
    near = distance_transform_edt(~cells) <= width
    ring = near & (annotation.labels == UNKNOWN)
    return replace(annotation, labels=np.where(ring, BACKGROUND, annotation.labels))


def _check_labels(labels: NDArray[np.integer]) -> None:
    if labels.ndim not in (2, 3):
        raise ValueError(
            f"labels are planes (y, x) or volumes (z, y, x), found {labels.shape}."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels are whole numbers, found {labels.dtype}.")
    if labels.size and (labels.min() < 0 or labels.max() > np.iinfo(np.int32).max):
        raise ValueError(
            "labels are 0 (not annotated), 1 (background) and ids up to 2^31 - 1, "
            f"found {labels.min()} to {labels.max()}."
        )


def _ridges(
    instances: NDArray[np.int32], classes: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Find the pixels to take from cells so that no two of a class touch.

    Of two touching pixels the later in reading order is taken. Neighbours across faces
    are separated first, then those across edges and corners that still touch: that
    keeps ridges one pixel thick, where all at once would make some of them two.
    """
    left = instances
    for order in range(1, left.ndim + 1):
        lost = np.zeros(left.shape, bool)
        for offset in product((-1, 0, 1), repeat=left.ndim):
            if sum(map(abs, offset)) != order or offset > (0,) * left.ndim:
                continue
            late = tuple(slice(max(-o, 0), min(-o, 0) or None) for o in offset)
            early = tuple(slice(max(o, 0), min(o, 0) or None) for o in offset)
            lost[late] |= (
                (left[late] != left[early])
                & (left[late] > 0)
                & (left[early] > 0)
                & (classes[late] == classes[early])
            )
        left = np.where(lost, 0, left)
    ridges: NDArray[np.bool_] = left != instances
    return ridges
