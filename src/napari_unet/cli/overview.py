"""A picture of results: image, probability, weights, cells."""

from __future__ import annotations

from colorsys import hsv_to_rgb
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.io.atomic import atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Colours = NDArray[np.float64]

_TITLES = (
    "image",
    "probability of cell",
    "border weight (Eq. 2)",
    "cells, truth outlined",
)
_INK, _PAPER = "#e8e8e8", "#16181d"
_WIDTH, _GAP, _HEAD = 396, 8, 28  # pixels: of a picture, around it, of the titles
# Stops of matplotlib's colour maps of these names.
_MAGMA = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))
_VIRIDIS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One row of the overview; all arrays have one shape (y, x)."""

    name: str
    image: NDArray[Any]
    probability: NDArray[np.float32]  # in [0, 1]
    weights: NDArray[np.float32]
    cells: NDArray[Any]  # ids, 0 is background
    truth: NDArray[Any]


def draw_overview(panels: Sequence[Panel], path: Path) -> None:
    """Draw rows of image, probability, border weights and cells into a PNG."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = panels[0].image.shape
    size = _WIDTH, round(_WIDTH * height / width)
    across, down = _WIDTH + _GAP, size[1] + _GAP
    picture = Image.new(
        "RGB", (_GAP + 4 * across, _HEAD + _GAP + len(panels) * down), _PAPER
    )
    draw = ImageDraw.Draw(picture)
    for column, title in enumerate(_TITLES):
        middle = _GAP + column * across + _WIDTH // 2, _HEAD // 2 + _GAP // 2
        draw.text(middle, title, _INK, ImageFont.load_default(18), anchor="mm")
    for row, panel in enumerate(panels):
        top = _HEAD + _GAP + row * down
        for column, colours in enumerate(_row(panel)):
            pixels = Image.fromarray((255 * colours).astype(np.uint8)).resize(size)
            picture.paste(pixels, (_GAP + column * across, top))
        corner = _GAP + 8, top + size[1] - 8
        draw.text(corner, panel.name, _INK, ImageFont.load_default(14), anchor="ls")
    with atomic(path) as temporary:
        picture.save(temporary, format="PNG")


def _row(panel: Panel) -> tuple[Colours, ...]:
    """Return four pictures of shape (y, x, 3), in [0, 1]."""
    from skimage.segmentation import find_boundaries

    low, high = np.percentile(panel.image, (1, 99.8))
    grey = np.clip((panel.image - low) / max(high - low, 1e-9), 0, 1) ** 0.7
    grey = np.stack([grey] * 3, axis=-1)
    # hues that differ much between neighbouring numbers
    hues = np.arange(panel.cells.max(initial=0) + 1) * 0.618034 % 1
    hue_colours = np.array([hsv_to_rgb(hue, 0.65, 0.95) for hue in hues])
    is_cell = panel.cells[..., None] > 0
    cells = np.where(is_cell, 0.25 * grey + 0.75 * hue_colours[panel.cells], 0.6 * grey)
    cells[find_boundaries(panel.truth, mode="inner")] = 1.0
    least, most = panel.weights.min(), panel.weights.max()
    weights = (panel.weights - least) / max(most - least, 1e-9)
    return grey, _mapped(panel.probability, _MAGMA), _mapped(weights, _VIRIDIS), cells


def _mapped(values: NDArray[Any], stops: Sequence[tuple[int, int, int]]) -> Colours:
    """Return the colours of values from 0 to 1."""
    at = np.linspace(0, 1, len(stops))
    channels = [np.interp(values, at, channel) for channel in zip(*stops, strict=True)]
    return np.stack(channels, axis=-1) / 255
