"""Cells from probabilities, plane by plane, and their ids through the slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import cell_classes
from napari_unet.core.cells.instances import segment_instances
from napari_unet.core.cells.labelmap import at_edge, sizes
from napari_unet.core.cells.linking import Chain, count_overlaps
from napari_unet.core.events import CellsFound, CellsLinked
from napari_unet.core.images.image import Field, Image

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import SegmentJob
    from napari_unet.core.settings import Segmentation


def run(job: SegmentJob) -> Iterator[Event | None]:
    """Find the cells of the places asked for, then link them if asked to.

    Yields
    ------
    Event or None
        `CellsFound` after each place, None after each slice that is linked, and
        `CellsLinked` at the end of linking.

    Raises
    ------
    ValueError
        If the array for the cells does not have the shape of the probabilities
        without their classes.

    Notes
    -----
    In the end the cells are those of `segment_image`, yet no more than two planes, or
    one volume, are in memory. Linking can be cancelled and done again at any time.
    Where cells at the edge are dropped, it finds the cells of all slices again: one
    that touches the edge in one slice is dropped from all.
    """
    work = _Work(job)
    for count, (t, z) in enumerate(job.places, start=1):
        cells = work.find(t, z, job.settings)
        work.write(t, z, cells)
        number = int(cells.max(initial=0))
        yield CellsFound(t, z, number, count / len(job.places))
    if job.link and job.ndim == 2 and work.image.size("z") > 1:
        total = 0
        for t in range(work.image.size("t")):
            total += yield from _link(work, t, job.settings)
        yield CellsLinked(total)


def warm_up() -> None:
    """Load or compile all steps, so that the first cells come as fast as later ones.

    It takes about a second, on a new installation some seconds.
    """
    probabilities = np.zeros((2, 9, 9), np.float32)
    probabilities[1, 2:7, 2:7] = 1
    segment_instances(probabilities)


class _Work:
    """The arrays of a job, read and written plane by plane."""

    def __init__(self, job: SegmentJob) -> None:
        axes = job.axes.replace("c", "")
        wanted = tuple(
            n
            for n, a in zip(job.probabilities.shape, job.axes, strict=True)
            if a != "c"
        )
        if job.cells.shape != wanted:
            raise ValueError(
                f"the cells need an array of shape {wanted}, found {job.cells.shape}."
            )
        self.image = Image(job.probabilities.open(), job.axes, job.spacing_um)
        self._cells = Image(job.cells.open(writable=True), axes)
        self._classes = cell_classes(job.classes)

    def find(self, t: int, z: int | None, settings: Segmentation) -> NDArray[np.int32]:
        """Find the cells of a plane or volume."""
        field = Field(self.image, t, z)
        return segment_instances(
            field.read(),
            settings,
            cell_classes=self._classes,
            spacing=self.image.field_spacing(field.ndim),
        )

    def read(self, t: int, z: int) -> NDArray[np.int32]:
        """Copy the cells of a plane."""
        return np.array(Field(self._cells, t, z).read()[0])

    def write(self, t: int, z: int | None, cells: NDArray[np.int32]) -> None:
        """Write the cells of a plane or volume, whatever the order of the axes."""
        at: dict[str, Any] = {"t": t} if z is None else {"t": t, "z": z}
        index = tuple(at.get(a, slice(None)) for a in self._cells.axes)
        left = [a for a in self._cells.axes if a not in at]
        # a volume of an image without the axis z has one slice
        cells = cells.reshape(cells.shape[-len(left) :])
        target: Any = self._cells.data
        target[index] = cells.transpose(["zyx"[-len(left) :].index(a) for a in left])


def _link(work: _Work, t: int, settings: Segmentation) -> Generator[None, None, int]:
    """Give the cells of a frame ids through all slices; return their number."""
    slices = range(work.image.size("z"))
    each = settings.replace(clear_border=False)
    chain = Chain(settings.link_iou)
    above: NDArray[np.int32] | None = None
    touching: set[int] = set()
    for z in slices:
        found = work.find(t, z, each) if settings.clear_border else work.read(t, z)
        overlaps = None
        if settings.link_z == "overlap" and above is not None:
            overlaps = count_overlaps(above, found)
        linked = chain.add(sizes(found), overlaps)[found]
        if settings.clear_border:
            touching.update(np.flatnonzero(at_edge(linked)).tolist())
        work.write(t, z, linked)
        above = found
        yield None
    if not touching:
        return chain.last
    keep = np.ones(chain.last + 1, bool)
    keep[[0, *touching]] = False
    numbers = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    for z in slices:
        work.write(t, z, numbers[work.read(t, z)])
        yield None
    return int(numbers.max())
