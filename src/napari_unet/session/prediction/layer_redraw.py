"""Redrawing layers whose pixels a worker changes, a few times per second."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from napari_unet.session.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from napari.layers import Layer

    from napari_unet.core.jobs import Place

# Five times per second look continuous for tiles; and where one drawing is slow, at
# least this many times its duration is left to everything else.
_INTERVAL_S = 0.2
_REST = 5.0


class LayerRedraw:
    """Draws the layers of one array after some of its pixels changed.

    `layers` returns the visible layers that show the array, `in_view` those of some
    planes or volumes of a layer that the viewer shows.
    """

    def __init__(
        self,
        layers: Callable[[], list[Layer]],
        in_view: Callable[[Layer, Collection[Place]], list[Place]],
    ) -> None:
        self._layers, self._in_view = layers, in_view
        self._pause = Throttle(_INTERVAL_S)
        self.changed: set[Place] = set()
        """Planes and volumes that changed since the last drawing."""

    def note(self, place: Place) -> None:
        """Draw a plane or volume that changed, now or with the next `flush`."""
        self.changed.add(place)
        if self._pause.due:
            self.flush()

    def flush(self) -> None:
        """Draw now if any plane or volume that changed is in view."""
        changed, self.changed = self.changed, set()
        if not changed:
            return
        # napari reads a layer anew when it is made visible, and when a slider moves
        for layer in self._layers():
            if self._in_view(layer, changed):
                started = monotonic()
                layer.refresh(thumbnail=False, highlight=False, extent=False)
                self._pause.seconds = max(_INTERVAL_S, _REST * (monotonic() - started))
                self._pause.restart()
