"""Labels written by us: predicted cells used as annotation, background, repairs.

All of it goes through the layer, so that napari's own undo reverts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import (
    FIRST_OBJECT,
    UNKNOWN,
    Annotation,
    cell_classes,
    with_background_ring,
)
from napari_unet.core.cells.label_ids import positions
from napari_unet.core.geometry.boxes import full_box
from napari_unet.session.annotating.brush import current_image
from napari_unet.session.annotating.classes import check_number, record_classes
from napari_unet.session.annotating.label_range import make_room, values_in
from napari_unet.session.project.annotation_file import plane_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from napari.components import ViewerModel
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.session.annotating.annotation_layers import AnnotationLayers
    from napari_unet.session.annotating.brush import Brush
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.store import ProjectStore

# A predicted cell is left out if more than this share of it is annotated already.
_ANNOTATED_SHARE = 0.5


@dataclass(eq=False)
class LabelEdits:
    """Changes cells of the annotation layers as a click asks for."""

    _viewer: ViewerModel
    _store: ProjectStore
    _images: ImageList
    _brush: Brush
    _layers: AnnotationLayers

    def use_as_annotation(
        self,
        image_id: str,
        cells: NDArray[Any],
        t: int,
        z: int,
        ids: Collection[int] | None = None,
        box: Box | None = None,
    ) -> int:
        """Copy predicted cells into a slice where nothing is; return how many.

        Parameters
        ----------
        cells : ndarray of int, shape (y, x)
            0 where there is none; those of the box where there is one.
        ids : collection of int, optional
            Those to copy; all unless given. Cells that are annotated for more than
            half are left out.
        box : pair of slices, optional
            Part of the slice, y and x; all of it unless given.
        """
        layer, axes = self._layers.show(image_id), self._axes(image_id)
        cells = np.asarray(cells)
        annotated = _part(layer, axes, (t, z), box)
        if cells.shape != annotated.shape:
            raise ValueError(
                f"the cells of a slice have its shape {annotated.shape}, "
                f"found {cells.shape}."
            )
        new = as_new_cells(annotated, cells, ids, self._brush.fresh_id(image_id))
        copied = np.unique(new[new > 0])
        number = self.cell_class()
        if number > 1:
            class_of = dict.fromkeys(copied.tolist(), number)
            record_classes(self._store, image_id, class_of)
        _write(layer, axes, (t, z), new, new > 0, box)
        self._brush.renew(image_id)
        return len(copied)

    def add_background_ring(self, image_id: str, t: int, z: int, width: float) -> None:
        """Paint background around the cells of a slice, `width` pixels wide.

        What is painted stays.
        """
        self.change_plane(
            image_id, t, z, lambda painted: with_background_ring(painted, width).labels
        )

    def change_plane(
        self,
        image_id: str,
        t: int,
        z: int,
        change: Callable[[Annotation], NDArray[np.integer]],
        box: Box | None = None,
    ) -> None:
        """Write what a function makes of a slice, or a box of it: one step of undo."""
        layer, axes = self._layers.show(image_id), self._axes(image_id)
        before = _part(layer, axes, (t, z), box).astype(np.int32)
        project = self._store.project
        class_of = project.image(image_id).class_of
        after = change(Annotation(before, project.classes, class_of))
        _write(layer, axes, (t, z), after, after != before, box)

    def set_class_under_cursor(self, number: int) -> None:
        """Give the painted cell under the mouse another class; see `set_class`."""
        layer, position = self._brush.layer, tuple(self._viewer.cursor.position)
        cell = None if layer is None else layer.get_value(position, world=True)
        if not cell or cell < FIRST_OBJECT:
            raise ValueError("There is no painted cell under the mouse.")
        self.set_class(int(cell), number)

    def set_class(self, cell: int, number: int) -> None:
        """Give a painted cell of the current image another class.

        ValueError if there is no class of this number, or either class is of regions.
        """
        image, project = current_image(self._images), self._store.project
        check_number(project, number)
        before = image.class_of.get(cell, 1)
        if before == number:
            return
        for info in (project.classes[before - 1], project.classes[number - 1]):
            if info.kind == "regions":
                raise ValueError(f"{info.name} are regions: erase and paint instead.")
        what = f"cell {cell} is {project.classes[number - 1].name}"
        class_of = {**image.class_of, cell: number}
        self._store.change_image(image.id, what, class_of=class_of)
        if cell == self._brush.painted_cell:
            self._brush.follow_class(number)

    def cell_class(self) -> int:
        """Return the active class, or the first of cells if that is of regions."""
        cells = cell_classes(self._store.project.classes)
        active = self._brush.active_class
        return active if active in cells or not cells else cells[0]

    def _axes(self, image_id: str) -> str:
        return self._store.project.image(image_id).annotation_axes


def as_new_cells(
    annotated: NDArray[np.integer],
    cells: NDArray[np.integer],
    ids: Collection[int] | None,
    free: int,
) -> NDArray[np.int32]:
    """Return predicted cells under ids from `free` on, where nothing is annotated yet.

    The planes (y, x) are 0 where there is nothing; all cells are used if `ids` is None.
    A cell most of which is annotated already is left out: it would become a sliver
    beside the one that was painted.
    """
    values = values_in(cells)
    at = positions(values, cells)
    area = np.bincount(at.ravel(), minlength=len(values))
    known = np.bincount(at[annotated != UNKNOWN], minlength=len(values))
    used = (values > 0) & (known <= _ANNOTATED_SHARE * area)
    if ids is not None:
        used &= np.isin(values, list(ids))
    table = np.zeros(len(values), np.int32)
    table[used] = free + np.arange(int(used.sum()))
    return np.where(annotated == UNKNOWN, table[at], 0).astype(np.int32)


def _part(
    layer: Labels, axes: str, place: tuple[int, int], box: Box | None
) -> NDArray[np.integer]:
    """Return a plane (t, z) of a layer, or a box of it, (y, x): no copy."""
    return np.asarray(plane_of(layer.data, axes, *place)[box or ...])


def _write(
    layer: Labels,
    axes: str,
    place: tuple[int, int],
    values: NDArray[np.integer],
    where: NDArray[np.bool_],
    box: Box | None,
) -> None:
    """Write values into a plane (t, z) of a layer: one step of its undo."""
    rows, columns = np.nonzero(where)
    if len(rows) == 0:
        return
    y, x = (part.start for part in box or full_box(values.shape))
    index = {"y": rows + y, "x": columns + x}
    for axis, number in zip("tz", place, strict=True):
        index[axis] = np.full(len(rows), number)
    written = values[rows, columns]
    make_room(layer, int(written.max()))
    layer.data_setitem(
        tuple(index[axis] for axis in axes), written.astype(layer.data.dtype)
    )
