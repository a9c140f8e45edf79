"""Predicted cells that become annotation with a click."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_unet.session.workspace import Workspace

# Pixels of the screen that a hand moves the mouse in a click.
_STILL = 4


class CellPicker:
    """Picks the cells that are clicked on in the canvas; dragging still moves it.

    While it does, all tools of the active layer rest, whichever layer that is.
    """

    picked = Signal(int)
    """So many cells became annotation."""
    failed = Signal(str)
    stopped = Signal()
    """Another tool was chosen, with which a click does something else."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._busy = False
        self._followed: Layer | None = None
        self.enabled = False

    def set_enabled(self, enabled: bool) -> None:
        """Begin or end to pick cells."""
        if enabled == self.enabled:
            return
        self.enabled = enabled
        callbacks = self._workspace.viewer.mouse_drag_callbacks
        active = self._workspace.viewer.layers.selection.events.active
        if enabled:
            callbacks.append(self._on_press)
            active.connect(self._on_active)
            self._on_active()
        else:
            callbacks.remove(self._on_press)
            active.disconnect(self._on_active)
            self._follow(None)

    def pick_at(self, position: tuple[float, ...]) -> None:
        """Pick the cell at a point of the world, if there is one."""
        results = self._workspace.prediction.results_in_view()
        layers = results.layers() if results is not None else []
        if results is None or not layers:
            return
        point = np.round(layers[0].world_to_data(position)).astype(int)
        cells = results.files.arrays["cells"]
        if np.any(point < 0) or np.any(point >= cells.shape):
            return
        if id_ := int(cells[tuple(point)]):
            at = dict(zip(results.image.annotation_axes, point.tolist(), strict=True))
            self.pick(at.get("t", 0), at.get("z", 0), (id_,))

    def pick(self, t: int, z: int, ids: tuple[int, ...] | None) -> None:
        """Pick cells of a slice of the image in view; all of them if ids is None."""
        results = self._workspace.prediction.results_in_view()
        if results is None:
            return
        image_id, plane = results.image.id, results.plane("cells", t, z)
        edits = self._workspace.annotating.label_edits
        try:
            with self._own_changes():
                number = edits.use_as_annotation(image_id, plane, t, z, ids)
        except ValueError as error:
            self.failed.emit(str(error))
            return
        annotation = self._workspace.images.annotation_layer(image_id)
        if annotation is not None:
            annotation.visible = True
        if ids is None:
            results.visibility.put_aside((t, z))
        self.picked.emit(number)

    @contextmanager
    def _own_changes(self) -> Iterator[None]:
        """A layer that is made or painted in takes up the brush: not while picking."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
            if self.enabled:
                self._rest()

    def _rest(self) -> None:
        """A click must not paint as well."""
        if self._followed is not None:
            self._followed.mode = "pan_zoom"

    def _follow(self, layer: Layer | None) -> None:
        if self._followed is not None:
            self._followed.events.mode.disconnect(self._on_mode)
        self._followed = layer
        if layer is not None:
            layer.events.mode.connect(self._on_mode)

    def _on_active(self, _: Any = None) -> None:
        self._follow(self._workspace.viewer.layers.selection.active)
        self._rest()

    def _on_mode(self, event: Any) -> None:
        if not self._busy and event.source.mode != "pan_zoom":
            self.stopped.emit()

    def _on_press(self, _viewer: ViewerModel, event: Any) -> Iterator[None]:
        if event.button != 1:
            return
        position, start = event.position, np.array(event.pos)
        yield
        moved = False
        while event.type == "mouse_move":
            moved = moved or bool(np.abs(event.pos - start).max() > _STILL)
            yield
        if not moved:
            self.pick_at(position)
