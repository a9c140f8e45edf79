"""Cells from probabilities, plane by plane, and their ids through slices and time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import cell_classes
from napari_unet.core.cells.class_map import field_classes
from napari_unet.core.cells.edited import with_annotation, with_edits
from napari_unet.core.cells.instances import segment_instances
from napari_unet.core.cells.linking import SliceLinker, ids_before
from napari_unet.core.cells.neighbour_colours import neighbours
from napari_unet.core.cells.tracking import track_frames
from napari_unet.core.events import (
    CellsFound,
    CellsLinked,
    CellsRenumbered,
    NeighboursFound,
)
from napari_unet.core.images.image import Field, Image

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray

    from napari_unet.core.cells.tracking import Tracks
    from napari_unet.core.events import Event
    from napari_unet.core.jobs import Place, SegmentJob
    from napari_unet.core.settings import Segmentation


def run(job: SegmentJob) -> Iterator[Event | None]:
    """Find the cells and regions of the job's places, and link cells if requested.

    `CellsFound` and `NeighboursFound` come after each place, None after each slice that
    is linked and each frame that is followed, and `CellsLinked` at the end of both;
    where cells were before, `CellsRenumbered` comes first. An array for the cells that
    does not have the shape of the probabilities without their classes is a ValueError.

    In the end the cells are those of `segment_image`, yet no more than two planes, or
    one volume, are in memory. Linking can be cancelled and done again at any time.
    Where cells at the edge are dropped, it finds the cells of all slices again: one
    that touches the edge in one slice is dropped from all.
    """
    arrays = _Arrays(job)
    for count, (t, z) in enumerate(job.places, start=1):
        cells = arrays.find(t, z, job.settings)
        arrays.write(t, z, cells)
        arrays.decide(t, z, job.settings)
        number = int(cells.max(initial=0))
        yield from arrays.renumbered()
        yield CellsFound(t, z, number, count / len(job.places))
        # after the cells: colours can come later
        yield NeighboursFound(t, z, neighbours(cells))
    if not job.link:
        return
    in_slices = job.ndim == 2 and arrays.image.size("z") > 1
    total = 0
    if in_slices:
        for t in range(arrays.image.size("t")):
            linker = SliceLinker.of(job.settings)
            slices = arrays.slices(t, job.settings)
            read, write = partial(arrays.read, t), partial(arrays.write, t)
            total += yield from linker.link(slices, read, write)
    if job.settings.track and arrays.image.size("t") > 1:
        tracks = yield from arrays.follow(job.settings)
        pairs = yield from arrays.neighbours()
        yield from arrays.renumbered()
        yield CellsLinked(tracks.count, tracks, pairs)
    elif in_slices:
        pairs = yield from arrays.neighbours()
        yield from arrays.renumbered()
        yield CellsLinked(total, None, pairs)


def warm_up() -> None:
    """Load or compile all steps, so that the first cells come as fast as later ones.

    It takes about a second, on a new installation some seconds.
    """
    probabilities = np.zeros((2, 9, 9), np.float32)
    probabilities[1, 2:7, 2:7] = 1
    segment_instances(probabilities)


class _Arrays:
    """The arrays of a job, read and written plane by plane."""

    def __init__(self, job: SegmentJob) -> None:
        self.image = Image(job.probabilities.open(), job.axes, job.spacing_um)
        axes = job.axes.replace("c", "")
        wanted = tuple(self.image.size(a) for a in axes)
        if job.cells.shape != wanted:
            raise ValueError(
                f"the cells need an array of shape {wanted}, found {job.cells.shape}."
            )
        self._cells = Image(job.cells.open(writable=True), axes, job.spacing_um)
        self._edits = None if job.edits is None else Image(job.edits.open(), axes)
        self._painted = job.painted
        self._class_map: Image | None = None
        if job.class_map is not None:
            self._class_map = Image(job.class_map.open(writable=True), axes)
        # needed only where borders follow edges
        self._pixels = self.image if job.image is None else job.image.open()
        self._classes = cell_classes(job.classes)
        # of each place that was written, by the new id, the id before
        self._was: dict[Place, NDArray[np.int64]] = {}

    def find(self, t: int, z: int | None, settings: Segmentation) -> NDArray[np.int32]:
        """Find the cells of a plane or volume, with the edited ones as they are."""
        field = Field(self.image, t, z)
        cells = segment_instances(
            field.read(),
            settings,
            cell_classes=self._classes,
            spacing=self.image.field_spacing(field.ndim),
        )
        if self._painted is not None:
            painted = self._painted.field(t, z).without_regions()
            cells = with_annotation(cells, painted.reshape(cells.shape))
        if self._edits is None:
            return cells
        edits = Field(self._edits, t, z).read()[0]
        return with_edits(cells, edits.reshape(cells.shape))

    def slices(self, t: int, settings: Segmentation) -> Iterator[NDArray[np.int32]]:
        """Yield the cells of each slice, those at the edge too."""
        for z in range(self.image.size("z")):
            if settings.clear_border:
                yield self.find(t, z, settings.replace(clear_border=False))
            else:
                yield self.read(t, z)

    def follow(self, settings: Segmentation) -> Generator[None, None, Tracks]:
        """Give cells the ids of their tracks; a frame is changed as a whole."""
        tracks = yield from track_frames(self._cells, settings)
        for t in range(self.image.size("t")):
            for z in range(self.image.size("z")):
                self.write(t, z, tracks.rename(t, self.read(t, z)))
            yield
        return tracks

    def neighbours(
        self,
    ) -> Generator[None, None, dict[tuple[int, int], NDArray[np.int64]]]:
        """Find the cells of each plane that touch."""
        found = {}
        for t in range(self.image.size("t")):
            for z in range(self.image.size("z")):
                found[t, z] = neighbours(self.read(t, z))
                yield
        return found

    def read(self, t: int, z: int) -> NDArray[np.int32]:
        """Copy the cells of a plane."""
        return np.array(Field(self._cells, t, z).read()[0])

    def write(self, t: int, z: int | None, cells: NDArray[np.int32]) -> None:
        """Write the cells of a plane or volume, and note which ids they had."""
        before = Field(self._cells, t, z).read()[0]
        was = ids_before(before.reshape(cells.shape), cells)
        # of what is written twice, the ids before the first time
        first = self._was.get((t, z))
        self._was[t, z] = was if first is None else first[was]
        _write(self._cells, t, z, cells)

    def renumbered(self) -> Iterator[CellsRenumbered]:
        """Tell which ids cells had that were written since it was told last."""
        was, self._was = self._was, {}
        if any(ids.any() for ids in was.values()):
            yield CellsRenumbered(was)

    def decide(self, t: int, z: int | None, settings: Segmentation) -> None:
        """Write the classes of a plane or volume, without the removed pieces."""
        if self._class_map is not None:
            field, shown = Field(self.image, t, z), Field(self._pixels, t, z)
            decided = field_classes(field, shown, settings, self._classes)
            _write(self._class_map, t, z, decided)


def _write(image: Image, t: int, z: int | None, values: NDArray[np.integer]) -> None:
    """Write a plane or volume, whatever the order of the axes."""
    left = [a for a in image.axes if a in "zyx" and (a != "z" or z is None)]
    # a volume of an image without the axis z has one slice
    values = values.reshape(values.shape[-len(left) :])
    target: Any = image.data
    order = ["zyx"[-len(left) :].index(a) for a in left]
    target[Field(image, t, z).index()] = values.transpose(order)
