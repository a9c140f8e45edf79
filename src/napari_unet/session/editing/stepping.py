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
    from numpy.typing import NDArray

    from napari_unet.session.editing.editor import Aim
    from napari_unet.session.editing.prediction_edits import PredictionEdits
    from napari_unet.session.prediction.results import ResultLayers

# What cells are in the order of, and their id.
_Stop = tuple[float, int]


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

    def __init__(self, edits: PredictionEdits) -> None:
        self._edits = edits
        self._last: _Stop | None = None
        self._where: tuple[object, ...] = ()

    def next(self, aim: Aim, by: int) -> Step | None:
        """Return the next (1) or previous (-1) cell; None if there is none.

        After the last comes the first again.
        """
        axes = aim.image.annotation_axes
        cells = np.asarray(plane_of(aim.layer.data, axes, aim.t, aim.z))
        keys, ids = self._keys(aim, cells)
        stops: list[_Stop] = sorted(zip(keys.tolist(), ids.tolist(), strict=True))
        if not stops:
            return None
        where = aim.target, aim.image.id, aim.t, aim.z
        last = self._last if where == self._where else None
        beyond = stops
        if last is not None:
            beyond = [s for s in stops if (s > last if by > 0 else s < last)] or stops
        self._where = where
        self._last = key, id_ = beyond[0] if by > 0 else beyond[-1]
        text = f"Cell {stops.index(self._last) + 1} of {len(stops)}"
        if aim.results is not None:
            text += f" to be looked at, probability {key:.2f}"
        return Step(_inner_point(cells == id_), f"{text}.")

    def _keys(
        self, aim: Aim, cells: NDArray[np.integer]
    ) -> tuple[NDArray[np.float64], NDArray[np.integer]]:
        """Return what the cells to be looked at are in the order of, and their ids."""
        every = distinct(cells)
        if aim.results is None:
            rows = np.broadcast_to(np.arange(len(cells))[:, np.newaxis], cells.shape)
            means = _means(cells, every, rows)
            painted = every >= FIRST_OBJECT
            return means[painted], every[painted]
        record = self._edits.record(aim.results, aim.t, aim.z)
        looked_at = np.unique(cells[record >= FIRST_OBJECT])
        left = (every > 0) & ~np.isin(every, looked_at)
        likely = _likely(aim.results, aim.t, aim.z)
        return _means(cells, every, likely)[left], every[left]


def _means(
    cells: NDArray[np.integer], ids: NDArray[np.integer], values: NDArray[np.number]
) -> NDArray[np.float64]:
    """Return the mean of the values of each id; `ids` are all there are."""
    at = positions(ids, cells).reshape(-1)
    total = np.bincount(at, values.reshape(-1), ids.size)
    return np.asarray(total / np.bincount(at, minlength=ids.size), np.float64)


def _likely(results: ResultLayers, t: int, z: int) -> NDArray[np.float32]:
    """Return how probable it is that there is a cell, whichever its class, (y, x)."""
    field = Field(Image(results.files.arrays["probability"], results.axes), t, z)
    planes = np.asarray(field.read())[list(cell_classes(results.classes))]
    return np.asarray(planes.sum(axis=0), np.float32)


def _inner_point(cell: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the pixel of a cell that is nearest to its centre."""
    places = np.argwhere(cell)
    far = ((places - places.mean(axis=0)) ** 2).sum(axis=1)
    y, x = places[far.argmin()].tolist()
    return float(y), float(x)
