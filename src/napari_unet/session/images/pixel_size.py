"""The pixel size that the user gives, and the scale bar that goes by it."""

from __future__ import annotations

from math import isclose
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_unet.core.text import listed
from napari_unet.io.units import micrometres
from napari_unet.session.images import layers as roles
from napari_unet.session.images.navigation import zoom_to

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.images.side_by_side import SideBySide
    from napari_unet.session.project.store import ProjectStore

_GIVEN = "; pixel size as you gave it."
# How the note on an image's axes goes on about its pixel size, the last of old.
_ORIGINS = ("; pixel size ", " and pixel size", "; no pixel size ")
# Beginning of the note on a file that says another pixel size than its layer.
_LAYERS_OWN = "The layer's pixel size is used"
# Pixel sizes that differ by less are the same, rounded.
_ALIKE = 1e-6


def set_pixel_size(
    store: ProjectStore, image_id: str, size_um: tuple[float, ...] | None
) -> None:
    """Set the pixel size of an image, along [z,] y, x in micrometres; can be undone.

    None says that it is not known; of a stack y and x are enough.
    """
    image = store.project.image(image_id)
    notes = tuple(
        _noted(note, size_um is not None)
        for note in image.notes
        if not note.startswith(_LAYERS_OWN)
    )
    store.change_image(image_id, "set pixel size", spacing_um=size_um, notes=notes)


class ScaleBar:
    """napari's scale bar, which goes by the scale of the layers.

    While it is shown, the layers of all images whose pixel size is known have that as
    their scale, with all that lies on them; so have images that are opened later.
    """

    message = Signal(str, str)
    """A level (info) and a sentence."""

    def __init__(
        self, viewer: ViewerModel, images: ImageList, side_by_side: SideBySide
    ) -> None:
        self._viewer, self._images = viewer, images
        self._side_by_side = side_by_side
        self._looking, self._told = True, ""
        images.changed.connect(self._on_change)

    @property
    def shown(self) -> bool:
        """Whether napari shows it."""
        return bool(self._bar.visible)

    def set_shown(self, shown: bool) -> None:
        """Show or hide it; a message tells where it cannot be in micrometres."""
        if shown:
            self._calibrate()
        self._bar.visible = shown
        self._told = ""
        self._tell()

    def tick(self) -> None:
        """Follow images that came, or got another pixel size."""
        looking, self._looking = self._looking, False
        if looking and self.shown:
            self._calibrate()
            self._tell()

    def close(self) -> None:
        """Stop following the images."""
        self._images.changed.disconnect(self._on_change)

    def _on_change(self) -> None:
        self._looking = True

    def _calibrate(self) -> None:
        """Give layers the pixel size of their image, and show what was in view."""
        images, viewer = self._images, self._viewer
        opened = [(image, images.layers(image.id)[0]) for image in images.opened()]
        changes = [(image, own, _changes(image, own)) for image, own in opened]
        changes = [change for change in changes if change[-1]]
        if not changes:
            return
        # its distances are in the units of before
        apart = self._side_by_side.shown
        if apart:
            self._side_by_side.set_shown(False)
        current = images.current
        for image, own, factors in changes:
            is_current = current is not None and current.id == image.id
            place = own.world_to_data(roles.point_of(viewer, own))
            self._scale(image, factors)
            if is_current:
                self._go_back(own, np.asarray(place, float))
                zoom_to(viewer, images.layers(image.id))
        if apart:
            self._side_by_side.set_shown(True)

    def _scale(
        self, image: ProjectImage, factors: dict[str, tuple[float, str]]
    ) -> None:
        """Multiply the scale of all layers of an image, and set its units."""
        own = self._images.layers(image.id)
        axes = image.axes.replace("c", "") if own[0].rgb else image.axes
        for layer in self._viewer.layers:
            if self._images.id_of(layer) != image.id:
                continue
            is_own = any(layer is one for one in own)
            its = (axes if is_own else image.annotation_axes)[-layer.ndim :]
            by_axis = [factors[a][0] if a in factors else 1.0 for a in its]
            units = zip(its, map(str, layer.units), strict=True)
            layer.scale = np.asarray(layer.scale) * by_axis
            layer.translate = np.asarray(layer.translate) * by_axis
            layer.units = [factors[a][1] if a in factors else unit for a, unit in units]

    def _go_back(self, layer: Layer, place: NDArray[np.float64]) -> None:
        """Move the sliders to a point of a layer, which another scale has moved."""
        dims, world = self._viewer.dims, layer.data_to_world(place)
        first = dims.ndim - layer.ndim
        for axis in range(layer.ndim):
            if first + axis not in dims.displayed:
                dims.set_point(first + axis, world[axis])

    def _tell(self) -> None:
        """Tell once where it is not in micrometres."""
        doubt = self._doubt() if self.shown else ""
        if doubt and doubt != self._told:
            self.message.emit("info", doubt)
        self._told = doubt

    def _doubt(self) -> str:
        """Say of which images no pixel size is known, and what that does to the bar."""
        images = [
            layer
            for layer in self._viewer.layers
            if roles.role_of(layer) is None and hasattr(layer, "units")
        ]
        bare = [x.name for x in images if micrometres(1, str(x.units[-1])) is None]
        if not bare:
            return ""
        # napari draws none where layers differ
        what = "is in pixels" if len(bare) == len(images) else "has no unit"
        of = listed([f"“{name}”" for name in bare])
        return f"The scale bar {what}: the pixel size of {of} is not known."

    @property
    def _bar(self) -> Any:
        # napari before 0.9 has no overlays of the canvas
        canvas = getattr(self._viewer, "canvas", None)
        if canvas is None:
            return self._viewer.scale_bar
        return canvas.overlays["scale_bar"]


def _noted(note: str, given: bool) -> str:
    """Update the note on an image's axes: whether its pixel size was given."""
    if not note.startswith("Axes "):
        return note
    axes = note.removesuffix(".")
    for origin in _ORIGINS:
        before, found, after = axes.partition(origin)
        # "and pixel size from the file" is about the axes as well
        axes = f"{before}{after}" if found == " and pixel size" else before
    return f"{axes}{_GIVEN}" if given else f"{axes}."


def _changes(image: ProjectImage, layer: Layer) -> dict[str, tuple[float, str]]:
    """Return by what the scale of spatial axes has to be multiplied, and their unit.

    Empty where the scale of the layer is the pixel size of its image.
    """
    letters = [axis for axis in "zyx" if axis in image.axes]
    sizes = image.spacing_um or ()
    # of a stack y and x may be known without z
    known = dict(zip(letters[len(letters) - len(sizes) :], sizes, strict=True))
    changes = {}
    for axis, (length, unit) in roles.lengths_of(
        layer, image.axes, image.level
    ).items():
        now, wanted = micrometres(length, unit), known.get(axis)
        if wanted is None:
            same, change = now is None, (1 / length, "pixel")
        else:
            same = now is not None and isclose(now, wanted, rel_tol=_ALIKE)
            change = (wanted / length, "µm")
        if not same:
            changes[axis] = change
    return changes
