"""Cells changed by us: predicted ones taken over, rings of background, repairs.

All of it goes through the layer, so that napari's own undo takes it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import (
    FIRST_OBJECT,
    Annotation,
    ClassInfo,
    cell_classes,
    with_background_ring,
)
from napari_unet.session.annotating.classes import check_number
from napari_unet.session.annotating.stamping import as_new_cells, plane_of, stamp
from napari_unet.session.images import layers as roles

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from napari.components import ViewerModel
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_unet.session.annotating.brush import Brush
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.record import ProjectImage
    from napari_unet.session.project.store import ProjectStore


class CellEdits:
    """Writes into annotation layers what a click asks for.

    Parameters
    ----------
    viewer : ViewerModel
    store : ProjectStore
    images : ImageList
    brush : Brush
    show : callable
        Returns the annotation layer of an image; made if needed.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        store: ProjectStore,
        images: ImageList,
        brush: Brush,
        show: Callable[[str], Labels],
    ) -> None:
        self._viewer = viewer
        self._store = store
        self._images = images
        self._brush = brush
        self._show = show

    def take_cells(
        self,
        image_id: str,
        cells: NDArray[Any],
        t: int,
        z: int,
        ids: Collection[int] | None = None,
    ) -> int:
        """Take predicted cells as annotation, where nothing is annotated yet.

        Parameters
        ----------
        image_id : str
        cells : ndarray of int, shape (y, x)
            0 where there is none.
        t, z : int
        ids : collection of int, optional
            Those to take; all unless given. Cells that are annotated for more than
            half are left out.

        Returns
        -------
        int
            Number of cells that were taken.
        """
        layer, axes = self._show(image_id), self._axes(image_id)
        cells = np.asarray(cells)
        annotated = plane_of(layer.data, axes, t, z)
        if cells.shape != annotated.shape:
            raise ValueError(
                f"the cells of a slice have its shape {annotated.shape}, "
                f"found {cells.shape}."
            )
        free = self._brush.fresh_id(image_id)
        new = as_new_cells(annotated, cells, ids, free)
        taken = np.unique(new[new > 0])
        number = self._cell_class()
        if number > 1:
            self.record_classes(image_id, dict.fromkeys(taken.tolist(), number))
        stamp(layer, axes, (t, z), new, new > 0)
        self._brush.renew(image_id)
        return len(taken)

    def take_cell_at(self, position: tuple[float, ...]) -> int:
        """Take the predicted cell at a point of the world; ValueError if none is there.

        Returns
        -------
        int
            1, or 0 if it is annotated already.
        """
        image = self._images.current
        found = roles.find(self._viewer, "cells", image.id) if image else []
        if image is None or not found:
            raise ValueError("There are no predicted cells of this image yet.")
        predicted = found[-1]
        value = predicted.get_value(position, world=True)
        if not value:
            raise ValueError("There is no predicted cell under the mouse.")
        t, z = self._images.place_in_view(image.id)
        plane = plane_of(predicted.data, image.annotation_axes, t, z)
        return self.take_cells(image.id, plane, t, z, {int(value)})

    def add_ring(self, image_id: str, t: int, z: int, width: float) -> None:
        """Paint background around the cells of a slice, where nothing is painted.

        Parameters
        ----------
        image_id : str
        t, z : int
        width : float
            In pixels.
        """

        def ringed(annotation: Annotation) -> NDArray[np.integer]:
            return with_background_ring(annotation, width).labels

        self.repair(image_id, t, z, ringed)

    def repair(
        self,
        image_id: str,
        t: int,
        z: int,
        change: Callable[[Annotation], NDArray[np.integer]],
    ) -> None:
        """Write what a function makes of a slice: one step of napari's undo."""
        layer, axes = self._show(image_id), self._axes(image_id)
        before = plane_of(layer.data, axes, t, z).astype(np.int32)
        project = self._store.project
        image = project.image(image_id)
        infos = tuple(ClassInfo(name=c.name, kind=c.kind) for c in project.classes)
        after = change(Annotation(before, infos, image.class_of))
        stamp(layer, axes, (t, z), after, after != before)

    def record_classes(self, image_id: str, class_of: dict[int, int]) -> None:
        """Write down the classes of new objects."""
        image = self._store.project.image(image_id)
        changed = image.replace(class_of={**image.class_of, **class_of})
        self._store.update(self._store.project.with_image(changed))

    @property
    def at_hand(self) -> int | None:
        """Id of the painted cell that the brush goes on with; None if it is new."""
        image, layer = self._images.current, self._brush.layer
        if image is None or layer is None or self._brush.tool != "cell":
            return None
        cell = int(layer.selected_label)
        return cell if cell < self._brush.free_id(image.id) else None

    def painted_at(self, position: tuple[float, ...]) -> int:
        """Return the painted cell at a point of the world; ValueError if none is."""
        layer = self._brush.layer
        cell = None if layer is None else layer.get_value(position, world=True)
        if not cell or cell < FIRST_OBJECT:
            raise ValueError("There is no painted cell under the mouse.")
        return int(cell)

    def set_class(self, image: ProjectImage, cell: int, number: int) -> None:
        """Give a painted cell another class.

        Raises
        ------
        ValueError
            There is no class of this number, or either class is of regions.
        """
        project = self._store.project
        check_number(project, number)
        before = image.class_of.get(cell, 1)
        if before == number:
            return
        for info in (project.classes[before - 1], project.classes[number - 1]):
            if info.kind == "regions":
                raise ValueError(f"{info.name} are regions: erase and paint instead.")
        changed = image.replace(class_of={**image.class_of, cell: number})
        what = f"cell {cell} is {project.classes[number - 1].name}"
        self._store.update(project.with_image(changed), what)
        if cell == self.at_hand:
            self._brush.follow_class(number)

    def present(self) -> dict[str, set[int]]:
        """Ids of the objects that are painted in each image."""
        found: dict[str, set[int]] = {}
        for image in self._store.project.images:
            ids: set[int] = set()
            if image.annotated:
                file = self._store.annotation(image.id)
                for t, z in file.places:
                    ids.update(file.counts(t, z or 0))
            found[image.id] = {i for i in ids if i >= FIRST_OBJECT}
        return found

    def _axes(self, image_id: str) -> str:
        return self._store.project.image(image_id).annotation_axes

    def _cell_class(self) -> int:
        """Return the active class, or the first of cells if that is of regions."""
        cells = cell_classes(self._store.project.classes)
        active = self._brush.active_class
        return active if active in cells or not cells else cells[0]
