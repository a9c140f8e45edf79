"""Classes while tiles stream in, cells once they are found: which layer is shown.

Regions are no cells: where a model finds any, its classes go on being shown.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari_unet.core.jobs import Place
    from napari_unet.session.prediction.results import ResultLayers

# Cells come a moment after the last tile: where that is the only one, its classes would
# only flash up, and each change of layers is a picture of the whole window.
_MOMENT_S = 0.5


class ClassesOrCells:
    """Shows one of two layers, or both, unless people chose themselves.

    Parameters
    ----------
    results : ResultLayers
    """

    def __init__(self, results: ResultLayers) -> None:
        self._results = results
        self._found: set[Place] = set()
        # when the classes of a plane are to be seen, unless its cells come before
        self._from: dict[Place, float] = {}
        self._aside: set[Place] = set()
        # as they were left here: who finds them otherwise knows that people chose
        self._left: dict[Literal["classes", "cells"], bool] = {}
        self.chosen_by_people: set[Literal["classes", "cells"]] = set()

    def growing(self, places: Collection[Place]) -> None:
        """Planes or volumes are to be predicted: what they show stays until then."""
        self._found.difference_update(places)
        self._aside.difference_update(places)
        for place in places:
            self._from.pop(place, None)

    def tile(self, place: Place, *, last: bool) -> None:
        """A tile of a plane or volume came, and maybe others are to follow."""
        self._from.setdefault(place, monotonic() + _MOMENT_S * last)
        self.look()

    def found(self, place: Place) -> None:
        """The cells of a plane or volume are there, or all that there will be."""
        self._from.pop(place, None)
        self._aside.discard(place)
        self._found.add(place)
        self.look()

    def put_aside(self, place: Place) -> None:
        """The cells of a plane are annotation now: show that, not both."""
        self._aside.add(place)
        self.look()

    def make_way(self) -> None:
        """Something newer is to be seen: show neither, until there are other cells."""
        self._aside.update(self._found)
        self.look()

    def look(self) -> None:
        """Choose for what is in view now; nothing changes where nothing is known."""
        place = self._results.place_in_view()
        if place is None:
            return
        either = {place, (place[0], None)}
        if any(self._from.get(p, float("inf")) <= monotonic() for p in either):
            self._show(classes=True, cells=False)
        elif either & self._aside:
            self._show(classes=False, cells=False)
        elif either & self._found:
            self._show(classes=self._results.has_regions, cells=True)

    def _show(self, classes: bool, cells: bool) -> None:
        wanted: dict[Literal["classes", "cells"], bool] = {
            "classes": classes,
            "cells": cells,
        }
        for what, visible in wanted.items():
            layer = self._results.layer(what)
            if layer is None:
                continue
            if self._left.get(what, layer.visible) != layer.visible:
                self.chosen_by_people.add(what)
            if what not in self.chosen_by_people and layer.visible != visible:
                layer.visible = visible
            self._left[what] = layer.visible
