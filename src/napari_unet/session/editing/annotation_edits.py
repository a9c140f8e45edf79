"""Edits of painted cells, and copying of predicted ones into the annotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import (
    BACKGROUND,
    FIRST_OBJECT,
    UNKNOWN,
    Annotation,
)
from napari_unet.session.annotating.classes import record_classes
from napari_unet.session.editing.reshape import Reshaped, most_common, reshape
from napari_unet.session.project.annotation_file import plane_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.session.annotating.control import Annotating
    from napari_unet.session.editing.prediction_edits import Way
    from napari_unet.session.editing.reshape import ToolName
    from napari_unet.session.project.store import ProjectStore


@dataclass(frozen=True, slots=True, eq=False)
class AnnotationEdits:
    """Changes annotation through its layer, so that napari's own undo reverts it."""

    _store: ProjectStore
    _annotating: Annotating

    def make(
        self,
        tool: ToolName,
        image_id: str,
        t: int,
        z: int,
        path: NDArray[np.float64],
        radius: float,
    ) -> None:
        """Edit the painted cells of a slice; see `reshape`.

        Areas of regions stay as they are.
        """
        fresh = self._annotating.brush.fresh_id(image_id)
        image = self._store.project.image(image_id)
        regions = self._regions(image_id)

        def change(painted: Annotation) -> NDArray[np.int32]:
            labels = painted.labels.astype(np.int32)
            is_cell = (labels >= FIRST_OBJECT) & ~np.isin(labels, regions)
            cells = np.where(is_cell, labels, 0).astype(np.int32)
            done = reshape(tool, cells, path, fresh, radius)
            free = is_cell[done.box] | (labels[done.box] < FIRST_OBJECT)
            at = done.changed & free
            labels[done.box][at] = done.after[at]
            self._record_classes(image_id, image.class_of, done, fresh)
            return labels

        self._annotating.label_edits.change_plane(image_id, t, z, change)
        self._annotating.brush.renew(image_id)

    def use(
        self,
        image_id: str,
        cells: NDArray[np.int32],
        t: int,
        z: int,
        ids: Collection[int],
        background: NDArray[np.bool_],
        box: Box | None = None,
    ) -> tuple[int, Callable[[Way], None]]:
        """Copy cells of a slice, and background, where nothing is annotated.

        Returns how many cells were copied, and a function that undoes (0) or repeats
        (1) it.

        Parameters
        ----------
        cells : ndarray of int32, shape (y, x)
        ids : collection of int
            Those to copy.
        background : ndarray of bool, shape (y, x)
            Where there is background.
        box : pair of slices, optional
            The part of the slice that cells and background cover; all unless given.
        """
        before = self._plane(image_id, t, z, box)
        edits, number = self._annotating.label_edits, 0
        if ids:
            number = edits.use_as_annotation(image_id, cells, t, z, ids, box)
        if background.any():

            def add(painted: Annotation) -> NDArray[np.int32]:
                free = background & (painted.labels == UNKNOWN)
                return np.where(free, BACKGROUND, painted.labels).astype(np.int32)

            edits.change_plane(image_id, t, z, add, box)
        after = self._plane(image_id, t, z, box)
        at = np.nonzero(before != after)
        values = before[at], after[at]

        def turn(way: Way) -> None:
            """Undo or repeat it where nothing else was painted since."""

            def back(painted: Annotation) -> NDArray[np.int32]:
                labels = painted.labels.astype(np.int32)
                same = labels[at] == values[1 - way]
                labels[at] = np.where(same, values[way], labels[at])
                return labels

            edits.change_plane(image_id, t, z, back, box)

        return number, turn

    def _plane(
        self, image_id: str, t: int, z: int, box: Box | None
    ) -> NDArray[np.int32]:
        layer = self._annotating.layers.show(image_id)
        axes = self._store.project.image(image_id).annotation_axes
        return np.array(plane_of(layer.data, axes, t, z)[box or ...], np.int32)

    def _regions(self, image_id: str) -> list[int]:
        """Return the ids of areas of regions."""
        project = self._store.project
        kinds = [info.kind for info in project.classes]
        class_of = project.image(image_id).class_of
        return [i for i, number in class_of.items() if kinds[number - 1] == "regions"]

    def _record_classes(
        self, image_id: str, class_of: dict[int, int], done: Reshaped, fresh: int
    ) -> None:
        """Give new cells the class of the cell they were split from, or the brush's."""
        new: dict[int, int] = {}
        for id_ in done.ids:
            if id_ >= fresh:
                was = done.before[(done.after == id_) & (done.before > 0)]
                number = self._annotating.label_edits.cell_class()
                if was.size:
                    number = class_of.get(most_common(was), 1)
                if number > 1:
                    new[id_] = number
        if new:
            record_classes(self._store, image_id, new)
