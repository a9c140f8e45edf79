"""Where images of a project overlap, only the one that is worked on is visible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Layer


class LayerIsolation:
    """Hides layers of other images that overlap the current one, and shows them again.

    Layers that people hid themselves stay hidden. Images side by side, also in napari's
    grid, are left as they are.

    `owner` returns the id of the image that a layer belongs to, None for other layers.
    """

    def __init__(
        self, viewer: ViewerModel, owner: Callable[[Layer], str | None]
    ) -> None:
        self._viewer = viewer
        self._owner = owner
        self._hidden: WeakSet[Layer] = WeakSet()

    def turn_to(self, image_id: str) -> None:
        """Show the layers of an image, and hide those of others that overlap them."""
        owned = [(layer, self._owner(layer)) for layer in self._viewer.layers]
        own = [layer for layer, owner in owned if owner == image_id]
        for layer in own:
            if layer in self._hidden:
                self._hidden.discard(layer)
                layer.visible = True
        # napari before 0.9 has no canvas
        grid = getattr(self._viewer, "canvas", self._viewer).grid
        if grid.enabled or not own:
            return
        for layer, owner in owned:
            other = owner is not None and owner != image_id
            if other and layer.visible and any(_overlap(layer, o) for o in own):
                self._hidden.add(layer)
                layer.visible = False

    def show_all(self) -> None:
        """Show again what was hidden."""
        for layer in self._viewer.layers:
            if layer in self._hidden:
                self._hidden.discard(layer)
                layer.visible = True


def _overlap(one: Layer, other: Layer) -> bool:
    """Whether two layers overlap in y and x."""
    (low, high), (start, stop) = _corners(one), _corners(other)
    return bool(np.all((low < stop) & (start < high)))


def _corners(layer: Layer) -> Any:
    return np.asarray(layer.extent.world)[:, -2:]
