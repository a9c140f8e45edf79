"""Painted cells as the connected components they consist of, and how to repair them.

A slip of the brush leaves specks; one id for two cells leaves two components, or one
with a neck. Necks are found as between predicted cells, see `core.cells.watershed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import FIRST_OBJECT, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box

# Specks are smaller than these shares of a usual cell, and than this many pixels
# where usual cells are large enough for the second share.
_SPECK_SHARE, _SPECK_PIXELS, _SPECK_SHARE_OF_SMALL = 0.02, 9, 0.25

# Chosen on nuclei (DSB 2018, BBBC039) and phase contrast (Usiigaci): of touching cells
# merged on purpose 67, 82 and 96 % are found, of true cells 0.5, 0.2 and 2 %.
_NECK_SIZE = 1.2  # of a usual cell
_NECK_PART = 0.4  # of a usual cell, each of the parts
_NECK_DEPTH, _NECK_SHARE = 0.7, 0.1  # as in `core.cells.watershed`, in pixels and 1


@dataclass(frozen=True, slots=True)
class Component:
    """Connected pixels of one cell."""

    size: int  # in pixels
    box: Box  # in the plane or volume

    @property
    def centre(self) -> tuple[float, ...]:
        """Middle of its box, in pixels."""
        return tuple((b.start + b.stop - 1) / 2 for b in self.box)


@dataclass(frozen=True, slots=True)
class Cell:
    """A painted cell."""

    label: int
    components: tuple[Component, ...]  # the largest first

    @property
    def size(self) -> int:
        """Pixels of all of them."""
        return sum(part.size for part in self.components)


def cells_of(labels: NDArray[np.integer]) -> list[Cell]:
    """Find the cells of an annotation, by id; components connect across corners."""
    from scipy.ndimage import find_objects  # only checks need it

    numbered, owners, sizes = _label_components(labels)
    boxes: Any = find_objects(numbered)
    components: dict[int, list[Component]] = {}
    for number in range(1, sizes.size):
        part = Component(int(sizes[number]), boxes[number - 1])
        components.setdefault(int(owners[number]), []).append(part)
    return [
        Cell(label, tuple(sorted(parts, key=lambda part: -part.size)))
        for label, parts in sorted(components.items())
    ]


def speck_size(usual: float) -> float:
    """Pixels below which a component is a speck, by the usual size of a cell."""
    pixels = min(_SPECK_PIXELS, _SPECK_SHARE_OF_SMALL * usual)
    return max(pixels, _SPECK_SHARE * usual)


def count_necked(labels: NDArray[np.integer], cell: Cell, usual: float) -> int:
    """Count the parts of usual size that necks divide a cell of `labels` into.

    Only its largest component is looked at. `usual` is the size of a cell in pixels.
    The result is 1 unless it looks like several cells.
    """
    from napari_unet.core.cells.labelmap import sizes
    from napari_unet.core.cells.watershed import watershed
    from napari_unet.core.geometry.distance import distance_inside

    if cell.components[0].size < _NECK_SIZE * usual:
        return 1
    mask = np.pad(labels[cell.components[0].box] == cell.label, 1)
    basins = watershed(distance_inside(mask), _NECK_DEPTH, _NECK_SHARE)
    parts = np.count_nonzero(sizes(basins)[1:] >= _NECK_PART * usual)
    return max(int(parts), 1)


def split_components(
    labels: NDArray[np.integer], label: int, next_id: int
) -> NDArray[np.integer]:
    """Give each component of a cell an id of its own.

    The largest keeps the id `label`, the second largest gets `next_id`, the others the
    following ones. A ValueError says that the cell is not there, or one of the new ids
    is.
    """
    numbered, _, sizes = _label_components(np.where(labels == label, labels, UNKNOWN))
    if label < FIRST_OBJECT or sizes.size == 1:
        raise ValueError(f"there is no cell of id {label} here.")
    order = np.argsort(-sizes[1:], kind="stable") + 1
    new = range(next_id, next_id + order.size - 1)
    if next_id < FIRST_OBJECT or np.isin(labels, new).any():
        raise ValueError(f"ids from {next_id} up are not free for new cells.")
    split = labels.copy()
    for number, id_ in zip(order[1:], new, strict=True):
        split[numbered == number] = id_
    return split


def remove_specks(
    labels: NDArray[np.integer],
    size: float | None = None,
    *,
    spared: Collection[int] = (),
) -> NDArray[np.integer]:
    """Mark small components, painted by accident, as not annotated.

    They are those of less than `size` pixels, by default the `speck_size` of the median
    cell; those of ids in `spared`, such as regions, stay. Background stays as it is.
    """
    numbered, owners, sizes = _label_components(labels)
    if sizes.size == 1:
        return labels.copy()
    if size is None:
        _, cell = np.unique(owners[1:], return_inverse=True)
        size = speck_size(float(np.median(np.bincount(cell, sizes[1:]))))
    gone = (sizes < size) & ~np.isin(owners, list(spared))
    gone[0] = False
    return np.where(gone[numbered], labels.dtype.type(UNKNOWN), labels)


def _label_components(
    labels: NDArray[np.integer],
) -> tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]:
    """Number all components from 1; also return their ids and their sizes."""
    from skimage.measure import label  # slow to import

    cells = np.where(labels >= FIRST_OBJECT, labels, 0)
    components = label(cells, background=0, connectivity=labels.ndim)
    sizes = np.bincount(components.ravel(), minlength=1)
    owners = np.zeros(sizes.size, cells.dtype)
    owners[components.ravel()] = cells.ravel()
    return components, owners, sizes
