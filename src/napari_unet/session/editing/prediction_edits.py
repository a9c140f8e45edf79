"""Edits of predicted cells: shown at once, kept on disk, undone and redone."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_unet.core.annotation.annotations import BACKGROUND, FIRST_OBJECT, UNKNOWN
from napari_unet.core.cells.label_ids import distinct
from napari_unet.core.cells.neighbour_colours import neighbours
from napari_unet.core.geometry.boxes import around
from napari_unet.core.text import place_words
from napari_unet.session.project.annotation_file import plane_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.jobs import Place
    from napari_unet.session.editing.reshape import Reshaped
    from napari_unet.session.prediction.results import ResultLayers
    from napari_unet.session.prediction.segmentation import Segmenter
    from napari_unet.session.project.annotation_file import AnnotationFile
    from napari_unet.session.project.store import ProjectStore

Way = Literal[0, 1]
"""Undo or redo."""

# As many steps as napari keeps for strokes.
_STEPS = 100


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A change in a box of a slice: the record of edits, and the cells shown."""

    t: int
    z: int
    box: Box
    recorded: tuple[NDArray[np.int32], NDArray[np.int32]]  # before and after
    shown: tuple[NDArray[np.int32], NDArray[np.int32]]

    def more(self, way: Way) -> int:
        """Return by how many cells the edit changed their number."""
        now, before = self.shown[way], self.shown[1 - way]
        return int(np.count_nonzero(distinct(now)) - np.count_nonzero(distinct(before)))


@dataclass(slots=True, eq=False)
class Edit:
    """An edit of the cells of an image, a single undo step."""

    what: str  # in a word, for people
    image_id: str
    place: Place
    parts: list[_Part] = field(default_factory=list)
    # version of the cells that its ids belong to: whose, and how often they were found
    of_cells: tuple[ResultLayers, int] | None = None
    # undoes (0) or redoes (1) the change of the annotation
    annotate: Callable[[Way], None] | None = None


class PredictionEdits:
    """Changes predicted cells, in a record of the project and in what is shown.

    `results` are the latest of each image, by its id.
    """

    def __init__(
        self,
        store: ProjectStore,
        results: dict[str, ResultLayers],
        segmenter: Segmenter,
    ) -> None:
        self._store, self._results, self._segmenter = store, results, segmenter
        # undone and done edits, the latest at the end
        self._edits: tuple[deque[Edit], deque[Edit]] = deque(), deque(maxlen=_STEPS)

    def make(
        self, what: str, results: ResultLayers, t: int, z: int, reshaped: Reshaped
    ) -> Edit:
        """Carry out an edit of a slice; what it changes no longer follows the settings.

        Cells of a 3-D network are kept, deleted and merged in all slices.

        OSError if the disk is full, ValueError if the record does not fit the image;
        then nothing is changed.
        """
        file = self._made(results)
        place = results.cells.place_of(t, z)
        values = {
            i: max(file.highest, BACKGROUND) + n for n, i in enumerate(reshaped.ids, 1)
        }
        edit = Edit(what, results.image.id, place)
        planes = {z: (reshaped.box, reshaped.before, reshaped.after)}
        if place[1] is None:
            planes |= _elsewhere(results, t, z, reshaped)
        for at, (box, before, after) in planes.items():
            old = np.array(file.plane(t, at)[box])
            new = np.where((before != after) & (after == 0), BACKGROUND, old)
            for id_, value in values.items():
                new[after == id_] = value
            edit.parts.append(_Part(t, at, box, (old, new), (before, after)))
        self._begin(results, edit)
        return edit

    def forget(self, results: ResultLayers, t: int, z: int) -> bool:
        """Discard the edits of a slice, or volume; return whether there were any."""
        file = self._store.cell_edits(results.image.id)
        place = results.cells.place_of(t, z)
        edit = Edit("forget edits", results.image.id, place)
        planes = file.places if file is not None else ()
        for plane in planes:
            if plane[0] != t or place[1] not in (None, plane[1]):
                continue
            recorded = self.record(results, *plane)
            box = around(recorded != UNKNOWN)
            if box is not None:
                old, cells = (
                    np.array(recorded[box]),
                    np.array(_shown(results, *plane)[box]),
                )
                left = np.where(old >= FIRST_OBJECT, 0, cells)
                pairs = (old, np.zeros_like(old)), (cells, left)
                edit.parts.append(_Part(*plane, box, *pairs))
        if edit.parts:
            self._begin(results, edit, again=True)
        return bool(edit.parts)

    def record(self, results: ResultLayers, t: int, z: int) -> NDArray[np.int32]:
        """Return what was edited in a slice, (y, x): see `core.cells.edited`."""
        file = self._store.cell_edits(results.image.id)
        if file is None or not file.has(t, z):
            return np.zeros(_shown(results, t, z).shape, np.int32)
        return file.plane(t, z)

    def undo(self, image_id: str) -> str | None:
        """Undo the last edit of an image; return what and where, None if none."""
        return self._turn(image_id, 0)

    def redo(self, image_id: str) -> str | None:
        """Redo what was undone last; return what and where, None if there is none."""
        return self._turn(image_id, 1)

    def _made(self, results: ResultLayers) -> AnnotationFile:
        file = self._store.cell_edits(results.image.id, make=True)
        if file is None:
            raise ValueError(f"{results.image.name}: edits cannot be kept.")
        return file

    def _begin(self, results: ResultLayers, edit: Edit, *, again: bool = False) -> None:
        self._write(results, edit, 1, again=again)
        undone, done = self._edits
        done.append(edit)
        undone.clear()

    def _turn(self, image_id: str, way: Way) -> str | None:
        source, target = self._edits[1 - way], self._edits[way]
        edit = next((e for e in reversed(source) if e.image_id == image_id), None)
        results = self._results.get(image_id)
        if edit is None or results is None:
            return None
        self._write(results, edit, way)
        if edit.annotate is not None:
            edit.annotate(way)
        source.remove(edit)
        target.append(edit)
        # it may be in a slice that is not in view
        t, z = edit.place
        axes = results.image.axes.replace("z", "" if z is None else "z")
        return ", ".join([edit.what, *place_words(axes, t, z or 0)])

    def _write(
        self, results: ResultLayers, edit: Edit, way: Way, *, again: bool = False
    ) -> None:
        """Undo (0) or redo (1) an edit, first on disk, then in the layer.

        If cells were segmented since, as after another threshold, ids may be those of
        others: they are segmented again with the record as it is now.
        """
        _keep(self._made(results), edit.parts, way)
        here = results, results.cells.found
        if edit.of_cells in (None, here):
            edit.of_cells = here
            self._show(results, edit, way)
        else:
            again = True
        results.unexported = True
        self._segmenter.edited(results, edit.place, again=again)

    def _show(self, results: ResultLayers, edit: Edit, way: Way) -> None:
        cells = results.cells
        for part in edit.parts:
            _shown(results, part.t, part.z)[part.box] = part.shown[way]
            cells.highest = max(cells.highest, int(part.shown[way].max(initial=0)))
            # parts of a cell that was split get different colours
            results.colours.add(edit.place, neighbours(part.shown[way]))
            results.refresh(part.t, part.z, "cells")
        if edit.place in cells.counts:
            cells.counts[edit.place] += edit.parts[0].more(way)
        results.colour_cells()


def _keep(file: AnnotationFile, parts: Sequence[_Part], way: Way) -> None:
    """Write parts of an edit to its file: all of them, or with an OSError none."""
    written: list[_Part] = []
    try:
        for part in parts:
            file.write(part.t, part.z, part.box, part.recorded[way])
            written.append(part)
    except OSError:
        for part in written:
            file.write(part.t, part.z, part.box, part.recorded[1 - way])
        raise


def _shown(results: ResultLayers, t: int, z: int) -> NDArray[np.int32]:
    """Return a view of the cells of a slice, (y, x), that can be written to."""
    axes, cells = results.image.annotation_axes, results.files.arrays["cells"]
    plane: NDArray[np.int32] = plane_of(np.asarray(cells), axes, t, z)
    return plane


def _elsewhere(
    results: ResultLayers, t: int, z: int, reshaped: Reshaped
) -> dict[int, tuple[Box, NDArray[np.int32], NDArray[np.int32]]]:
    """Return the changes of an edit in the other slices of a volume."""
    gone = reshaped.gone
    ids = [*reshaped.ids, *gone]
    found = {}
    for other in range(results.image.sizes["z"]):
        plane = _shown(results, t, other)
        box = around(np.isin(plane, ids)) if other != z else None
        if box is not None:
            before = np.array(plane[box])
            after = before.copy()
            for id_, now in gone.items():
                after[before == id_] = now
            found[other] = box, before, after
    return found
