"""A tool in the canvas in place of napari's: takes clicks and strokes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_unet.session.editing.tools import Tool

# Pixels of the screen that the mouse may move in a click.
_STILL = 4


class CanvasTool:
    """Takes clicks and strokes of the left button in the canvas.

    Meanwhile all tools of the active layer are off, whichever layer that is. With a
    tool that draws, dragging does not move the canvas.
    """

    drawn = Signal(list)
    """Path of the mouse in world coordinates; one point if it was a click."""
    traced = Signal(list)
    """Points (x, y) of the canvas of the stroke so far; none when it ended."""
    stopped = Signal()
    """Another tool was chosen in napari."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._busy = False
        self._followed: Layer | None = None
        self._was_visible = True
        self.tool: Tool | None = None

    def take(self, tool: Tool | None) -> None:
        """Activate a tool; None leaves the mouse to napari."""
        before, self.tool = self.tool, tool
        callbacks = self._viewer.mouse_drag_callbacks
        active = self._viewer.layers.selection.events.active
        if tool is not None and before is None:
            callbacks.append(self._on_press)
            active.connect(self._on_active)
        elif tool is None and before is not None:
            callbacks.remove(self._on_press)
            active.disconnect(self._on_active)
            self._follow(None)
        if tool is not None:
            self._on_active()

    @contextmanager
    def own_changes(self) -> Iterator[None]:
        """Keep the tool while a layer is made or painted, which activates its brush."""
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before
            if self.tool is not None:
                self._on_active()

    def _rest(self) -> None:
        """Switch off the tools of the active layer, or a click would paint as well."""
        layer = self._followed
        if layer is not None and self.tool is not None:
            before, self._busy = self._busy, True
            layer.mode = "pan_zoom"
            layer.mouse_pan = not self.tool.draws
            self._busy = before

    def _follow(self, layer: Layer | None) -> None:
        if self._followed is not None:
            self._followed.events.mode.disconnect(self._on_mode)
            self._followed.events.visible.disconnect(self._on_visible)
            if self._followed.mode == "pan_zoom":
                self._followed.mouse_pan = True
        self._followed = layer
        if layer is not None:
            self._was_visible = layer.visible
            layer.events.mode.connect(self._on_mode)
            layer.events.visible.connect(self._on_visible)

    def _on_active(self, _: Any = None) -> None:
        active = self._viewer.layers.selection.active
        if active is not self._followed:
            self._follow(active)
        self._rest()

    def _on_mode(self, event: Any) -> None:
        layer = event.source
        if self._busy or layer.mode == "pan_zoom":
            return
        if layer.visible and not self._was_visible:
            # a layer that is shown again has the mode from before it was hidden: the
            # user did not choose it
            self._rest()
        else:
            self.stopped.emit()

    def _on_visible(self, event: Any) -> None:
        self._was_visible = event.source.visible

    def _on_press(self, _viewer: ViewerModel, event: Any) -> Iterator[None]:
        if event.button != 1 or self.tool is None:
            return
        # napari asks the layer next: whatever tool it has by now, this is ours
        self._on_active()
        positions, places = [tuple(event.position)], [np.array(event.pos)]
        yield
        while event.type == "mouse_move":
            positions.append(tuple(event.position))
            places.append(np.array(event.pos))
            if self.tool is not None and self.tool.draws:
                self.traced.emit(places)
            yield
        self.traced.emit([])
        still = np.abs(np.array(places) - places[0]).max() <= _STILL
        if self.tool is not None and (still or self.tool.draws):
            self.drawn.emit(positions[:1] if still else positions)
