"""Cells of an open image, measured for a table in the window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.cells.cell_table import cell_table
from napari_unet.core.events import CellsMeasured
from napari_unet.core.images.image import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import MeasureJob


def run(job: MeasureJob) -> Iterator[Event | None]:
    """Measure all cells; None comes after each part, `CellsMeasured` last.

    Arrays that do not fit the image are a ValueError.
    """
    image = job.image.open()
    axes = image.axes.replace("c", "")
    cells = Image(job.cells.open(), axes, image.known_um, image.name)
    probabilities = Image(job.probabilities.open(), "c" + axes)
    table = yield from cell_table(cells, image, job.classes, probabilities)
    yield CellsMeasured(table)
