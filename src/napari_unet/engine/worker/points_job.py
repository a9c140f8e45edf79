"""Cells as points, for a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.cells.points import cell_points
from napari_unet.core.events import PointsFound
from napari_unet.core.images.image import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import PointsJob


def run(job: PointsJob) -> Iterator[Event | None]:
    """Find all points; None comes after each part of the image, `PointsFound` last.

    Arrays that do not fit the axes, or classes without cells, are a ValueError.
    """
    cells = Image(job.cells.open(), job.axes, job.spacing_um, job.name)
    probabilities = Image(job.probabilities.open(), "c" + job.axes)
    points = yield from cell_points(cells, cells, job.classes, probabilities)
    yield PointsFound(points)
