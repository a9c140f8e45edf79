"""What a network says of one image, as layers that fill while it computes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_unet.core.annotation.annotations import cell_classes
from napari_unet.core.images.image import Field, Image
from napari_unet.session.images.layers import (
    METADATA_KEY,
    attributes_like,
    find,
    name_for,
    note,
    place_in_view,
)
from napari_unet.session.prediction.redrawing import Redrawing
from napari_unet.session.prediction.result_files import ResultFiles, What
from napari_unet.session.prediction.visibility import ClassesOrCells
from napari_unet.session.project.record import PALETTE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_unet.core.annotation.annotations import ClassInfo
    from napari_unet.core.jobs import Place
    from napari_unet.session.project.record import ProjectImage

# What a network computes; cells are found in it.
_OF_A_TILE: tuple[What, ...] = ("classes", "probability", "entropy")
# What people draw stays above what the network says.
_ROLES_ABOVE = ("annotation", "weights", "finished")


class ResultLayers:
    """Files and layers of the prediction of one image.

    Layers of the same image and run that are in the viewer are taken over with all
    that people set on them: they show the new arrays. A layer that is deleted is not
    missed until `show` is called.

    Parameters
    ----------
    viewer : ViewerModel
    image_layer : Layer
        Layer of the image: its scale, translation, units and axis labels are taken.
    image : ProjectImage
    classes : tuple of ClassInfo
        Foreground classes; with their colours if they are `ProjectClass`.
    scratch : Path
        Folder for the files.
    run : str
        What made the results: a model, or a training run.
    preview : bool
        The results are those of a network in training: no cells.
    label : str
        Told in the layers' names, where those of another run are there.
    shown : bool
        Whether the layers are made at once, which takes a moment, or by `show`.

    Attributes
    ----------
    image : ProjectImage
    axes : str
        Of the probabilities: c first, then those of the image.
    files : ResultFiles
    visibility : ClassesOrCells
        Which of the two is shown.
    unexported : bool
        Whether tiles came that are in no file of the person's.
    has_cells, has_regions : bool
        Whether there are classes of cells, which become objects, and of regions, which
        are seen and kept as classes.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        image_layer: Layer,
        image: ProjectImage,
        classes: tuple[ClassInfo, ...],
        scratch: Path,
        run: str,
        preview: bool,
        label: str = "",
        shown: bool = True,
    ) -> None:
        self.image, self.classes, self.run = image, classes, run
        self.axes = "c" + image.annotation_axes
        self.has_cells = bool(cell_classes(classes))
        self.has_regions = len(cell_classes(classes)) < len(classes)
        self._viewer = viewer
        self.unexported = False
        self._preview = preview
        self._label = f", {label}" if label else ""
        plane_axes = image.annotation_axes
        self._look = attributes_like(image_layer, image.axes, plane_axes, image.level)
        shape = image.annotation_shape
        self.files = ResultFiles(scratch, shape, len(classes) + 1)
        self._redrawing = Redrawing(viewer, plane_axes)
        self._cells_shown = False
        self._waiting: list[tuple[What, int | None]] = []
        self.visibility = ClassesOrCells(self)
        self._take_over()
        if shown:
            self.show()

    def layer(self, what: What, class_number: int | None = None) -> Layer | None:
        """Return a layer of these results, None if it was not made or was deleted.

        Parameters
        ----------
        what : {"classes", "probability", "cells", "entropy"}
        class_number : int, optional
            Of a probability; 1 is the first foreground class, and the default.
        """
        wanted = (class_number or 1) if what == "probability" else None
        for layer in self._found(what):
            if layer.metadata[METADATA_KEY].get("class") == wanted:
                return layer
        return None

    def plane(self, what: What, t: int, z: int) -> Any:
        """Return one plane of an array without c, shape (y, x)."""
        image = Image(self.files.array(what), self.image.annotation_axes)
        return Field(image, t, z).read()[0]

    def show(self, *extra: What, gently: bool = False) -> None:
        """Make the layers that are not there: classes, others, and probabilities.

        Gently, only the classes, and the rest by `show_next`: napari takes a moment
        for each layer.
        """
        numbers = range(1, len(self.classes) + 1)
        self._waiting = [("classes", None), *((what, None) for what in extra)]
        self._waiting += [("probability", number) for number in numbers]
        self.show_next()
        while self._waiting and not gently:
            self.show_next()

    def show_next(self) -> None:
        """Make one of the layers that wait, if any."""
        if self._waiting:
            with _selection_kept(self._viewer):
                self._make(*self._waiting.pop(0))

    def refresh(self, t: int, z: int | None, what: What) -> None:
        """Draw the layers of a kind after pixels of a plane changed.

        Only if the plane is in view, and at most five times per second; what was not
        drawn for that reason is drawn by `flush_refresh`.
        """
        for key, layer in self._drawn(what):
            self._redrawing.note(key, layer, (t, z))

    def flush_refresh(self) -> None:
        """Draw what changed and has not been drawn."""
        for what in self.files:
            for key, layer in self._drawn(what):
                self._redrawing.draw(key, layer)

    def growing(self, places: Collection[Place]) -> None:
        """Planes or volumes are about to be predicted."""
        self.visibility.growing(places)

    def tile_came(self, place: Place, *, last: bool) -> None:
        """A tile of a plane or volume is in the arrays: it is drawn before long."""
        self.unexported = True
        if last and not self.has_cells:
            self.visibility.found(place)
        else:
            self.visibility.tile(place, last=last)
        for what in _OF_A_TILE:
            self.refresh(*place, what)

    def cells_found(self, place: Place) -> None:
        """The cells of a plane or volume are in the array: they are shown."""
        if not self._cells_shown:
            self._cells_shown = True
            with _selection_kept(self._viewer):
                self._make("cells")
        self.visibility.found(place)
        self.refresh(*place, "cells")

    def place_in_view(self) -> tuple[int, int] | None:
        """Return time point and slice that the viewer shows; None without any layer."""
        layer = self.any_layer()
        if layer is None:
            return None
        return place_in_view(self._viewer, layer, self.image.annotation_axes)

    def in_view(self, places: Collection[Place]) -> list[Place]:
        """Return the planes that the viewer shows; none without any layer."""
        layer = self.any_layer()
        return self._redrawing.in_view(layer, places) if layer is not None else []

    def any_layer(self) -> Layer | None:
        """Return one of the layers; they all have the same axes."""
        return next(iter(self.layers()), None)

    def layers(self) -> list[Layer]:
        """Return all layers that are there."""
        drawn = (layer for what in self.files for _, layer in self._drawn(what))
        return [layer for layer in drawn if layer is not None]

    def remove(self) -> None:
        """Remove the layers, and close."""
        for layer in self.layers():
            self._viewer.layers.remove(layer)
        self.close()

    def close(self) -> None:
        """Delete the files; layers that are still there keep what they show."""
        self._waiting.clear()
        self.files.close()

    def _role(self, what: What) -> str:
        return f"preview-{what}" if self._preview else what

    def _found(self, what: What) -> list[Layer]:
        """Return the layers of a kind; an image has one preview, of whatever run."""
        run = None if self._preview else self.run
        return find(self._viewer, self._role(what), self.image.id, run)

    def _drawn(self, what: What) -> Iterator[tuple[str, Layer | None]]:
        """Yield the layers of a kind, each with a key that stays the same."""
        if what != "probability":
            yield what, self.layer(what)
            return
        for number, _ in enumerate(self.classes, start=1):
            yield f"{what} {number}", self.layer(what, number)

    def _data(self, what: What, number: int | None) -> Any:
        array = self.files.array(what)
        return array if number is None else array[number]

    def _take_over(self) -> None:
        """Let the layers of an earlier prediction of the same run show these arrays."""
        for what in self.files:
            for layer in self._found(what):
                number = layer.metadata[METADATA_KEY].get("class")
                known = number is None or number <= len(self.classes)
                if known and layer.ndim == len(self.image.annotation_shape):
                    layer.data = self._data(what, number)
                    layer.metadata[METADATA_KEY]["run"] = self.run
                else:
                    self._viewer.layers.remove(layer)

    def _make(self, what: What, number: int | None = None) -> None:
        if self.layer(what, number) is not None:
            return
        data = self._data(what, number)
        common = self._look | self._description(what, number)
        if what == "classes":
            # a list becomes napari's colormap without importing it here; for a mapping
            # it would compile for two seconds
            layer = self._viewer.add_labels(
                data, **common, colormap=_colours(self.classes), opacity=0.4
            )
        elif what == "cells":
            layer = self._viewer.add_labels(data, **common, opacity=0.5)
        else:
            layer = self._viewer.add_image(
                data,
                **common,
                rgb=False,
                multiscale=False,
                colormap="magma" if what == "probability" else "inferno",
                contrast_limits=(0, 1),
                blending="additive",
                visible=what == "entropy",
            )
        self._put_in_order(layer, what)

    def _description(self, what: What, number: int | None) -> dict[str, Any]:
        """Return name and metadata of a layer."""
        words = {"entropy": "uncertainty", "classes": "classes", "cells": "cells"}
        name = f"p({self.classes[number - 1].name})" if number else words[what]
        if self._preview:
            name = f"preview {name}" if number else "preview"
        extras = {"class": number} if number else {}
        return {
            "name": name_for(self.image.name, name + self._label),
            "metadata": note(self._role(what), self.image.id, self.run, **extras),
        }

    def _put_in_order(self, layer: Layer, what: What) -> None:
        """Move a new layer below the annotation, and probabilities below all else."""
        layers = self._viewer.layers
        above = [
            layers.index(drawn)
            for role in _ROLES_ABOVE
            for drawn in find(self._viewer, role, self.image.id)
        ]
        if what == "probability":
            others: tuple[What, ...] = ("classes", "cells", "entropy")
            above += [layers.index(one) for o in others for one in self._found(o)]
        if above and min(above) < layers.index(layer):
            layers.move(layers.index(layer), min(above))


def _colours(classes: tuple[ClassInfo, ...]) -> list[str]:
    """Return the colour of each class number; the background is transparent."""
    colours = [
        getattr(one, "colour", PALETTE[number % len(PALETTE)])
        for number, one in enumerate(classes)
    ]
    return ["transparent", *colours]


@contextmanager
def _selection_kept(viewer: ViewerModel) -> Iterator[None]:
    """Select the layers again that were selected: who paints goes on painting."""
    selection = viewer.layers.selection
    selected, active = set(selection), selection.active
    yield
    if selected:
        selection.intersection_update(selected)
        selection.update(selected)
        selection.active = active
