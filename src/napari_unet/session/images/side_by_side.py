"""The open images side by side, or in their own places again."""

from __future__ import annotations

from math import ceil, sqrt
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from psygnal import Signal

from napari_unet.session.images.navigation import zoom_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_unet.session.images.image_list import ImageList

# Gap between two images, as a share of the largest.
_GAP = 0.05


class SideBySide:
    """Moves each image with the layers on it to its own place.

    Meanwhile a press on an image makes it the current one: else a brush of another
    image would paint nothing there, and say nothing.

    napari's own grid gives each layer, or each fixed number of layers, a place: an
    image and its annotation would be separated as soon as one has cells and another has
    none.
    """

    changed = Signal()
    """It was switched on or off."""

    def __init__(self, viewer: ViewerModel, images: ImageList) -> None:
        self._viewer, self._images = viewer, images
        self.shown = False
        # where the first layer of each image was, (y, x): those that come later lie on
        # it, and one that is opened again was not moved
        self._home: WeakKeyDictionary[Layer, NDArray[np.float64]] = WeakKeyDictionary()
        images.attached.connect(self._on_attached)

    def set_shown(self, shown: bool) -> None:
        """Put the open images side by side, or back in place."""
        self._put_back()
        self.shown = shown
        self._listen(shown)
        every = [image.id for image in self._images.opened()]
        if shown:
            self._arrange(every)
            self._images.show_all()
            zoom_to(self._viewer, [la for i in every for la in self._images.layers(i)])
        elif (current := self._images.current) is not None:
            self._images.set_current(current.id)
            zoom_to(self._viewer, self._images.layers(current.id))
        self.changed.emit()

    def close(self) -> None:
        """Put everything back and stop following the images."""
        self._put_back()
        self._images.attached.disconnect(self._on_attached)
        self._listen(False)

    def _arrange(self, ids: list[str]) -> None:
        """Move the images into a grid that is about square, line by line."""
        if not ids:
            return
        firsts = [self._images.layers(i)[0] for i in ids]
        sizes = [_extent(layer) for layer in firsts]
        step = np.max([high - low for low, high in sizes], axis=0) * (1 + _GAP)
        columns = ceil(sqrt(len(ids)))
        for number, (first, (low, _)) in enumerate(zip(firsts, sizes, strict=True)):
            place = np.array(divmod(number, columns)) * step
            self._home[first] = np.array(first.translate[-2:])
            self._move(first, place - low)

    def _move(self, first: Layer, by: NDArray[np.float64]) -> None:
        """Move the first layer of an image with all that belongs to the image."""
        id_ = self._images.id_of(first)
        for layer in self._viewer.layers:
            if layer is first or (id_ is not None and self._images.id_of(layer) == id_):
                # rows and columns are the last axes of all layers
                layer.translate = [*layer.translate[:-2], *(layer.translate[-2:] + by)]

    def _put_back(self) -> None:
        for first, home in list(self._home.items()):
            self._move(first, home - first.translate[-2:])
        self._home.clear()

    def _listen(self, on: bool) -> None:
        callbacks = self._viewer.mouse_drag_callbacks
        if on and self._on_press not in callbacks:
            callbacks.append(self._on_press)
        elif not on and self._on_press in callbacks:
            callbacks.remove(self._on_press)

    def _on_press(self, _viewer: ViewerModel, event: Any) -> None:
        if event.button != 1:
            return
        under = [
            image.id
            for image in self._images.opened()
            if _holds(self._images.layers(image.id)[0], event.position)
        ]
        current = self._images.current
        if under and (current is None or current.id not in under):
            # napari asks the active layer next: its brush paints from here on
            self._images.set_current(under[0])

    def _on_attached(self, _id: str) -> None:
        if self.shown:
            self.set_shown(True)


def _extent(layer: Layer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lower and the upper corner (y, x) in the world."""
    low, high = np.asarray(layer.extent.world)[:, -2:]
    return low, high


def _holds(layer: Layer, position: Sequence[float]) -> bool:
    """Whether a point of the world is in a layer, as seen along the other axes."""
    low, high = _extent(layer)
    return bool(np.all((low <= position[-2:]) & (position[-2:] <= high)))
