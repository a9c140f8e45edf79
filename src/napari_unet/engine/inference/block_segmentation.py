"""Cells of probabilities on disk, block by block; memory does not grow with the image.

Each block is segmented with a margin, and its parts of cells are written with ids of
the block; blocks are compared where they overlap; the ids are merged over all blocks,
and linked through z for a stack of planes; then the final ids are written, and again
as ids of tracks if cells are followed through time. All but the merging are `steps`.
Memory holds some bytes for each cell of a row of blocks, and for each that lies in
several blocks.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import chain, pairwise
from math import ceil, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.cells.instances import segment_instances
from napari_unet.core.cells.linking import (
    Overlaps,
    SliceLinker,
    add_overlaps,
    count_overlaps,
)
from napari_unet.core.cells.merging import Slab, merged
from napari_unet.core.cells.stitching import on_each_other, split_off
from napari_unet.core.cells.tracking import track_frames
from napari_unet.core.geometry.blocks import Block, Grid, cut
from napari_unet.core.geometry.boxes import common, full_box, shape_of, within
from napari_unet.core.images.image import Field, Image
from napari_unet.engine.inference.block_sizes import DEFAULT_SIZES, BlockSizes
from napari_unet.engine.inference.steps import Serial, Step, carry_out, with_progress
from napari_unet.io.ome_zarr import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

    from napari_unet.core.events import Event
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.settings import Segmentation
    from napari_unet.engine.inference.steps import Executor
    from napari_unet.io.resumable_output import LargeArray, ResumableOutput
    from napari_unet.io.write_behind import WriteBehind

    Numbers = NDArray[np.uint32]

# Pixels beyond the widest ridge in which blocks are compared around their cores.
_BESIDE = 4
# Largest box that is copied at a time.
_COPIED = (4, 2048, 2048)
# Tables of numbers: of parts in their slice, in all slices, and of cells in all times.
_SLICES, _CELLS, _TRACKS = "slices", "cells", "tracks"


@dataclass(eq=False)
class BlockSegmentation:
    """Segments one prediction on disk; `work` records finished steps.

    The other arguments are those of `core.cells.instances.segment_image`.
    """

    probabilities: Image
    ndim: int
    settings: Segmentation
    cell_classes: Sequence[int] | None
    work: ResumableOutput
    sizes: BlockSizes = DEFAULT_SIZES
    executor: Executor = field(default_factory=Serial)

    def __post_init__(self) -> None:
        image, ndim = self.probabilities, self.ndim
        self._linked = ndim == 2 and image.size("z") > 1
        self._tracked = self.settings.track and image.size("t") > 1
        self._fields = list(image.fields(ndim))
        self._spacing = image.field_spacing(ndim)
        self._blocks = self.sizes.segmented(image.field_shape(ndim), self._spacing)
        self._grid = Grid(self._blocks)
        self._axes = image.label_axes
        self._shape = [image.size(a) for a in self._axes]
        self._boxes = cut(self._fields[0].shape, _COPIED[-ndim:], unit=CHUNK)
        # with pixels of one cell between them there are fewer others than this
        self._reach = ceil(self.settings.ridge / min(self._spacing)) + _BESIDE
        self._kind, self._target = "instances", Path(f"{image.name}.zarr")
        self._opened: dict[str, LargeArray] = {}
        self._places: dict[str, NDArray[np.int64]] = {}

    def events(self, kind: str, target: Path) -> Generator[Event, None, int]:
        """Find the cells, write them to an OME-Zarr, and return their number.

        `BlockDone` comes for each block that is segmented, and each that has its
        numbers. Each time point has ids of its own, unless cells are followed.
        """
        self.begin(kind, target)
        if not self.work.is_done(kind):
            yield from self._carry_out(self.steps())
        return (yield from self.finish())

    def begin(self, kind: str, target: Path) -> None:
        """Set the kind and path of the output."""
        self._kind, self._target = kind, target

    def steps(
        self, needs: Callable[[int, Box], tuple[str, ...]] | None = None
    ) -> list[Step]:
        """Return the steps that find the parts of cells and compare blocks.

        `needs` returns the steps to finish before a box of a field, given by its
        number, is read. There are no steps once all cells are found.
        """
        if self.work.is_done(self._kind):
            return []
        self._array("parts")
        found = []
        for number in range(len(self._fields)):
            for k, block in enumerate(self._blocks):
                before = () if needs is None else needs(number, block.window)
                pixels = prod(shape_of(block.core))
                parts = Step("parts", number, k, before, pixels, shown="cells")
                found.append(parts)
                if earlier := self._earlier(k):
                    compared = [f"parts-{number}-{n}" for n in (*earlier, k)]
                    found.append(Step("same", number, k, tuple(compared)))
        return found

    def do(self, step: Step, _: WriteBehind) -> Iterator[Event]:
        """Run one of the steps; there are no events in it."""
        does = {
            "parts": self._find_parts,
            "same": self._compare,
            "overlaps": self._overlap,
        }
        does.get(step.stage, self._rename)(step)
        return iter(())

    def finish(self) -> Generator[Event, None, int]:
        """Merge the parts and write the final ids; return the number of cells."""
        kind = self._kind
        if not self.work.is_done(kind):
            yield from self._make_table()
            count, most = self._counted()
            first = "untracked" if self._tracked else kind
            self._array(first, np.min_scalar_type(most))
            yield from self._write(first)
            if self._tracked:
                count = yield from self._track()
            self.work.done(kind, cells=np.array(count))
        return int(self.work.results(kind)["cells"])

    def _carry_out(self, steps: Sequence[Step]) -> Iterator[Event]:
        return carry_out(steps, self.work, self.executor, self.do)

    def _array(self, kind: str, dtype: DTypeLike = np.uint32) -> LargeArray:
        """Open an array of labels; the first time it is created, with this type."""
        if kind not in self._opened:
            is_parts = kind == "parts"
            blocks = self._blocks if is_parts else self._boxes
            self._opened[kind] = self.work.array(
                kind,
                Path(f"{self._target.stem}.zarr") if is_parts else self._target,
                self._shape,
                self._axes,
                dtype,
                self.probabilities.known_um,
                self.sizes.chunk(self.ndim) if is_parts else CHUNK,
                self.sizes.shard(self._axes, self._shape, blocks),
            )
        return self._opened[kind]

    def _earlier(self, k: int) -> list[int]:
        """Return the earlier blocks whose cores a block is compared with."""
        around = self._blocks[k].around(self._reach)
        return [n for n in self._grid.touching(around) if n < k]

    def _find_parts(self, step: Step) -> None:
        """Segment a block and write the parts of cells in its core."""
        field, block = self._fields[step.field], self._blocks[step.box]
        cells = segment_instances(
            field.read(block.window),
            self.settings.replace(clear_border=False),
            cell_classes=self.cell_classes,
            spacing=self._spacing,
        )
        ids, parts, beside = split_off(cells, block, field.shape, self._reach)
        out = self._array("parts")
        out.write(self._labels(out, field).index(block.core), ids)
        at = np.flatnonzero(beside)
        self.work.done(
            step.name,
            **asdict(parts),
            at=at.astype(np.uint32),
            beside=beside.reshape(-1)[at],
        )

    def _compare(self, step: Step) -> None:
        """Find parts that belong to one cell with parts of earlier blocks."""
        around = self._blocks[step.box].around(self._reach)
        noted = self.work.results(f"parts-{step.field}-{step.box}", "at", "beside")
        mine = np.zeros(shape_of(around), np.uint32)
        mine.reshape(-1)[noted["at"]] = noted["beside"]
        before = np.zeros(mine.shape, np.int64)
        labels = self._labels(self._array("parts"), self._fields[step.field])
        earlier, bounds = self._earlier(step.box), [0]
        for n in earlier:
            box = common(around, self._blocks[n].core)
            ids = labels.read(box)[0].astype(np.int64)
            before[within(box, around)] = np.where(ids > 0, ids + bounds[-1], 0)
            bounds.append(bounds[-1] + int(ids.max(initial=0)))
        pairs = on_each_other(mine, before)
        which = np.searchsorted(bounds, pairs[:, 1]) - 1
        others = np.array(earlier)[which], pairs[:, 1] - np.array(bounds)[which]
        self.work.done(step.name, same=np.stack([pairs[:, 0], *others], 1))

    def _make_table(self) -> Iterator[Event]:
        """Write the table from each part to its cell."""
        if self.work.is_done(f"table-{_CELLS}"):
            return
        clear, fields = self.settings.clear_border, range(len(self._fields))
        if not self._linked:
            self._write_table(
                _CELLS, (self._merge(n, clear_border=clear) for n in fields)
            )
            return
        each = (self._merge(n, clear_border=False) for n in fields)
        self._write_table(_SLICES, each)
        depth = self.probabilities.size("z")
        if SliceLinker.of(self.settings).min_iou is not None:
            yield from self._carry_out(
                [
                    Step("overlaps", number, k)
                    for number in fields
                    if number % depth
                    for k in range(len(self._boxes))
                ]
            )
        frames = [range(n, n + depth) for n in range(0, len(self._fields), depth)]
        linked = chain.from_iterable(self._link(frame) for frame in frames)
        self._write_table(_CELLS, ([table] for table in linked))

    def _write_table(
        self, name: str, fields: Iterator[Iterator[Numbers] | list[Numbers]]
    ) -> None:
        """Write the cells of all parts, block by block of each field."""
        counts = self._counts
        most = np.zeros(len(self._fields), np.int64)

        def parts() -> Iterator[Numbers]:
            for number, tables in enumerate(fields):
                for table in tables:
                    most[number] = max(most[number], table.max(initial=0))
                    yield table

        self.work.write_table(name, parts())
        ends = np.cumsum(counts).reshape(counts.shape)
        places = np.concatenate([ends[:, :1] - counts[:, :1], ends], axis=1)
        self.work.done(f"table-{name}", places=places, most=most)

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        """Number of parts of each block of each field."""
        return np.array(
            [
                [
                    len(self.work.results(f"parts-{number}-{k}", "first")["first"])
                    for k in range(len(self._blocks))
                ]
                for number in range(len(self._fields))
            ]
        )

    def _merge(self, number: int, *, clear_border: bool) -> Iterator[Numbers]:
        """Yield the cells of the parts of a field, by rows of blocks."""
        counts = self._counts[number]
        offsets = np.cumsum([0, *counts])
        same = [np.zeros((0, 2), np.int64)]
        for k in range(len(self._blocks)):
            if self._earlier(k):
                own, other, part = self.work.results(f"same-{number}-{k}")["same"].T
                same.append(np.stack([own + offsets[k], part + offsets[other]], 1))

        def slabs() -> Iterator[Slab]:
            for blocks in self._grid.slabs:
                yield Slab(
                    self._noted(number, blocks, "first"),
                    self._noted(number, blocks, "at_edge"),
                )

        ends = [slab.stop for slab in self._grid.slabs]
        rows = [int(counts[a:b].sum()) for a, b in pairwise([0, *ends])]
        return merged(slabs, rows, np.concatenate(same), clear_border=clear_border)

    def _noted(self, number: int, blocks: range, name: str) -> NDArray[Any]:
        """Return a recorded property of the parts in some blocks of a field."""
        return np.concatenate(
            [self.work.results(f"parts-{number}-{k}", name)[name] for k in blocks]
        )

    def _link(self, frame: range) -> Iterator[Numbers]:
        """Link the slices of a frame, as `core.cells.instances.segment_image` does."""
        linker = SliceLinker.of(self.settings)
        tables: list[Numbers] = []
        for number in frame:
            overlaps = None
            if linker.min_iou is not None and number > frame.start:
                noted = (
                    self.work.results(f"overlaps-{number}-{k}")
                    for k in range(len(self._boxes))
                )
                overlaps = add_overlaps([Overlaps(**found) for found in noted])
            begin, end = self._placed(_SLICES)[number][[0, -1]]
            cell = self.work.table(_SLICES, begin, end)
            blocks, count = range(len(self._blocks)), int(cell.max(initial=0)) + 1
            pixels = self._noted(number, blocks, "sizes")
            sizes = np.bincount(cell, pixels, count).astype(np.int64)
            edge = np.zeros(count, bool)
            edge[cell[self._noted(number, blocks, "at_edge")]] = True
            ids = linker.add(sizes, overlaps, edge if linker.clear_border else None)
            tables.append(ids[cell].astype(np.uint32))
        left = linker.without_border()
        for table in tables:
            yield table if left is None else left[table].astype(np.uint32)

    def _overlap(self, step: Step) -> None:
        """Count the overlaps of cells with those of the slice before, in a box."""
        parts, box = self._array("parts"), self._boxes[step.box].core
        above, below = (
            self._renamed(parts, number, box, self._grid, _SLICES)
            for number in (step.field - 1, step.field)
        )
        self.work.done(step.name, **count_overlaps(above, below)._asdict())

    def _write(self, kind: str) -> Iterator[Event]:
        """Write the ids of the cells, or of their tracks, box by box."""
        return self._carry_out(
            [
                Step(kind, number, k, pixels=prod(shape_of(box.core)), shown="numbers")
                for number in range(len(self._fields))
                for k, box in enumerate(self._boxes)
            ]
        )

    def _rename(self, step: Step) -> None:
        """Replace the ids in a box."""
        kind, box = step.stage, self._boxes[step.box].core
        if self._tracked and kind == self._kind:
            whole = full_box(self._fields[0].shape)
            source, grid, table = "untracked", Grid([Block(whole, whole)]), _TRACKS
        else:
            source, grid, table = "parts", self._grid, _CELLS
        new = self._renamed(self._array(source), step.field, box, grid, table)
        out = self._array(kind)
        index = self._labels(out, self._fields[step.field]).index(box)
        out.write(index, new.astype(out.data.dtype, copy=False))
        self.work.done(step.name)

    def _renamed(
        self, source: LargeArray, number: int, box: Box, grid: Grid, table: str
    ) -> Numbers:
        """Return the final ids in a box of a field whose blocks have own ids."""
        ids = self._labels(source, self._fields[number]).read(box)[0]
        new = np.zeros(ids.shape, np.uint32)
        for n in grid.touching(box):
            at = within(common(box, grid.blocks[n].core), box)
            begin, end = self._placed(table)[number][n : n + 2]
            names = np.concatenate(
                [np.zeros(1, np.uint32), self.work.table(table, begin, end)]
            )
            new[at] = names[ids[at]]
        return new

    def _placed(self, table: str) -> NDArray[np.int64]:
        """Return where in a table each block of each field begins."""
        if table not in self._places:
            self._places[table] = self.work.results(f"table-{table}")["places"]
        return self._places[table]

    def _track(self) -> Generator[Event, None, int]:
        """Write the ids of tracks in place of those of cells; return their number."""
        cells, frames = self._array("untracked"), self.probabilities.size("t")
        found = Image(cells.whole, self._axes, self.probabilities.known_um)
        tracks = yield from with_progress(
            track_frames(found, self.settings), "tracks", frames
        )
        depth = len(self._fields) // frames
        highest = self._most_in_frames()
        self.work.write_table(
            _TRACKS,
            (
                tracks.rename(t, np.arange(1, n + 1)).astype(np.uint32)
                for t, n in enumerate(highest)
            ),
        )
        ends = np.cumsum(highest).repeat(depth)
        places = np.stack([ends - highest.repeat(depth), ends], axis=1)
        self.work.done(f"table-{_TRACKS}", places=places)
        self._places.pop(_TRACKS, None)
        self._array(self._kind, np.min_scalar_type(tracks.count))
        yield from self._write(self._kind)
        return tracks.count

    def _labels(self, array: LargeArray, field: Field) -> Field:
        """Return the field of an array of labels for a field of the image."""
        return Field(Image(array.whole, array.axes), field.t, field.z)

    def _most_in_frames(self) -> NDArray[np.int64]:
        """Return the highest id in each time point."""
        most = self.work.results(f"table-{_CELLS}")["most"]
        highest: NDArray[np.int64] = most.reshape(self.probabilities.size("t"), -1).max(
            axis=1
        )
        return highest

    def _counted(self) -> tuple[int, int]:
        """Return the number of cells and the highest id; ids are of a time point."""
        highest = self._most_in_frames()
        return int(highest.sum()), int(highest.max())
