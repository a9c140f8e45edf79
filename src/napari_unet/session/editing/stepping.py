"""From cell to cell: the predicted ones that are least sure first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import FIRST_OBJECT, cell_classes
from napari_unet.core.cells.label_ids import distinct, positions
from napari_unet.core.images.image import Field, Image
from napari_unet.session.project.annotation_file import plane_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_unet.session.editing.editor import Aim
    from napari_unet.session.editing.prediction_edits import PredictionEdits
    from napari_unet.session.prediction.results import ResultLayers

# How sure a cell is, and its point in the slice; in the order of steps.
_Stop = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Step:
    """A cell to look at."""

    point: tuple[float, float]  # a pixel of it, y and x
    text: str  # which of how many it is, for people


class Stepper:
    """Goes through the cells of the slice in view.

    Predicted cells that were accepted or edited are left out; the others come in the
    order of their mean probability. Painted ones come from top to bottom.
    """

    def __init__(self, viewer: ViewerModel, edits: PredictionEdits) -> None:
        self._viewer, self._edits = viewer, edits
        self._last: _Stop | None = None
        self._where: tuple[object, ...] = ()

    def next(self, aim: Aim, by: int) -> Step | None:
        """Return the next (1) or previous (-1) cell; None if there is none.

        After the last comes the first again.
        """
        stops = sorted(self._stops(aim))
        if not stops:
            return None
        where = aim.target, aim.image.id, aim.t, aim.z
        last = self._last if where == self._where else None
        beyond = stops
        if last is not None:
            beyond = [s for s in stops if (s > last if by > 0 else s < last)] or stops
        self._where = where
        self._last = beyond[0] if by > 0 else beyond[-1]
        sure, y, x = self._last
        text = f"Cell {stops.index(self._last) + 1} of {len(stops)}"
        if aim.results is not None:
            text += f" to be looked at, probability {sure:.2f}"
        return Step((y, x), f"{text}.")

    def _stops(self, aim: Aim) -> list[_Stop]:
        axes = aim.image.annotation_axes
        cells = np.asarray(plane_of(aim.layer.data, axes, aim.t, aim.z))
        if aim.results is None:
            cells = np.where(cells >= FIRST_OBJECT, cells, 0)
            return [(0.0, y, x) for y, x in _points(cells, distinct(cells))[1]]
        record = self._edits.record(aim.results, aim.t, aim.z)
        ids = np.setdiff1d(distinct(cells), np.unique(cells[record >= FIRST_OBJECT]))
        ids, points = _points(cells, ids)
        sure = _confidence(aim.results, cells, ids, aim.t, aim.z)
        return [(p, *at) for p, at in zip(sure.tolist(), points, strict=True)]


def _points(
    cells: NDArray[np.integer], ids: NDArray[np.integer]
) -> tuple[NDArray[np.integer], list[tuple[float, float]]]:
    """Return those ids that are above 0, and the pixel nearest to each one's centre."""
    y, x = np.nonzero(np.isin(cells, ids) & (cells > 0))
    found, of = np.unique(cells[y, x], return_inverse=True)
    count = np.bincount(of, minlength=found.size)
    centres = [np.bincount(of, a, found.size) / np.maximum(count, 1) for a in (y, x)]
    far = (y - centres[0][of]) ** 2 + (x - centres[1][of]) ** 2
    order = np.lexsort((far, of))
    nearest = order[np.searchsorted(of[order], np.arange(found.size))]
    at = zip(y[nearest].tolist(), x[nearest].tolist(), strict=True)
    return found, [(float(row), float(column)) for row, column in at]


def _confidence(
    results: ResultLayers,
    cells: NDArray[np.integer],
    ids: NDArray[np.integer],
    t: int,
    z: int,
) -> NDArray[np.float64]:
    """Return how probable some cells are in the mean: the sum of classes of cells."""
    likely = Field(Image(results.files.arrays["probability"], results.axes), t, z)
    inside = np.nonzero(np.isin(cells, ids))
    planes = np.asarray(likely.read())[list(cell_classes(results.classes))]
    of = positions(ids, cells[inside])
    total = np.bincount(of, planes[(slice(None), *inside)].sum(axis=0), ids.size)
    return np.asarray(total / np.maximum(np.bincount(of, minlength=ids.size), 1))
