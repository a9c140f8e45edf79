"""Tables of predicted cells, and the cell of each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from psygnal import Signal

from napari_unet.core.annotation.annotations import plain_classes
from napari_unet.core.cells.table_parts import rows_in_slice, together
from napari_unet.core.events import CellsMeasured
from napari_unet.core.jobs import MeasureJob
from napari_unet.session.images.navigation import go_to
from napari_unet.session.prediction.cell_follower import CellFollower

if TYPE_CHECKING:
    from napari_unet.core.cells.measurements import Columns
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.prediction.segmentation import Segmenter
    from napari_unet.session.session import Session

Scope = Literal["slice", "image", "images"]
"""The slice in view, all of its image, or all images that are predicted."""


class CellTables(CellFollower):
    """Measures the cells of all predicted images while a table is open."""

    changed = Signal()
    """A table came, or was lost."""
    centred = Signal()
    """The cell of a row is in the middle of the canvas."""

    def __init__(
        self,
        session: Session,
        results: dict[str, ResultLayers],
        segmenter: Segmenter,
    ) -> None:
        super().__init__(session, results, segmenter)
        self._viewer, self._images = session.viewer, session.images
        self._tables: dict[str, Columns] = {}
        self._watchers = 0

    def watch(self) -> None:
        """Keep the tables up to date from now on."""
        self._watchers += 1
        self._segmenter.wake()
        self.go_on()

    def rest(self) -> None:
        """Stop updating the tables, unless another window shows them."""
        self._watchers -= 1

    def measure_again(self, image_id: str) -> None:
        """Measure an image once more: its pixels have changed."""
        self._asked.pop(image_id, None)
        self.go_on()

    @property
    def watched(self) -> bool:
        """Whether any window shows a table."""
        return self._watchers > 0

    @property
    def measuring(self) -> bool:
        """Whether a table is being made."""
        return self._handle is not None

    def table(self, scope: Scope) -> Columns:
        """Return the rows of a scope; without columns if nothing is measured.

        Of several images they have the column `image`, with the names.
        """
        known = {i: t for i, t in self._tables.items() if i in self._results}
        if scope == "images":
            names = self._names()
            return together({names[i]: t for i, t in known.items()})
        image = self._images.current
        if image is None or image.id not in known:
            return {}
        table = known[image.id]
        if scope == "image":
            return table
        rows = rows_in_slice(table, *self._images.place_in_view(image.id))
        return {name: column[rows] for name, column in table.items()}

    def show(self, table: Columns, row: int) -> None:
        """Go to the cell of a row, in the middle of the canvas, and choose it."""
        results = self._of_row(table, row)
        layer = results.cells_layer.layer if results is not None else None
        if results is None or layer is None:
            return
        current = self._images.current
        if current is None or current.id != results.image.id:
            self._images.set_current(results.image.id)
        # its keys are those of predicted cells
        self._viewer.layers.selection.active = layer
        place = int(table["t"][row]), int(table["z"][row])
        y, x = (float(table[f"centroid_{a}_px"][row]) for a in "yx")
        go_to(self._viewer, layer, results.image.annotation_axes, place, (y, x))
        # in the slice that is in view now there are cells
        if (shown := results.layer("cells")) is not None:
            shown.selected_label = int(table["label"][row])
        self.centred.emit()

    def row_at(self, table: Columns, position: tuple[float, ...]) -> int | None:
        """Return the row of the cell at a point of the world; None if there is none."""
        results = self._images.of_current(self._results)
        layer = results.cells_layer.layer if results is not None else None
        if results is None or layer is None or not table:
            return None
        point = np.round(layer.world_to_data(position)).astype(int)
        cells = results.files.arrays["cells"]
        if np.any(point < 0) or np.any(point >= cells.shape):
            return None
        id_ = int(cells[tuple(point)])
        at = dict(zip(results.image.annotation_axes, point.tolist(), strict=True))
        found = (table["label"] == id_) & (table["t"] == at.get("t", 0))
        if "image" in table:
            found &= table["image"] == self._names()[results.image.id]
        rows = np.flatnonzero(found)
        return int(rows[0]) if id_ and len(rows) else None

    def _of_row(self, table: Columns, row: int) -> ResultLayers | None:
        if "image" in table:
            name = str(table["image"][row])
            ids = (i for i, known in self._names().items() if known == name)
            return next((self._results[i] for i in ids), None)
        return self._images.of_current(self._results)

    def _names(self) -> dict[str, str]:
        """Return the names of the images, of which no two are the same."""
        names: dict[str, str] = {}
        for image_id, results in self._results.items():
            name, number = results.image.name, 1
            while name in names.values():
                number += 1
                name = f"{results.image.name} ({number})"
            names[image_id] = name
        return names

    def _is_wanted(self, image_id: str) -> bool:
        return self.watched and self._results[image_id].pixels is not None

    def _job(self, results: ResultLayers) -> MeasureJob:
        if results.pixels is None:
            raise ValueError(f"{results.image.name} is not predicted.")
        return MeasureJob(
            image=results.pixels,
            cells=results.files["cells"],
            probabilities=results.files["probability"],
            classes=plain_classes(results.classes),
        )

    def _take(self, results: ResultLayers, event: object) -> None:
        if isinstance(event, CellsMeasured):
            self._tables[results.image.id] = event.table
            self.changed.emit()
