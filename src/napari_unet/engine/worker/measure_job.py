"""Cells of an open image, measured for a table in the window, and as points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.cells.cell_table import cell_table
from napari_unet.core.cells.points import cell_points
from napari_unet.core.events import CellsMeasured, PointsFound
from napari_unet.core.images.image import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import MeasureJob, PointsJob


def table(job: MeasureJob) -> Iterator[Event | None]:
    """Measure all cells; None comes after each part, `CellsMeasured` last.

    Arrays that do not fit the image are a ValueError.
    """
    image = job.image.open()
    axes = image.axes.replace("c", "")
    cells = Image(job.cells.open(), axes, image.known_um, image.name)
    probabilities = Image(job.probabilities.open(), "c" + axes)
    found = yield from cell_table(cells, image, job.classes, probabilities)
    yield CellsMeasured(found)


def points(job: PointsJob) -> Iterator[Event | None]:
    """Find all points; None comes after each part of the image, `PointsFound` last.

    Arrays that do not fit the axes, or classes without cells, are a ValueError.
    """
    cells = Image(job.cells.open(), job.axes, job.spacing_um, job.name)
    probabilities = Image(job.probabilities.open(), "c" + job.axes)
    found = yield from cell_points(cells, cells, job.classes, probabilities)
    yield PointsFound(found)
