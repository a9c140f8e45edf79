"""Results of a model on an image: the arrays and the layers that show them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from weakref import ref

from napari_unet.core.annotation.annotations import PALETTE, cell_classes
from napari_unet.core.cells.objects import ObjectClass
from napari_unet.core.images.image import Field, Image
from napari_unet.session.images import layers as roles
from napari_unet.session.prediction.cell_state import CellState
from napari_unet.session.prediction.cells_layer import (
    CellColours,
    CellsLayer,
    ClassesOrCells,
    lock,
)
from napari_unet.session.prediction.layer_redraw import LayerRedraw
from napari_unet.session.prediction.result_files import ResultFiles, ResultKind

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    import numpy as np
    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import ClassInfo
    from napari_unet.core.cells.tracking import Tracks
    from napari_unet.core.images.array_reference import ImageReference
    from napari_unet.core.jobs import Place
    from napari_unet.core.settings import Prediction
    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.prediction.cells_layer import Seen

Tracked = Literal["tracks"]
"""The tracks of cells."""
OnRequest = Literal["probability", "classes", "entropy"]
"""A kind of result that gets layers of its own on request."""
# A kind, and for probabilities the class number from 1, for others 0.
_Key = tuple[ResultKind, int]

LIVE_RUN = "preview"
"""In place of a model's file: the live previews of any training."""

ON_REQUEST: tuple[OnRequest, ...] = ("probability", "classes", "entropy")
_NAMES = {"classes": "Classes", "entropy": "Uncertainty", "tracks": "Tracks"}


class ResultLayers:
    """Files of the prediction of one image, and the layers in which they are seen.

    All results of an image share one layer, see `CellsLayer`: it shows those that
    called `claim` last. Other layers are made and removed on request. A layer that the
    user deletes is not made again until it is claimed or requested.

    They stand where the layer of the image does. `classes` are in the foreground, with
    their colours if they are `ProjectClass`; `scratch` is as of `ResultFiles`. `run` is
    what made the results: a model, or `LIVE_RUN`, which finds no cells; `label` is in
    the layers' names, where results of another run are there.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        image_layer: Layer,
        image: ProjectImage,
        classes: tuple[ClassInfo, ...],
        scratch: Path,
        run: str,
        label: str = "",
    ) -> None:
        self.image, self.classes, self.run, self.label = image, classes, run, label
        # of the probabilities: c first, then those of the image
        self.axes = "c" + image.annotation_axes
        # whether there are classes of cells, which become objects, and of regions,
        # which are seen and kept as classes
        self.has_cells = run != LIVE_RUN and bool(cell_classes(classes))
        self.has_regions = len(cell_classes(classes)) < len(classes)
        self.cells = CellState()
        # where a worker finds the pixels, once they were predicted
        self.pixels: ImageReference | None = None
        # how it was predicted last
        self.settings: Prediction | None = None
        # when the model was written, as it is now and as it was when it predicted all
        # of a plane or volume: it may have learnt since
        self.written = 0.0
        self.made: dict[Place, float] = {}
        # whether there are tiles that were not exported
        self.unexported = False
        self._viewer = viewer
        self._image_layer = ref(image_layer)
        self._attributes: dict[str, Any] = {}
        self.files = ResultFiles(scratch, image.annotation_shape, len(classes) + 1)
        self._keys: list[_Key] = [
            (kind, number)
            for kind in self.files
            for number in (range(1, len(classes) + 1) if kind == "probability" else [0])
        ]
        self._redraws = {
            key: LayerRedraw(partial(self._drawn, key), self._places_in_view)
            for key in self._keys
        }
        self.cells_layer = CellsLayer(viewer, image, lambda: self.attributes)
        self.colours = CellColours()
        self._regions_shown = False
        self._waiting: list[_Key] = []
        self.visibility = ClassesOrCells(self)
        self._take_over()

    @property
    def attributes(self) -> dict[str, Any]:
        """What puts a layer of the same axes onto the image, wherever that is now."""
        layer, image = self._image_layer(), self.image
        if layer is not None:
            self._attributes = roles.attributes_like(
                layer, image.axes, image.annotation_axes, image.level
            )
        return self._attributes

    @property
    def in_cells_layer(self) -> bool:
        """Whether the layer that all results of the image share shows these."""
        return self.cells_layer.belongs_to(self.run)

    def claim(self) -> None:
        """Take the layer that all results of the image share, or make it.

        Layers that show other results on request show these instead.
        """
        wanted = []
        for kind in ON_REQUEST:
            others = [
                one
                for one in roles.find(self._viewer, kind, self.image.id)
                if roles.noted(one)["run"] != self.run
            ]
            self._take_away(others)
            wanted += [kind] * bool(others)
        if not self.in_cells_layer:
            self.see("cells" if self.cells.counts else "classes", visible=True)
            self.visibility.update()
        if wanted:
            self.show(*wanted)

    def see(self, kind: Seen | None, *, visible: bool) -> None:
        """Show classes or cells in the layer; whichever it shows, where it is None."""
        if kind is not None and self.cells_layer.seen(self.run) != kind:
            coloured = [(c, colour_of(c, k)) for k, c in enumerate(self.classes)]
            if kind == "classes":
                # a list becomes napari's colormap without importing it here; for a
                # mapping it would compile for two seconds
                colours: Any = ["transparent", *(colour for _, colour in coloured)]
            else:
                self._colour_view()
                colours = self.colours.table()
                coloured = [one for one in coloured if one[0].kind == "cells"]
                coloured *= len(coloured) == 1  # else each cell has a class of its own
            what = "Cells" if self.has_cells else "Regions"
            what = "Preview" if self.run == LIVE_RUN else what
            self.cells_layer.show(
                self.run,
                kind,
                self.files.arrays[kind],
                colours,
                what + self._suffix,
                [ObjectClass(c.name, colour) for c, colour in coloured],
                self.cells.parents,
            )
            if kind == "cells":  # classes may have a layer of their own, too
                self._redraws["cells", 0].changed.clear()
        self.cells_layer.set_visible(visible)

    def colour_cells(self) -> None:
        """Give cells in view that touch different colours."""
        layer = self.layer("cells")
        if layer is not None and self._colour_view():
            # napari reads the pixels anew
            layer.colormap = self.colours.table()
            self._redraws["cells", 0].changed.clear()

    @property
    def _suffix(self) -> str:
        return f" ({self.label})" if self.label else ""

    def _colour_view(self) -> bool:
        seen = self.in_view(self.colours.places)
        highest = max(self.cells.highest, *self.cells.counts.values(), 0)
        return self.colours.renew(seen, highest)

    def neighbours_found(self, place: Place, pairs: NDArray[np.int64]) -> None:
        """Note which cells of a plane or volume touch, and colour them."""
        self.colours.note(place, pairs)
        self.colour_cells()

    def cells_linked(
        self, neighbours_of: Mapping[tuple[int, int], NDArray[np.int64]]
    ) -> None:
        """Take over the ids of cells that were linked through all planes."""
        for place, pairs in neighbours_of.items():
            self.colours.note(place, pairs)
        self.colours.join(self.in_view(self.colours.places))
        self.colour_cells()
        for t in {t for t, _ in self.cells.version}:
            self.refresh(t, None, "cells")

    def layer(self, kind: ResultKind, class_number: int = 0) -> Layer | None:
        """Return a layer in which a kind is seen, None if there is none.

        A probability has the number of its class, 1 for the first in the foreground.
        """
        if self.cells_layer.seen(self.run) == kind:
            return self.cells_layer.layer
        return self._requested(kind, class_number)

    def layers(self) -> list[Layer]:
        """Return all layers that are there; they have the same axes."""
        found = [self._requested(*key) for key in self._keys]
        if self.in_cells_layer:
            found.append(self.cells_layer.layer)
        return [layer for layer in found if layer is not None]

    def plane(self, kind: ResultKind, t: int, z: int) -> Any:
        """Return one plane of an array without c, shape (y, x)."""
        image = Image(self.files.arrays[kind], self.image.annotation_axes)
        return Field(image, t, z).read()[0]

    def shows(self, kind: OnRequest) -> bool:
        """Whether a kind has layers of its own, or is about to have them."""
        return bool(self._found(kind)) or any(k == kind for k, _ in self._waiting)

    def show(self, *kinds: OnRequest) -> None:
        """Make the layers of some kinds that are not there.

        Only the first of them at once, and the rest by `show_next`: napari takes a
        moment for each layer.
        """
        self._waiting += [key for key in self._keys if key[0] in kinds]
        self.show_next()

    def show_next(self) -> None:
        """Make one of the layers that wait, if any."""
        if self._waiting:
            self._make(*self._waiting.pop(0))

    def drop(self, kind: OnRequest) -> None:
        """Remove the layers of a kind; what they showed is kept."""
        self._waiting = [key for key in self._waiting if key[0] != kind]
        self._take_away(self._found(kind))

    def refresh(self, t: int, z: int | None, *kinds: ResultKind) -> None:
        """Draw the layers of some kinds after pixels of a plane or volume changed.

        Only if it is in view, and at most five times per second; what is skipped for
        that reason is drawn by `flush_refresh`.
        """
        for (kind, _), redraw in self._redraws.items():
            if kind in kinds:
                redraw.note((t, z))

    def flush_refresh(self) -> None:
        """Draw what changed and has not been drawn."""
        for redraw in self._redraws.values():
            redraw.flush()

    def note_made(self, place: Place, written: float) -> None:
        """Note when the model was written that predicted a plane or volume.

        0 if it predicted a part only: the rest is as old as before.
        """
        self.made[place] = written or self.made.get(place, written)

    def older(self) -> list[Place]:
        """Return the planes and volumes predicted by an earlier state of the model."""
        return [place for place, made in self.made.items() if made != self.written]

    def pass_to(self, run: str, written: float) -> None:
        """Count as results of another file, which the model has become."""
        for layer in [*self.layers(), *self._found("tracks")]:
            layer.metadata[roles.METADATA_KEY]["run"] = run
        self.run, self.written = run, written

    @property
    def waits_for_drawing(self) -> bool:
        """Whether pixels of what is in view changed that were not drawn yet."""
        return any(self.in_view(redraw.changed) for redraw in self._redraws.values())

    def tile_came(self, place: Place, *, last: bool) -> None:
        """Draw, now or soon, a tile that was written into the arrays."""
        self.unexported = True
        if last and not self.has_cells:
            self.visibility.found(place)
        else:
            self.visibility.tile(place, last=last)
        self.refresh(*place, "classes", "probability", "entropy")

    def cells_found(self, place: Place) -> None:
        """Show cells and classes that were written into the arrays."""
        if self.has_regions:
            self.refresh(*place, "classes")
        if not self.has_cells:
            return
        if self.has_regions and not self._regions_shown:
            # so that neither is overlooked where both are found
            self._regions_shown = True
            self.show("classes")
        redraw = self._redraws["cells", 0]
        redraw.changed.add(place)
        # where cells come into view or change colours, napari draws them for that
        self.visibility.found(place)
        # at once, also right after the slices were linked: someone moves a threshold
        redraw.flush()

    def show_tracks(self, tracks: Tracks | None) -> None:
        """Show the tracks of cells; None removes them.

        A layer that the user deleted is not made again until the next prediction.
        """
        shown = self.cells.parents is not None
        self.cells.parents = None if tracks is None else tracks.parents
        if (cells := self.layer("cells")) is not None:
            roles.noted(cells)["parents"] = self.cells.parents
        found = self._found("tracks")
        if tracks is None or not len(tracks.points):
            for layer in found:
                self._viewer.layers.remove(layer)
            return
        graph = {child: [mother] for child, mother in tracks.parents.items()}
        for layer in found:
            layer.graph = {}  # napari checks it against the data, either alone
            layer.data = tracks.points
            layer.graph = graph
        if found or shown:
            return
        common = self.attributes | self._name_and_metadata("tracks", 0)
        with roles.selection_kept(self._viewer):
            layer = self._viewer.add_tracks(tracks.points, graph=graph, **common)
            roles.put_in_order(self._viewer, layer)

    def place_in_view(self) -> tuple[int, int] | None:
        """Return time point and slice that the viewer shows; None without any layer."""
        axes = self.image.annotation_axes
        for layer in self.layers():
            return roles.place_in_view(self._viewer, layer, axes)
        return None

    def cells_in_view(self) -> int | None:
        """Return how many cells are in the slice in view, or its volume, if known."""
        place, counts = self.place_in_view(), self.cells.counts
        if place is None:
            return None
        return counts.get(place, counts.get((place[0], None)))

    def in_view(self, places: Collection[Place]) -> list[Place]:
        """Return the planes and volumes that the viewer shows; none without a layer."""
        layers = self.layers() if places else []
        return self._places_in_view(layers[0], places) if layers else []

    def remove(self) -> None:
        """Remove the layers, and close."""
        self._take_away([*self.layers(), *self._found("tracks")])
        self.close()

    def close(self) -> None:
        """Delete the files; layers that are still there keep what they show."""
        self._waiting.clear()
        self.files.close()

    def _found(self, kind: ResultKind | Tracked) -> list[Layer]:
        """Return the layers of a kind that show nothing else."""
        return roles.find(self._viewer, kind, self.image.id, self.run)

    def _take_away(self, layers: list[Layer]) -> None:
        """Remove layers but keep what they showed, which the user has not deleted."""
        for layer in layers:
            roles.noted(layer)["run"] = ""
            self._viewer.layers.remove(layer)

    def _requested(self, kind: ResultKind, number: int) -> Layer | None:
        found = self._found(kind) if kind != "cells" else []
        same = (one for one in found if roles.noted(one).get("class", 0) == number)
        return next(same, None)

    def _drawn(self, key: _Key) -> list[Layer]:
        """Return the visible layers that show a kind."""
        found = {self.layer(*key), self._requested(*key)}
        return [layer for layer in found if layer is not None and layer.visible]

    def _places_in_view(self, layer: Layer, places: Collection[Place]) -> list[Place]:
        axes = self.image.annotation_axes
        return roles.places_in_view(self._viewer, layer, axes, places)

    def _data(self, kind: ResultKind, number: int) -> Any:
        array = self.files.arrays[kind]
        return array[number] if number else array

    def _take_over(self) -> None:
        """Let the layers of an earlier prediction of the same run show these arrays."""
        for kind in ON_REQUEST:
            for layer in self._found(kind):
                number = roles.noted(layer).get("class", 0)
                same_axes = layer.ndim == len(self.image.annotation_shape)
                if same_axes and number <= len(self.classes):
                    layer.data = self._data(kind, number)
                else:
                    self._viewer.layers.remove(layer)
        if self.in_cells_layer and (shared := self.cells_layer.layer) is not None:
            if shared.ndim != len(self.image.annotation_shape):
                self._viewer.layers.remove(shared)
            else:
                roles.noted(shared)["shows"] = None
                self.see("classes", visible=bool(shared.visible))

    def _make(self, kind: ResultKind, number: int = 0) -> None:
        if self._requested(kind, number) is not None:
            return
        data = self._data(kind, number)
        common = self.attributes | self._name_and_metadata(kind, number)
        with roles.selection_kept(self._viewer):
            if kind == "classes":
                colours = [colour_of(c, k) for k, c in enumerate(self.classes)]
                layer = self._viewer.add_labels(
                    data, **common, colormap=["transparent", *colours], opacity=0.4
                )
                lock(layer)
            else:
                layer = self._viewer.add_image(
                    data,
                    **common,
                    rgb=False,
                    multiscale=False,
                    colormap="magma" if kind == "probability" else "inferno",
                    contrast_limits=(0, 1),
                    blending="additive",
                )
            roles.put_in_order(self._viewer, layer)

    def _name_and_metadata(
        self, kind: ResultKind | Tracked, number: int
    ) -> dict[str, Any]:
        what = f"P({self.classes[number - 1].name})" if number else _NAMES[kind]
        extras = {"class": number} if number else {}
        return {
            "name": roles.name_for(self.image.name, what + self._suffix),
            "metadata": roles.note(kind, self.image.id, self.run, **extras),
        }


def colour_of(info: ClassInfo, number: int) -> str:
    """Return the colour of a class; `number` counts from 0 at the first foreground."""
    return getattr(info, "colour", PALETTE[number % len(PALETTE)])
