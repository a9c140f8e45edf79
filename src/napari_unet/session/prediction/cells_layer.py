"""The layer of an image in which one sees what a network finds, whichever is newest."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_unet.core.cells.label_colours import rgba
from napari_unet.core.cells.neighbour_colours import NeighbourColours
from napari_unet.session.images import layers as roles
from napari_unet.session.images.outlines import draw_outlines

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from napari.components import ViewerModel
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_unet.core.cells.objects import ObjectClass
    from napari_unet.core.jobs import Place
    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.prediction.results import ResultLayers

Seen = Literal["classes", "cells"]
"""Pixels of a class, or cells each with an id."""

# Of cells' outlines: seen on black, grey and white, and distinct for the colour-blind
# (Okabe and Ito 2008, and violet).
OUTLINES = ("#f0e442", "#d55e00", "#56b4e9", "#cc79a7", "#9467ff", "#009e73")
# Ids up to which each has its own place in a cycle of colours, which napari shows from
# a table of 16 bits; and the shortest table, so that few are made.
_LAST_IN_CYCLE, _SHORTEST = 2**16 - 2, 512
# Cells come a moment after the last tile: where that is the only one, its classes would
# only flash up, and each change of layers is a picture of the whole window.
_MOMENT_S = 0.5


class CellsLayer:
    """One Labels layer of outlines, shared by all results of an image.

    It shows the classes of a prediction as tiles stream in, the cells once they are
    found, or the live preview of a training. Whose results it shows is in its note.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        image: ProjectImage,
        attributes: Callable[[], dict[str, Any]],
    ) -> None:
        self._viewer, self._image, self._attributes = viewer, image, attributes

    @property
    def layer(self) -> Labels | None:
        """The layer; None if it was not made, or was deleted."""
        found = roles.find(self._viewer, "cells", self._image.id)
        return found[-1] if found else None

    def belongs_to(self, run: str) -> bool:
        """Whether the layer is there and shows the results of this run."""
        layer = self.layer
        return layer is not None and roles.noted(layer).get("run") == run

    def seen(self, run: str) -> Seen | None:
        """Return what it shows of a run's results; None if it shows another run's."""
        layer = self.layer
        if layer is None or not self.belongs_to(run):
            return None
        seen: Seen | None = roles.noted(layer).get("shows")
        return seen

    def show(
        self,
        run: str,
        seen: Seen,
        pixels: Any,
        colours: Any,
        what: str,
        kinds: Sequence[ObjectClass],
        parents: Mapping[int, int] | None,
    ) -> None:
        """Show an array in some colours; the layer is made if it is not there.

        `what` stands in its name. `kinds` are the classes that the labels stand for,
        from 1, or the only one that cells have; `parents` are of cells that are tracks,
        None if the ids are none.
        """
        layer = self.layer
        name = roles.name_for(self._image.name, what)
        visible = layer is None or layer.visible
        if layer is None:
            layer = self._add(pixels, name)
        # napari draws nothing of a hidden layer: all changes are one picture
        roles.set_visible(layer, False)
        if layer.data is not pixels:
            layer.data = pixels
        layer.colormap = colours
        # what napari says of a pixel under the mouse
        layer.features = (
            {
                "index": np.arange(len(kinds) + 1),
                "class": np.array(["", *(kind.name for kind in kinds)]),
            }
            if seen == "classes"
            else {}
        )
        roles.set_visible(layer, visible)
        noted = roles.noted(layer)
        if layer.name == noted.get("name", name):
            layer.name = name  # else people gave it another
            noted["name"] = layer.name
        # for napari's own Save
        noted.update(run=run, shows=seen, parents=parents, classes=list(kinds))

    def set_visible(self, wanted: bool) -> None:
        """Show or hide it, unless the user did the opposite since."""
        layer = self.layer
        if layer is None:
            return
        noted = roles.noted(layer)
        if layer.visible != noted.get("left", layer.visible):
            noted["chosen"] = layer.visible != wanted
        if not noted.get("chosen"):
            roles.set_visible(layer, wanted)
        noted["left"] = layer.visible

    def _add(self, pixels: Any, name: str) -> Labels:
        with roles.selection_kept(self._viewer):
            layer = self._viewer.add_labels(
                pixels,
                **self._attributes(),
                name=name,
                metadata=roles.note("cells", self._image.id),
                opacity=1.0,
                visible=False,
            )
            draw_outlines(layer)
            lock(layer)
            roles.put_in_order(self._viewer, layer)
        return layer


def lock(layer: Labels) -> None:
    """Keep napari's brush off a layer of results, for good.

    It would paint into the file of the results what the next threshold takes away; what
    `session.editing` does to cells is kept.
    """
    layer.editable = False
    # napari unlocks it when other axes are shown, or volumes
    layer.events.editable.connect(_lock_again)


def _lock_again(event: Any) -> None:
    if event.source.editable:
        event.source.editable = False


class CellColours:
    """Colours of cells, different for those that touch.

    A cell keeps its colour under another id, as after a moved threshold. Beyond 65,534
    colours come round, and those that touch may have the same.
    """

    def __init__(self) -> None:
        # pairs of neighbours, of each plane or volume
        self._neighbours: dict[Place, NDArray[np.int64]] = {}
        self._all = NeighbourColours(len(OUTLINES), len(OUTLINES))
        # of planes or volumes that were found anew, until all ids are linked
        self._of: dict[Place, NeighbourColours] = {}
        self._shown = self._all
        self._highest = 0
        self._told_apart: list[NDArray[np.int64]] = []

    @property
    def places(self) -> set[Place]:
        """The planes or volumes whose cells are known."""
        return {*self._neighbours, *self._of}

    def note(self, place: Place, neighbours: NDArray[np.int64]) -> None:
        """Take in which cells of a plane or volume are neighbours now."""
        self._neighbours[place] = neighbours

    def add(self, place: Place, neighbours: NDArray[np.int64]) -> None:
        """Take in more neighbours, of cells that people edited."""
        known = self._neighbours.get(place)
        pairs = [neighbours] if known is None else [known, neighbours]
        self._neighbours[place] = np.concatenate(pairs)

    def rename(self, was: Mapping[Place, NDArray[np.int64]]) -> None:
        """Go on with the colours of cells that have other ids in some places now.

        `was` are their ids before by those of now, 0 of new cells.
        """
        # slices of a volume that was found as a whole are linked one by one
        renamed = {
            (t, z): self._numbers([(t, z), (t, None)]).renamed(ids)
            for (t, z), ids in was.items()
        }
        for t, z in was:
            for place in ((t, z), (t, None)):
                self._of.pop(place, None)
                self._neighbours.pop(place, None)
        self._of.update(renamed)

    def join(self, in_view: Collection[Place]) -> None:
        """Give each cell one colour in all places, now that its id is the same there.

        Cells in view keep the colour that they have.
        """
        if not self._of:
            return
        self._all = NeighbourColours(len(OUTLINES), len(OUTLINES))
        for place in sorted(self._of, key=lambda place: place in in_view):
            self._all.other.update(self._of[place].other)
        self._of.clear()

    def renew(self, places: Collection[Place], highest: int) -> bool:
        """Update the colours of cells in view; return whether any changed.

        `highest` is the largest id.
        """
        highest = min(highest, _LAST_IN_CYCLE)
        changed = highest > self._highest
        if changed:
            doubled = max(1 << highest.bit_length(), _SHORTEST)
            self._highest = min(doubled, _LAST_IN_CYCLE)
        numbers = self._numbers(places)
        if numbers is not self._shown:
            changed |= numbers.other != self._shown.other
            self._shown = numbers
        found = [self._neighbours[p] for p in places if p in self._neighbours]
        if [id(f) for f in found] != [id(f) for f in self._told_apart]:
            self._told_apart = found
            changed |= bool(found) and numbers.separate(np.concatenate(found))
        return changed

    def table(self) -> NDArray[np.float32]:
        """Return the colours by id, shape (ids, 4); the first is no cell's."""
        ids = np.arange(max(self._highest, _SHORTEST) + 1)
        table = rgba(OUTLINES)[self._shown.of(ids)]
        table[0] = 0
        return table

    def _numbers(self, places: Collection[Place]) -> NeighbourColours:
        return next((self._of[p] for p in places if p in self._of), self._all)


class ClassesOrCells:
    """Shows classes while tiles stream in, cells once they are found.

    Only as long as the layer belongs to these results. Regions are no cells: a model
    that finds nothing else goes on showing its classes.
    """

    def __init__(self, results: ResultLayers) -> None:
        self._results = results
        self._found: dict[Place, Literal["shown", "put aside"]] = {}
        # when to show the classes of a plane, unless its cells are found before
        self._classes_from: dict[Place, float] = {}

    def growing(self, places: Collection[Place]) -> None:
        """Note that planes or volumes are being predicted; they show the old cells."""
        for place in places:
            self._found.pop(place, None)
            self._classes_from.pop(place, None)

    def tile(self, place: Place, *, last: bool) -> None:
        """Show classes soon: a tile is there; it may be the `last` of its field."""
        moment = _MOMENT_S if last else 0
        self._classes_from.setdefault(place, monotonic() + moment)
        self.update()

    def found(self, place: Place) -> None:
        """Show the cells of a plane or volume, or all that it will have."""
        self._classes_from.pop(place, None)
        self._found[place] = "shown"
        self.update()

    def put_aside(self, place: Place) -> None:
        """Hide the cells of a plane, which are annotation now."""
        self._found[place] = "put aside"
        self.update()

    def update(self) -> None:
        """Show what is due for the plane in view; nothing changes if none is known."""
        results = self._results
        place = results.place_in_view() if results.in_cells_layer else None
        if place is None:
            return
        either = (place, (place[0], None))
        found = {self._found[p] for p in either if p in self._found}
        if any(self._classes_from.get(p, float("inf")) <= monotonic() for p in either):
            results.see("classes", visible=True)
        elif "put aside" in found:
            results.see(None, visible=False)
        elif found:
            results.see("cells" if results.has_cells else "classes", visible=True)
            results.colour_cells()
