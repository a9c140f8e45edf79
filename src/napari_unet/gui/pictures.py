"""Pictures of parts of images in dialogs and docks, with outlines of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QLabel

from napari_unet.core.cells.label_colours import rgba
from napari_unet.core.geometry.boxes import full_box
from napari_unet.session.images.outlines import part_outlined

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

USUAL, APART = "#56b4e9", "#e69f00"
"""Of outlines: blue and orange, distinct for the colour-blind."""

# Of the longer side one pixel of an outline.
_SHARE = 300


class Picture(QLabel):
    """A grey image with outlines, as large as fits into a square of some pixels."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self._side = side
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)

    def show_pixels(
        self,
        grey: NDArray[np.uint8],
        labels: NDArray[np.integer] | None = None,
        apart: Collection[int] = (),
    ) -> None:
        """Show an image (y, x), labels of it as outlines; some in another colour."""
        pixels = np.repeat(grey[..., np.newaxis], 3, axis=2)
        if labels is not None:
            width = -(-max(labels.shape) // _SHARE)
            outlines = part_outlined(labels, full_box(labels.shape), width)
            seen = np.zeros_like(labels) if outlines is None else outlines
            blue, orange = np.rint(255 * rgba((USUAL, APART))[:, :3])
            pixels[seen > 0] = blue
            pixels[np.isin(seen, list(apart)) & (seen > 0)] = orange
        height, width = grey.shape
        shown = QImage(
            pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888
        )
        self.setPixmap(
            QPixmap.fromImage(shown).scaled(
                QSize(self._side, self._side),
                Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
        )
