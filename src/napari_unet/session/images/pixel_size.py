"""The pixel size that the user gives, and the scale bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.session.images.layers import spacing_um_of
from napari_unet.session.images.navigation import zoom_to

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.store import ProjectStore

_GIVEN = "; pixel size as you gave it."
# the wording of older versions
_UNKNOWN = "; no pixel size is known."


def set_pixel_size(
    store: ProjectStore, image_id: str, size_um: tuple[float, ...] | None
) -> None:
    """Set the pixel size of an image, along [z,] y, x in micrometres; can be undone.

    None says that it is not known; of a stack y and x are enough.
    """
    image = store.project.image(image_id)
    notes = tuple(_noted(note, size_um is not None) for note in image.notes)
    store.change_image(image_id, "set pixel size", spacing_um=size_um, notes=notes)


def is_scale_bar_shown(viewer: ViewerModel) -> bool:
    """Whether napari shows its scale bar."""
    return bool(_bar(viewer).visible)


def show_scale_bar(
    viewer: ViewerModel, images: ImageList, image: ProjectImage, shown: bool
) -> None:
    """Show or hide napari's scale bar.

    It uses the layers' scale: where the image's layers have none in micrometres, but
    its pixel size is known, they and all that belongs to them get it, and the view is
    reset.
    """
    own, known = images.layers(image.id), image.spacing_um is not None
    if (
        shown
        and own
        and known
        and spacing_um_of(own[0], image.axes, image.level) != image.spacing_um
    ):
        _calibrate(viewer, images, image, own)
        zoom_to(viewer, own)
    _bar(viewer).visible = shown


def _noted(note: str, given: bool) -> str:
    """Update the note on an image's axes: whether its pixel size was given."""
    plain = note.replace(_GIVEN, ".").replace(_UNKNOWN, ".")
    if not given or not plain.startswith("Axes ") or "pixel size" in plain:
        return plain
    return f"{plain.removesuffix('.')}{_GIVEN}"


def _calibrate(
    viewer: ViewerModel, images: ImageList, image: ProjectImage, own: list[Layer]
) -> None:
    """Give all layers of an image its pixel size as their scale."""
    sizes = image.spacing_um or ()
    letters = [a for a in "zyx" if a in image.axes][-len(sizes) :]
    by_letter = dict(zip(letters, sizes, strict=True))
    axes = image.axes.replace("c", "") if own[0].rgb else image.axes
    old = dict(zip(axes, map(float, own[0].scale), strict=True))
    factors = {a: size / old[a] for a, size in by_letter.items()}
    for layer in viewer.layers:
        if images.id_of(layer) == image.id:
            is_own = any(layer is one for one in own)
            its = (axes if is_own else image.annotation_axes)[-layer.ndim :]
            by_axis = [factors.get(a, 1.0) for a in its]
            layer.scale = np.asarray(layer.scale) * by_axis
            layer.translate = np.asarray(layer.translate) * by_axis
            units = [str(unit) for unit in layer.units]
            layer.units = [
                "µm" if a in factors else unit
                for a, unit in zip(its, units, strict=True)
            ]


def _bar(viewer: ViewerModel) -> Any:
    # napari before 0.9 has no overlays of the canvas
    canvas = getattr(viewer, "canvas", None)
    return viewer.scale_bar if canvas is None else canvas.overlays["scale_bar"]
