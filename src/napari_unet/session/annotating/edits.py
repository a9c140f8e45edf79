"""The stream of edits of an annotation layer, whatever changed its pixels.

napari's events only say where to look: an edit is what differs between the layer and
its file. Some events come before the pixels change, undo does not say where it was, and
a console may write into the array without any event. So each box of an event is
compared at once and again at the next tick, and all planes are compared in turn, a
little at each tick.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import product
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_unet.core.geometry.boxes import axis_sizes, shape_of
from napari_unet.session.annotating.changed_regions import (
    ChangedRegions,
    boxes_of_stroke,
    span,
)
from napari_unet.session.project.annotation_file import plane_of
from napari_unet.session.project.places_log import HIGHEST_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.session.project.annotation_file import AnnotationFile

# Seconds of a tick, and how many ticks it takes to see the whole plane in view.
_TICK_S = 0.004
_TICKS_IN_VIEW = 4
_ROWS = 128

# As long as napari's own history.
_UNDO_STEPS = 100

_WHOLE = (slice(None), slice(None))


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of an annotation that is in its file by now."""

    t: int  # plane; z is 0 where there is no z
    z: int
    # in y and x, with start and stop: the smallest that holds all changes
    box: tuple[slice, slice]


class EditStream:
    """Follow a Labels layer and write each change of it to a file.

    Without `viewer`, which has the plane in view, all planes are compared where an
    event names none. `problem` is why some of the layer is not saved, in a sentence.

    ValueError if the layer is multiscale.
    """

    edited = Signal(Edit)
    """Sent when the values are in the file."""
    unfit = Signal(str)
    """The layer holds what an annotation cannot hold; a sentence. The rest is saved."""

    def __init__(
        self, layer: Labels, file: AnnotationFile, viewer: ViewerModel | None = None
    ) -> None:
        if layer.multiscale:
            raise ValueError(
                f"{layer.name}: an annotation has one level, found a multiscale layer."
            )
        self._layer = layer
        self._file = file
        self._regions = ChangedRegions(layer, file.axes, file.shape, viewer)
        sizes = axis_sizes(file.axes, file.shape)
        self._size = sizes["y"], sizes["x"]
        self._data: Any = layer.data
        self._fits = self._is_new = False
        # To be compared once more, and what napari's undo may change.
        self._pending: list[Box] = []
        self._history: deque[list[Box]] = deque(maxlen=_UNDO_STEPS)
        self._seen = self._regions.place()
        self._view_row = self._other_row = self._other = 0
        self.problem: str | None = None
        self._disk_failed = False
        self._check_fit()
        file.followers.append(self.compare_all)
        layer.events.labels_update.connect(self._on_update)
        layer.events.paint.connect(self._on_paint)
        layer.events.set_data.connect(self._on_refresh)
        layer.events.data.connect(self._on_data)

    def detach(self) -> None:
        """Disconnect from the layer and save its content."""
        if self.compare_all not in self._file.followers:
            return
        self.compare_all()
        self._file.followers.remove(self.compare_all)
        self._layer.events.labels_update.disconnect(self._on_update)
        self._layer.events.paint.disconnect(self._on_paint)
        self._layer.events.set_data.disconnect(self._on_refresh)
        self._layer.events.data.disconnect(self._on_data)

    def tick(self) -> None:
        """Look for changes that had no event, for about 4 ms.

        To be called four times a second. A plane in view of up to 2048 x 2048 pixels is
        compared within a second, the others in turn.
        """
        if self._ready():
            end = perf_counter() + _TICK_S
            self._compare_pending(end)
            self._sweep(end)

    def compare_all(self) -> None:
        """Compare all planes at once."""
        if self._ready():
            self._pending.clear()
            for t, z in self._file.planes:
                self._compare(t, z, _WHOLE)

    def _on_update(self, event: Any) -> None:
        """A part of the canvas was drawn anew: while dragging, and after one edit."""
        if not self._ready():
            return
        drawn = self._regions.drawn(event.offset, event.data.shape)
        self._compare_box(drawn)
        # An edit names its place before its pixels change: this is the second look.
        self._pending = [other for other in self._pending if other != drawn]
        self._compare_pending(perf_counter() + _TICK_S)

    def _on_paint(self, event: Any) -> None:
        """An edit goes to the history, before its pixels change or after a stroke."""
        if not self._ready():
            return
        boxes = boxes_of_stroke(event.value, self._file.axes)
        self._history.append(boxes)
        for box in boxes:
            self._compare_box(box)
        self._pending.extend(boxes)

    def _on_refresh(self, event: Any = None) -> None:
        """The canvas was drawn anew: undo, redo, refresh(), or a slider moved."""
        if not self._ready():
            return
        place = self._regions.place()
        moved, self._seen = place != self._seen, place
        # A slider is no edit, and scrolling has to stay quick; ticks look there.
        if moved:
            return
        end = perf_counter() + _TICK_S
        shown = self._regions.in_view()
        if shape_of(shown[:2]) == (1, 1):
            self._compare_box(shown)
        # Undo may change planes out of view, but only where something was edited.
        elsewhere = (box for boxes in reversed(self._history) for box in boxes)
        distinct = {repr(box): box for box in [*self._pending, *elsewhere]}
        self._pending = list(distinct.values())
        self._compare_pending(end)

    def _on_data(self, event: Any = None) -> None:
        """`layer.data` was set."""
        # The canvas may have been drawn, and all compared, before this event.
        if self._ready() and not self._is_new:
            self.compare_all()
        self._is_new = False

    def _ready(self) -> bool:
        """Whether the layer can be compared; one with new data is, at once."""
        if self._file.retired:
            return False
        if self._layer.data is not self._data:
            self._data = self._layer.data
            self._is_new = True
            self._check_fit()
            self.compare_all()
        return self._fits

    def _check_fit(self) -> None:
        data, shape = self._layer.data, self._file.shape
        kind = np.dtype(data.dtype).kind
        self._fits = tuple(data.shape) == shape and kind in "biu"
        if self._fits:
            self.problem = None
            return
        self._report(
            f"{self._layer.name}: the annotation holds whole numbers of shape {shape}, "
            f"found {data.dtype} of shape {tuple(data.shape)}; nothing is saved "
            "until it fits again."
        )

    def _report(self, sentence: str) -> None:
        if sentence != self.problem:
            self.problem = sentence
            self.unfit.emit(sentence)

    def _compare_pending(self, end: float) -> None:
        while self._pending and perf_counter() < end:
            self._compare_box(self._pending.pop(0))

    def _compare_box(self, box: Box) -> None:
        """Compare a box along t, z, y and x."""
        _, _, y, x = box
        for t, z in product(*(range(part.start, part.stop) for part in box[:2])):
            self._compare(t, z, (y, x))

    def _compare(self, t: int, z: int, box: tuple[slice, slice]) -> bool:
        """Write what differs in a box of a plane, and return whether anything did."""
        saved = self._file.plane(t, z)[box]
        found = np.asarray(plane_of(self._data, self._file.axes, t, z, box))
        if not self._file.has(t, z) and not found.any():
            return False
        inner = different_box(found, saved)
        if inner is None:
            return False
        starts = [s.indices(n)[0] for s, n in zip(box, self._size, strict=True)]
        edited = (_moved(inner[0], starts[0]), _moved(inner[1], starts[1]))
        return self._write(t, z, edited, found[inner], saved[inner])

    def _write(
        self,
        t: int,
        z: int,
        box: tuple[slice, slice],
        found: NDArray[Any],
        saved: NDArray[np.int32],
    ) -> bool:
        if found.min() < 0 or found.max() > HIGHEST_ID:
            self._report(
                f"{self._layer.name}: labels are 0 to {HIGHEST_ID}, "
                f"found {found.min()} to {found.max()}; those beyond are not saved."
            )
            found = np.where((found >= 0) & (found <= HIGHEST_ID), found, saved)
            if np.array_equal(found, saved):
                return False
        try:
            self._file.write(t, z, box, found)
        except OSError as error:
            self._report(f"{self._layer.name}: {error.strerror or error}")
            self._disk_failed = True
            return False
        if self._disk_failed:
            self.problem, self._disk_failed = None, False
        self.edited.emit(Edit(t, z, box))
        return True

    def _sweep(self, end: float) -> None:
        """Compare rows of the plane in view, then of the others, until `end`."""
        planes, rows = self._file.planes, self._rows()
        t, z = self._regions.place() or planes[0]
        for _ in range(-(-self._size[0] // (rows * _TICKS_IN_VIEW))):
            self._view_row = self._compare_rows(t, z, self._view_row, rows)
            if perf_counter() > end:
                break
        while True:
            plane = planes[self._other % len(planes)]
            self._other_row = self._compare_rows(*plane, self._other_row, rows)
            self._other = (self._other + (self._other_row == 0)) % len(planes)
            # One round is enough where the planes are few and small.
            if perf_counter() > end or (self._other == 0 and self._other_row == 0):
                return

    def _compare_rows(self, t: int, z: int, row: int, rows: int) -> int:
        """Compare some rows of a plane, all if they differ; return where to go on."""
        if self._compare(t, z, (slice(row, row + rows), slice(None))):
            self._compare(t, z, _WHOLE)
        return row + rows if row + rows < self._size[0] else 0

    def _rows(self) -> int:
        """Rows to compare at a time: of an array in chunks, whole chunks."""
        chunks: Sequence[Any] = getattr(self._data, "chunks", None) or ()
        chunk = chunks[self._file.axes.index("y")] if chunks else 1
        return -(-_ROWS // chunk) * chunk if isinstance(chunk, int) else _ROWS


def different_box(one: NDArray[Any], other: NDArray[Any]) -> tuple[slice, slice] | None:
    """Return the smallest box that holds all differences of two planes (y, x).

    None if there are none. Costs about a millisecond for 2048 x 2048 int32.
    """
    starts = [
        row
        for row in range(0, len(one), _ROWS)
        if not np.array_equal(one[row : row + _ROWS], other[row : row + _ROWS])
    ]
    if not starts:
        return None
    band = slice(starts[0], starts[-1] + _ROWS)
    different = one[band] != other[band]
    rows = span(np.flatnonzero(different.any(axis=1)))
    return _moved(rows, starts[0]), span(np.flatnonzero(different.any(axis=0)))


def _moved(part: slice, by: int) -> slice:
    return slice(part.start + by, part.stop + by)
