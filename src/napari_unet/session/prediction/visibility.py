"""Classes while tiles stream in, cells once they are found: which layer is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari_unet.core.jobs import Place
    from napari_unet.session.prediction.results import ResultLayers


class ClassesOrCells:
    """Shows one of two layers, unless people chose themselves.

    Parameters
    ----------
    results : ResultLayers
    """

    def __init__(self, results: ResultLayers) -> None:
        self._results = results
        self._found: set[Place] = set()
        self._growing: set[Place] = set()
        self._aside: set[Place] = set()
        # as they were left here: who finds them otherwise knows that people chose
        self._left: dict[Literal["classes", "cells"], bool] = {}
        self.chosen_by_people: set[Literal["classes", "cells"]] = set()

    def growing(self, places: Collection[Place]) -> None:
        """The classes of planes or volumes are streaming in."""
        self._found.difference_update(places)
        self._aside.difference_update(places)
        self._growing.update(places)
        self.look()

    def found(self, place: Place) -> None:
        """The cells of a plane or volume are there."""
        self._growing.discard(place)
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
        if either & self._growing:
            self._show(classes=True, cells=False)
        elif either & self._aside:
            self._show(classes=False, cells=False)
        elif either & self._found:
            self._show(classes=False, cells=True)

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
