"""Predicted cells that become annotation with a click."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel

    from napari_unet.session.workspace import Workspace


class CellPicker:
    """Takes the cells that are clicked on in the canvas; dragging still moves it.

    Parameters
    ----------
    workspace : Workspace
    """

    taken = Signal(int)
    """So many cells became annotation."""
    failed = Signal(str)

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.enabled = False

    def set_enabled(self, enabled: bool) -> None:
        """Begin or end to take cells."""
        if enabled == self.enabled:
            return
        self.enabled = enabled
        callbacks = self._workspace.viewer.mouse_drag_callbacks
        if enabled:
            callbacks.append(self._on_press)
            self._rest_brush()
        elif self._on_press in callbacks:
            callbacks.remove(self._on_press)

    def take_at(self, position: tuple[float, ...]) -> None:
        """Take the cell at a point of the world, if there is one."""
        image = self._workspace.images.current
        results = self._workspace.prediction.results.get(image.id) if image else None
        layer = results.any_layer() if results is not None else None
        if image is None or results is None or layer is None:
            return
        point = np.round(layer.world_to_data(position)).astype(int)
        cells = results.files.array("cells")
        if np.any(point < 0) or np.any(point >= cells.shape):
            return
        id_ = int(cells[tuple(point)])
        if id_ == 0:
            return
        where = dict(zip(image.annotation_axes, point.tolist(), strict=True))
        self.take(where.get("t", 0), where.get("z", 0), (id_,))

    def take(self, t: int, z: int, ids: tuple[int, ...] | None) -> None:
        """Take cells of a slice of the image in view; all of them if ids is None."""
        image = self._workspace.images.current
        results = self._workspace.prediction.results.get(image.id) if image else None
        if image is None or results is None:
            return
        plane = results.plane("cells", t, z)
        try:
            number = self._workspace.annotating.use_as_annotation(
                image.id, plane, t, z, ids
            )
        except ValueError as error:
            self.failed.emit(str(error))
            return
        if ids is None:
            results.visibility.put_aside((t, z))
        self.taken.emit(number)

    def _rest_brush(self) -> None:
        """A click must not paint as well."""
        active = self._workspace.viewer.layers.selection.active
        if active is not None:
            active.mode = "pan_zoom"

    def _on_press(self, _viewer: ViewerModel, event: Any) -> Iterator[None]:
        if event.button != 1:
            return
        yield
        moved = False
        while event.type == "mouse_move":
            moved = True
            yield
        if not moved:
            self.take_at(event.position)
