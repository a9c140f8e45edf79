"""The layer that shows the border weights of one plane of an image, and its pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.session.images.layers import (
    attributes_like,
    find,
    name_for,
    note,
    selection_kept,
    set_visible,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.settings import BorderWeights
    from napari_unet.io.project_record import ProjectImage

# Black at 0, so that additive blending changes nothing there; no grey in it.
_COLOURMAP = "inferno"


class WeightLayer:
    """One plane of weights, the same array for as long as it lives.

    Being a plane, it is shown over every slice of its image; its owner knows which
    slice it belongs to.
    """

    def __init__(self, viewer: ViewerModel, image: ProjectImage) -> None:
        self._viewer = viewer
        self._image = image
        # float32 so that napari shows the weight under the mouse. One byte for each
        # pixel would be drawn 1 to 4 ms faster at 2048 x 2048, float16 slower.
        shape = image.annotation_shape[-2:]
        self.array: NDArray[np.float32] = np.zeros(shape, np.float32)
        self._blank = True
        self._limits: tuple[float, float] | None = None

    @property
    def layer(self) -> Layer | None:
        """The layer, None if there is none (any more)."""
        found = find(self._viewer, "weights", self._image.id)
        return found[-1] if found else None

    def show(self, like: Layer, settings: BorderWeights) -> Layer:
        """Show the layer, or create it, on an annotation layer."""
        layer = self.layer
        limits = (0.0, settings.w0 or 1.0)
        if layer is None:
            return self._add(like, limits)
        if layer.data is not self.array:
            # Someone set other data: only this array is kept up to date.
            layer.data = self.array
        if limits != self._limits:
            # Not each time: users may have set others by hand.
            layer.contrast_limits = self._limits = limits
        set_visible(layer)
        return layer

    def hide(self) -> None:
        """Hide the layer, if there is one."""
        layer = self.layer
        if layer is not None:
            set_visible(layer, False)

    def clear(self) -> None:
        """Show nothing."""
        if not self._blank:
            self.array.fill(0)
            self._blank = True
            self._draw()

    def write(self, weights: NDArray[np.float32], box: Box | None = None) -> None:
        """Show new weights, of the whole plane or of a box of it."""
        self.array[box if box is not None else ...] = weights
        self._blank = False
        self._draw(whole=box is None)

    def _draw(self, whole: bool = True) -> None:
        layer = self.layer
        if layer is not None:
            # Its extent never changes, and a stroke hardly shows in a thumbnail.
            layer.refresh(thumbnail=whole, highlight=False, extent=False)

    def _add(self, like: Layer, limits: tuple[float, float]) -> Layer:
        """Create the layer."""
        options: dict[str, Any] = attributes_like(
            like, self._image.annotation_axes, "yx"
        )
        self._limits = limits
        with selection_kept(self._viewer):
            return self._viewer.add_image(
                self.array,
                name=name_for(self._image.name, "Border weights"),
                metadata=note("weights", self._image.id),
                rgb=False,
                multiscale=False,
                colormap=_COLOURMAP,
                blending="additive",
                contrast_limits=limits,
                **options,
            )
