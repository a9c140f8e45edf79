"""Cells of probabilities on disk, block by block; memory does not grow with the image.

Three passes: each block is segmented with a margin around it, and its parts of cells
are written with ids of their own; the ids of all blocks are brought together, for a
stack of planes through z too; then the numbers are written, and where cells are
followed through time, once more as those of their tracks. What is kept in memory of the
whole are some dozen bytes for each cell.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from napari_unet.core.cells.instances import segment_instances
from napari_unet.core.cells.linking import (
    Overlaps,
    SliceLinker,
    add_overlaps,
    count_overlaps,
)
from napari_unet.core.cells.stitching import Parts, numbers, split_off
from napari_unet.core.cells.tracking import track_frames
from napari_unet.core.events import BlockDone
from napari_unet.core.geometry.blocks import Block, cut
from napari_unet.core.images.image import Field, Image
from napari_unet.io.ome_zarr import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.settings import Segmentation
    from napari_unet.io.resumable_output import LargeArray, ResumableOutput

    Numbers = NDArray[np.uint32]

Result = TypeVar("Result")

# Pixels beyond the widest ridge in which blocks are compared around their cores.
_BESIDE = 4
# Largest box that is copied at a time.
_COPIED = (4, 2048, 2048)


@dataclass(frozen=True, slots=True)
class BlockSizes:
    """How fields are cut.

    The cells are those of the whole field wherever the connected foreground that
    reaches into a core, and what is within `Segmentation.ridge` of it, is inside the
    window and 32 pixels off its inner edges: so for all foreground no larger than the
    margin less 32 pixels and the width of two ridges. Touching cells are one connected
    foreground; what happens more than a few cells away hardly ever matters to them.
    Larger cells get one id too, but may be cut at other necks than in the whole.
    """

    # largest block that the network does between two notes of what is done, ([z,] y,
    # x), in pixels
    predicted_plane: tuple[int, int] = (4096, 4096)
    predicted_volume: tuple[int, int, int] = (128, 512, 512)
    whole: int = 2**24  # pixels of a field up to which it is segmented as a whole
    # largest core of a block that is segmented
    plane: tuple[int, int] = (2048, 2048)
    volume: tuple[int, int, int] = (96, 192, 192)
    # around the core on each side, in pixels of the finest axis
    plane_margin: int = 256
    volume_margin: int = 48

    def most(self, ndim: int) -> int:
        """Return the pixels of the largest block for the network."""
        return prod(self.predicted_plane if ndim == 2 else self.predicted_volume)

    def predicted(self, shape: Sequence[int]) -> list[Block]:
        """Cut a field into blocks for the network."""
        side = self.predicted_plane if len(shape) == 2 else self.predicted_volume
        return cut(shape, side, unit=self.chunk(len(shape), predicted=True))

    def segmented(self, shape: Sequence[int], spacing: Sequence[float]) -> list[Block]:
        """Cut a field into blocks for segmentation."""
        if prod(shape) <= self.whole:
            return cut(shape, shape)
        side: tuple[int, ...] = self.plane
        margin = self.plane_margin
        if len(shape) == 3:
            side, margin = self.volume, self.volume_margin
        margins = [ceil(margin / step) for step in spacing]
        return cut(shape, side, margins, unit=self.chunk(len(shape)))

    def chunk(self, ndim: int, *, predicted: bool = False) -> int:
        """Return the side of a stored chunk: no two blocks write to one."""
        if predicted:
            side = self.predicted_plane if ndim == 2 else self.predicted_volume
        else:
            side = self.plane if ndim == 2 else self.volume
        return min(side[-1], CHUNK)


DEFAULT_SIZES = BlockSizes()


class BlockSegmentation:
    """Segments one prediction on disk; `work` keeps what is done.

    The other arguments are those of `core.cells.instances.segment_image`.
    """

    def __init__(
        self,
        probabilities: Image,
        ndim: int,
        settings: Segmentation,
        cell_classes: Sequence[int] | None,
        work: ResumableOutput,
        sizes: BlockSizes = DEFAULT_SIZES,
    ) -> None:
        self._image = probabilities
        self._ndim = ndim
        self._settings = settings
        self._classes = cell_classes
        self._work = work
        self._sizes = sizes
        self._linked = ndim == 2 and probabilities.size("z") > 1
        self._tracked = settings.track and probabilities.size("t") > 1
        self._fields = list(probabilities.fields(ndim))
        self._spacing = probabilities.field_spacing(ndim)
        self._blocks = sizes.segmented(probabilities.field_shape(ndim), self._spacing)
        self._axes = "".join(a for a in "tzyx" if a in probabilities.axes)
        self._shape = [probabilities.size(a) for a in self._axes]

    def events(self, kind: str, target: Path) -> Generator[BlockDone, None, int]:
        """Find the cells, write them to an OME-Zarr, and return their number.

        `BlockDone` comes for each block that is segmented, and each that has its
        numbers. Each time point has ids of its own, unless cells are followed.
        """
        if not self._work.is_done(kind):
            parts = self._array("parts", Path(f"{target.stem}.zarr"), np.uint32)
            yield from self._find_parts(parts)
            tables = self._tables(parts)
            count, most = self._count(tables), max(int(table.max()) for table in tables)
            first = "untracked" if self._tracked else kind
            cells = self._array(first, target, np.min_scalar_type(most))
            yield from self._write(
                first,
                parts,
                cells,
                lambda number, ids: tables[number].astype(cells.data.dtype)[ids],
            )
            if self._tracked:
                count = yield from self._track(kind, target, cells)
            self._work.done(kind, cells=np.array(count))
        return int(self._work.results(kind)["cells"])

    def _track(
        self, kind: str, target: Path, cells: LargeArray
    ) -> Generator[BlockDone, None, int]:
        """Write tracks in place of the ids of each time point; return how many."""
        found = Image(cells.data, self._axes, self._image.known_um)
        frames = self._image.size("t")
        tracks = yield from told(track_frames(found, self._settings), "tracks", frames)
        depth = len(self._fields) // frames
        out = self._array(kind, target, np.min_scalar_type(tracks.count))
        yield from self._write(
            kind, cells, out, lambda number, ids: tracks.rename(number // depth, ids)
        )
        return tracks.count

    def _array(self, kind: str, target: Path, dtype: DTypeLike) -> LargeArray:
        chunk = self._sizes.chunk(self._ndim) if kind == "parts" else CHUNK
        return self._work.array(
            kind, target, self._shape, self._axes, dtype, self._image.known_um, chunk
        )

    def _find_parts(self, out: LargeArray) -> Iterator[BlockDone]:
        """Segment each block and write the parts of cells in its core."""
        each = self._settings.replace(clear_border=False)
        count = len(self._fields) * len(self._blocks)
        for number, field in enumerate(self._fields):
            last = 0
            for k, block in enumerate(self._blocks):
                step = f"parts-{number}-{k}"
                if not self._work.is_done(step):
                    cells = segment_instances(
                        field.read(block.window),
                        each,
                        cell_classes=self._classes,
                        spacing=self._spacing,
                    )
                    parts = self._keep_core(out, field, block, cells, last)
                    self._work.done(step, **asdict(parts))
                    done = number * len(self._blocks) + k + 1
                    yield BlockDone("cells", done / count)
                last += len(self._work.results(step)["first"])

    def _keep_core(
        self,
        out: LargeArray,
        field: Field,
        block: Block,
        cells: NDArray[np.int32],
        last: int,
    ) -> Parts:
        """Write the ids of a core; blocks after it have written nothing yet."""
        finest = min(self._spacing)
        reach = ceil(self._settings.ridge / finest) + _BESIDE
        labels = self._labels(out, field)
        before = labels.read(block.around(reach))[0]
        ids, parts = split_off(cells, block, field.shape, last, before, reach)
        out.write(labels.index(block.core), ids)
        return parts

    def _tables(self, parts: LargeArray) -> list[Numbers]:
        """Return for each field the number of the cell that each part belongs to."""
        if not self._linked:
            return [
                numbers(
                    self._parts_of(number), clear_border=self._settings.clear_border
                )
                for number in range(len(self._fields))
            ]
        depth = self._image.size("z")
        frames = [
            range(first, first + depth) for first in range(0, len(self._fields), depth)
        ]
        return [table for frame in frames for table in self._link(parts, frame)]

    def _link(self, parts: LargeArray, frame: range) -> list[Numbers]:
        """As `core.cells.instances.segment_image` links the slices of a frame."""
        linker = SliceLinker.of(self._settings)
        tables: list[Numbers] = []
        in_slice: list[Numbers] = []
        for number in frame:
            found = self._parts_of(number)
            in_slice = [*in_slice[-1:], numbers(found, clear_border=False)]
            overlaps = None
            if linker.min_iou is not None and len(in_slice) == 2:
                overlaps = self._overlaps(parts, number, in_slice)
            cell = in_slice[-1]
            pixels = np.concatenate([[0], *(p.sizes for p in found)])
            sizes = np.bincount(cell, pixels).astype(np.int64)
            edge = np.zeros(sizes.size, bool)
            edge[cell[np.concatenate([[False], *(p.at_edge for p in found)])]] = True
            ids = linker.add(sizes, overlaps, edge if linker.clear_border else None)
            tables.append(ids[cell].astype(np.uint32))
        left = linker.without_border()
        if left is None:
            return tables
        return [left[table].astype(np.uint32) for table in tables]

    def _overlaps(
        self, parts: LargeArray, number: int, in_slice: list[Numbers]
    ) -> Overlaps:
        """Count how the cells of a slice lie on those of the slice before."""
        fields = self._fields[number - 1 : number + 1]
        first, second = (self._labels(parts, field) for field in fields)
        above, below = in_slice
        return add_overlaps(
            [
                count_overlaps(above[first.read(b.core)], below[second.read(b.core)])
                for b in self._boxes()
            ]
        )

    def _write(
        self,
        kind: str,
        source: LargeArray,
        out: LargeArray,
        rename: Callable[[int, NDArray[Any]], NDArray[Any]],
    ) -> Iterator[BlockDone]:
        """Write other ids in place of those of each field, by the field's number."""
        for left in remaining(self._work, kind, self._fields, self._boxes()):
            ids = self._labels(source, left.field).read(left.box)
            new = rename(left.number, ids).astype(out.data.dtype, copy=False)
            out.write(self._labels(out, left.field).index(left.box), new)
            self._work.done(left.step)
            yield BlockDone("numbers", left.progress)

    def _parts_of(self, number: int) -> list[Parts]:
        """Return what was found in the blocks of a field."""
        return [
            Parts(**self._work.results(f"parts-{number}-{k}"))
            for k in range(len(self._blocks))
        ]

    def _boxes(self) -> list[Block]:
        """Cut a field into boxes to be copied, along the chunks of the output."""
        return cut(self._fields[0].shape, _COPIED[-self._ndim :], unit=CHUNK)

    def _labels(self, array: LargeArray, field: Field) -> Field:
        """Return the field of an array of labels that belongs to one of the image."""
        return Field(Image(array.data, array.axes), field.t, field.z)

    def _count(self, tables: list[Numbers]) -> int:
        """Count the cells; each time point has ids of its own."""
        frames = self._image.size("t")
        each = len(tables) // frames
        return sum(
            max(int(table.max()) for table in tables[t * each : (t + 1) * each])
            for t in range(frames)
        )


def told(
    job: Generator[None, None, Result], stage: str, steps: int
) -> Generator[BlockDone, None, Result]:
    """Tell of each step of a job, of which there may be more; return its result."""
    done = 0
    try:
        while True:
            next(job)
            done += 1
            yield BlockDone(stage, min(done / steps, 1.0))
    except StopIteration as end:
        result: Result = end.value
        return result


class RemainingBox(NamedTuple):
    """A box of one of several fields that is still to be done."""

    step: str  # its name among the steps of the work
    number: int  # of the field
    field: Field
    block: Block
    progress: float  # share of all that is done with it, 0 to 1

    @property
    def box(self) -> Box:
        """Its own pixels."""
        return self.block.core


def remaining(
    work: ResumableOutput, kind: str, fields: Sequence[Field], boxes: Sequence[Block]
) -> Iterator[RemainingBox]:
    """Yield what is not done yet, box by box of each field."""
    for number, field in enumerate(fields):
        for k, box in enumerate(boxes):
            step = f"{kind}-{number}-{k}"
            if not work.is_done(step):
                progress = (number + (k + 1) / len(boxes)) / len(fields)
                yield RemainingBox(step, number, field, box, progress)
