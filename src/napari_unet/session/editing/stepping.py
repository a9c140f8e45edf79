"""Stepping from cell to cell: the least certain predicted ones first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import FIRST_OBJECT, cell_classes
from napari_unet.core.cells.label_ids import distinct, positions
from napari_unet.session.project.annotation_file import plane_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from napari_unet.session.editing.editor import Aim
    from napari_unet.session.editing.prediction_edits import PredictionEdits
    from napari_unet.session.prediction.results import ResultLayers

# Pixels that are read at a time: some 10 ms.
_AT_A_TIME = 2**19

# Sorting keys of cells, and their ids.
_Stop = tuple[float, int]


@dataclass(frozen=True, slots=True)
class Step:
    """A cell to look at."""

    point: tuple[float, float]  # a pixel of it, y and x
    text: str  # its position among how many, for people


class Stepper:
    """Steps through the cells of the slice in view.

    Predicted cells that were accepted or edited are left out; the others come in the
    order of their mean probability. Painted ones come from top to bottom.
    """

    def __init__(self, edits: PredictionEdits) -> None:
        self._edits = edits
        self._last: _Stop | None = None
        self._where: tuple[object, ...] = ()

    def next(self, aim: Aim, by: int) -> Generator[None, None, Step | None]:
        """Return the next (1) or previous (-1) cell; None if there is none.

        After the last comes the first again. The slice is read part by part, with a
        pause after each: large ones take longer than one may wait for.
        """
        axes = aim.image.annotation_axes
        cells = np.asarray(plane_of(aim.layer.data, axes, aim.t, aim.z))
        keys, ids = yield from self._keys(aim, cells)
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
        return Step(inner_point(cells == id_), f"{text}.")

    def _keys(
        self, aim: Aim, cells: NDArray[np.integer]
    ) -> Generator[None, None, tuple[NDArray[np.float64], NDArray[np.integer]]]:
        """Return the sorting keys of the cells to look at, and their ids."""
        found, parts, looked_at = [], [], np.zeros(0, cells.dtype)
        record: NDArray[np.int32] | None = None
        likely: list[NDArray[np.float32]] = []
        if aim.results is not None:
            record = self._edits.record(aim.results, aim.t, aim.z)
            likely = _likely(aim.results, aim.t, aim.z)
        height = max(_AT_A_TIME // cells.shape[1], 1)
        for start in range(0, len(cells), height):
            rows = slice(start, start + height)
            part = cells[rows]
            ids = distinct(part)
            if record is None:
                numbers = np.arange(start, start + len(part))[:, np.newaxis]
                values = np.broadcast_to(numbers, part.shape)
            else:
                # a cell of any class
                values = np.sum([plane[rows] for plane in likely], axis=0)
                held = part[record[rows] >= FIRST_OBJECT]
                looked_at = np.union1d(looked_at, held)
            at = positions(ids, part).reshape(-1)
            parts.append(
                (np.bincount(at, values.reshape(-1), ids.size), np.bincount(at))
            )
            found.append(ids.astype(np.int64))
            if rows.stop < len(cells):
                yield
        every, at = np.unique(np.concatenate(found), return_inverse=True)
        totals, counts = np.concatenate(parts, axis=1)
        means = np.bincount(at, totals) / np.bincount(at, counts)
        first = FIRST_OBJECT if aim.results is None else 1
        left = (every >= first) & ~np.isin(every, looked_at)
        return means[left], every[left]


def _likely(results: ResultLayers, t: int, z: int) -> list[NDArray[np.float32]]:
    """Return views of the probability of each class of cells in a slice, (y, x)."""
    axes, maps = results.image.annotation_axes, results.files.arrays["probability"]
    numbers = cell_classes(results.classes)
    return [plane_of(np.asarray(maps[number]), axes, t, z) for number in numbers]


def inner_point(cell: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the pixel of a cell that is nearest to its centre."""
    sides = [np.count_nonzero(cell, axis=axis) for axis in (1, 0)]
    centre = [np.average(np.arange(len(n)), weights=n) for n in sides]
    # Most cells contain their centre: a cell as large as the slice is not searched.
    radius = 1.0
    while True:
        first = [max(int(c - radius), 0) for c in centre]
        last = [int(c + radius) + 2 for c in centre]
        places = np.argwhere(cell[first[0] : last[0], first[1] : last[1]]) + first
        far = ((places - centre) ** 2).sum(axis=1)
        # further out there may be a nearer one than in the corners
        if places.size and far.min() <= radius**2:
            y, x = places[far.argmin()].tolist()
            return float(y), float(x)
        radius *= 2
