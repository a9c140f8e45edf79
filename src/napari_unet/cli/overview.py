"""A picture that shows what was done: image, probability, weights, cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.io.atomic import atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_TITLES = (
    "image",
    "probability of cell",
    "border weight (Eq. 2)",
    "cells, truth outlined",
)
_INK, _PAPER = "#e8e8e8", "#16181d"


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One row of the overview; all arrays have one shape (y, x).

    Attributes
    ----------
    image : ndarray
    probability : ndarray of float32, in [0, 1]
    weights : ndarray of float32
    cells, truth : ndarray of int
        0 is background.
    """

    name: str
    image: NDArray[Any]
    probability: NDArray[np.float32]
    weights: NDArray[np.float32]
    cells: NDArray[Any]
    truth: NDArray[Any]


def draw_overview(panels: Sequence[Panel], path: Path) -> None:
    """Draw rows of image, probability, border weights and cells into a PNG.

    Parameters
    ----------
    path : Path
        Ends in .png.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = panels[0].image.shape
    side = 3.6
    figure = Figure(
        figsize=(4 * side, len(panels) * side * height / width + 0.4),
        facecolor=_PAPER,
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(panels), 4, squeeze=False)
    for row, panel in zip(rows, panels, strict=True):
        _draw_row(row, panel)
    for axes, title in zip(rows[0], _TITLES, strict=True):
        axes.set_title(title, color=_INK, fontsize=12)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _draw_row(row: Sequence[Axes], panel: Panel) -> None:
    from skimage.segmentation import find_boundaries

    low, high = np.percentile(panel.image, (1, 99.8))
    grey = np.clip((panel.image - low) / max(high - low, 1e-9), 0, 1) ** 0.7
    row[0].imshow(grey, cmap="gray")
    row[1].imshow(panel.probability, cmap="magma", vmin=0, vmax=1)
    row[2].imshow(panel.weights, cmap="viridis")
    colours = _colours(int(panel.cells.max(initial=0)))[panel.cells]
    shown = np.where(
        panel.cells[..., None] > 0,
        0.25 * grey[..., None] + 0.75 * colours,
        grey[..., None] * 0.6,
    )
    shown[find_boundaries(panel.truth, mode="inner")] = 1.0
    row[3].imshow(shown)
    for axes in row:
        axes.set_axis_off()
    row[0].text(
        0.02, 0.03, panel.name, transform=row[0].transAxes, color=_INK, fontsize=9
    )


def _colours(count: int) -> NDArray[np.float64]:
    """Return colours that differ much between neighbouring numbers."""
    from matplotlib.colors import hsv_to_rgb

    hue = (np.arange(count + 1) * 0.618034) % 1
    hsv = np.stack([hue, np.full_like(hue, 0.65), np.full_like(hue, 0.95)], axis=-1)
    rgb: NDArray[np.float64] = hsv_to_rgb(hsv)
    return rgb
