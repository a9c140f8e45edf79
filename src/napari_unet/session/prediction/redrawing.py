"""Layers drawn anew while pixels stream in, so seldom that napari stays smooth."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

from napari_unet.session.images.layers import place_in_view

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_unet.core.jobs import Place

# Five times per second look continuous for tiles; and where one drawing is slow, at
# least this many times its duration is left to everything else.
_INTERVAL_S = 0.2
_REST = 5.0


@dataclass(slots=True)
class _Pace:
    """When a layer was drawn last, how long that took, and what changed since."""

    drawn: float = float("-inf")
    took: float = 0.0
    changed: set[Place] = field(default_factory=set)

    def is_due(self, now: float) -> bool:
        return now - self.drawn >= max(_INTERVAL_S, _REST * self.took)


class Redrawing:
    """Redraws the layers of one image.

    Parameters
    ----------
    viewer : ViewerModel
    axes : str
        A letter for each axis of the layers.
    """

    def __init__(self, viewer: ViewerModel, axes: str) -> None:
        self._viewer = viewer
        self._axes = axes
        self._paces: dict[str, _Pace] = {}

    def note(self, key: str, layer: Layer | None, place: Place) -> None:
        """Draw a layer if it is due; else remember that a plane of it changed.

        Parameters
        ----------
        key : str
            Stands for the layer, also when it was deleted and made again.
        layer : Layer or None
        place : (t, z)
            z is None where a whole volume changed.
        """
        pace = self._paces.setdefault(key, _Pace())
        pace.changed.add(place)
        if pace.is_due(perf_counter()):
            self.draw(key, layer)

    def draw(self, key: str, layer: Layer | None) -> None:
        """Draw a layer now if any plane of it that changed is in view."""
        pace = self._paces.setdefault(key, _Pace())
        changed, pace.changed = pace.changed, set()
        if layer is None or not layer.visible or not changed:
            # napari reads a layer anew when it is made visible
            return
        if not self.in_view(layer, changed):
            # ... and when a slider moves
            return
        started = perf_counter()
        layer.refresh(thumbnail=False, highlight=False, extent=False)
        pace.drawn = perf_counter()
        pace.took = pace.drawn - started

    def in_view(self, layer: Layer, places: Collection[Place]) -> list[Place]:
        """Return those planes and volumes of a layer that the viewer shows."""
        if not places:
            return []
        seen_t, seen_z = place_in_view(self._viewer, layer, self._axes)
        any_t = self._is_displayed(layer, "t")
        any_z = self._is_displayed(layer, "z")
        return [
            (t, z)
            for t, z in places
            if (any_t or t == seen_t) and (any_z or z is None or z == seen_z)
        ]

    def _is_displayed(self, layer: Layer, axis: str) -> bool:
        """Whether all of an axis is seen: in 3-D, or with the axes rolled."""
        if axis not in self._axes:
            return False
        dims: Any = self._viewer.dims
        # a layer's axes are the last of the viewer's
        return dims.ndim - layer.ndim + self._axes.index(axis) in dims.displayed
