"""Prediction from OME-Zarr to OME-Zarr, in steps that can be resumed after a crash.

Probabilities are always written, at least temporarily: to predict blocks with margins
instead would run the network half as much again.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cached_property
from itertools import chain
from math import prod
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.cells.class_map import blocks, decide, edge_reach, field_classes
from napari_unet.core.cells.pieces import region_classes
from napari_unet.core.events import PredictionFinished, TileHalved
from napari_unet.core.geometry.blocks import Block, Grid
from napari_unet.core.geometry.boxes import field_index, full_box, shape_of
from napari_unet.core.images.image import Field, Image
from napari_unet.core.images.normalisation import GreyScale, frame_of, measure
from napari_unet.core.text import times
from napari_unet.engine.device import describe
from napari_unet.engine.inference.block_segmentation import BlockSegmentation
from napari_unet.engine.inference.block_sizes import DEFAULT_SIZES
from napari_unet.engine.inference.overlap_tile import Tiles, output_shape, predict
from napari_unet.engine.inference.steps import PROBABILITIES, Serial, Step, carry_out
from napari_unet.engine.inference.tile_run import choose_tile, network_shape
from napari_unet.io.ome_zarr import CHUNK
from napari_unet.io.prediction_folder import IMAGE
from napari_unet.io.write_behind import WriteBehindArray

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from napari_unet.core.events import Event
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.normalisation import Frame
    from napari_unet.core.settings import Prediction, Segmentation
    from napari_unet.engine.inference.block_sizes import BlockSizes
    from napari_unet.engine.inference.steps import Executor
    from napari_unet.engine.network.network import Network
    from napari_unet.io.resumable_output import LargeArray, ResumableOutput
    from napari_unet.io.write_behind import WriteBehind

# Most pixels of a slice or volume in which pieces of regions are found: each takes
# about six bytes.
_TIDIED = 2**28
# Boxes of classes in a step: one alone takes no longer than recording it.
_DECIDED = 8


class BlockPrediction:
    """Predicts one image on disk.

    `work` records finished steps; `targets` are the paths of the outputs by their kind.
    `segmentation` is in pixels of the training images. With `cells` they are found even
    if they are not among the targets.
    """

    def __init__(
        self,
        network: Network,
        image: Image,
        settings: Prediction,
        segmentation: Segmentation,
        cell_classes: tuple[int, ...],
        work: ResumableOutput,
        targets: Mapping[str, Path],
        sizes: BlockSizes = DEFAULT_SIZES,
        *,
        cells: bool = False,
        executor: Executor | None = None,
    ) -> None:
        self._network = network
        self._image = image
        self._settings = settings
        self._cell_classes = cell_classes
        self._work = work
        self._targets = targets
        self._sizes = sizes
        self._executor = executor or Serial()
        self._table = network.geometry
        self._fields = list(image.fields(self._table.ndim))
        axes = "".join(a for a in "tczyx" if a in image.axes or a == "c")
        self._axes, self._shape = output_shape(self._table, image, axes)
        self._factors = network.factors(image, settings)
        self._wanted = network.for_image(segmentation, self._factors)
        # what the network gives, by the kind of output
        self.kind = PROBABILITIES if network.outputs is None else IMAGE
        self._blocks = sizes.predicted(self._fields[0].shape)
        self._grid = Grid(self._blocks)
        self._groups = self._grouped()
        self._scales: dict[Frame, GreyScale] = {}
        self._out = self._array(self.kind)
        self._found = Image(self._out.whole, self._axes, image.known_um, image.name)
        finds_cells = cells or "instances" in self._targets
        self._cells = self._segmentation() if finds_cells else None
        # output of a tile; None until it is chosen
        self.tile: tuple[int, ...] | None = None

    def events(self) -> Generator[Event, None, int]:
        """Predict the image; return the number of cells.

        It is 0 if none are requested. The events are those of `predict` for the
        remaining steps, the last without its array, and `BlockDone`.
        """
        started = perf_counter()
        self.tile = self.tile or choose_tile(
            self._network,
            self.block_shape,
            self._settings.tile,
            self._settings.memory_gb,
        )

        def finished() -> Event:
            return PredictionFinished(
                None,
                self._axes,
                self.tile or (),
                self._executor.device or describe(self._network.device),
                self._network.precision,
                perf_counter() - started,
            )

        yield from carry_out(
            self._steps(), self._work, self._executor, self.do, {self.kind: finished}
        )
        return 0 if self._cells is None else (yield from self._cells.finish())

    @property
    def block_shape(self) -> tuple[int, ...]:
        """Shape of the largest block, in pixels of the network."""
        return network_shape(self._blocks[0].core, self._factors)

    def found(self, kind: str) -> Image:
        """Return a complete array before it is published."""
        out = self._array(kind)
        return Image(out.data, out.axes, self._image.known_um, self._image.name)

    def publish(self) -> None:
        """Move the outputs to their paths."""
        # Probabilities last: after a kill in between, the others are made from them.
        order = sorted(self._targets, key=lambda kind: kind == PROBABILITIES)
        self._work.publish({kind: self._targets[kind] for kind in order})

    def do(self, step: Step, writer: WriteBehind) -> Iterator[Event]:
        """Run a step; probabilities are written in the background."""
        if step.stage == self.kind:
            yield from self._predict(step, writer)
        elif step.stage == "scale":
            self._measure(step)
        elif step.stage == "classes":
            self._decide(step)
        elif self._cells is not None:
            yield from self._cells.do(step, writer)

    def _steps(self) -> list[Step]:
        """Return the steps, except those that need all cells together."""
        steps, measured = [], self._measured
        for number, group in enumerate(self._groups):
            if number in measured.values():
                steps.append(Step("scale", number))
            of_frames = dict.fromkeys(measured[self._frame(field)] for field in group)
            needs = tuple(f"scale-{n}-0" for n in of_frames)
            for k, block in enumerate(self._blocks):
                pixels = prod(shape_of(block.core)) * len(group)
                steps.append(Step(self.kind, number, k, needs, pixels, by_network=True))
        if "classes" in self._targets:
            steps += self._classes_steps()
        if self._cells is not None:
            steps += self._cells.steps(self._under)
        return steps

    def _grouped(self) -> list[list[Field]]:
        """Group small fields: recording each would take as long as predicting it."""
        fields = self._fields
        pixels = prod(fields[0].shape)
        most = self._sizes.most(self._table.ndim) // pixels
        each = 1 if len(self._blocks) > 1 else max(most, 1)
        return [fields[n : n + each] for n in range(0, len(fields), each)]

    def _under(self, number: int, box: Box) -> tuple[str, ...]:
        """Return the steps that predict a box of a field, given by its number."""
        group = number // len(self._groups[0])
        return tuple(f"{self.kind}-{group}-{k}" for k in self._grid.touching(box))

    def _frame(self, field: Field) -> Frame:
        return frame_of(field, self._network.normalisation)

    @cached_property
    def _measured(self) -> dict[Frame, int]:
        """The group before which each frame is measured."""
        measured: dict[Frame, int] = {}
        for number, group in enumerate(self._groups):
            for field in group:
                measured.setdefault(self._frame(field), number)
        return measured

    def _measure(self, step: Step) -> None:
        """Measure the grey values of the frames that a group begins."""
        frames = [frame for frame, n in self._measured.items() if n == step.field]
        rule = self._network.normalisation
        image = self._image.with_channels(self._table.channels)
        found = [measure(image, t, rule, z) for t, z in frames]
        self._scales |= zip(frames, found, strict=True)
        text = json.dumps([asdict(scale) for scale in found])
        self._work.done(step.name, scales=np.array(text))

    def _recall(self, step: Step) -> None:
        """Read grey values that a step needs and another process measured."""
        measured = self._measured
        for field in self._groups[step.field]:
            if self._frame(field) not in self._scales:
                number = measured[self._frame(field)]
                noted = self._work.results(f"scale-{number}-0")["scales"]
                frames = [frame for frame, n in measured.items() if n == number]
                scales = [GreyScale(**_tuples(row)) for row in json.loads(str(noted))]
                self._scales |= zip(frames, scales, strict=True)

    def _predict(self, step: Step, writer: WriteBehind) -> Iterator[Event]:
        """Run the network over a block of some fields."""
        self._recall(step)
        group, box = self._groups[step.field], self._blocks[step.box].core
        index = [field_index(self._axes, field.t, field.z, box) for field in group]
        out: Any = WriteBehindArray(writer, self._out.write_part, self._shape)
        if self._out.in_shards:
            out = _Held(self._shape, index[0])
        for event in predict(
            self._network,
            self._image,
            out=out,
            axes=self._axes,
            settings=self._settings,
            planes=[(field.t, field.z) for field in group],
            region=box,
            tiles=Tiles(self.tile) if self.tile else None,
            scales=self._scales,
        ):
            if isinstance(event, TileHalved):
                self.tile = event.output
            if not isinstance(event, PredictionFinished):
                yield event
        if isinstance(out, _Held):
            writer.do(self._out.write_part, index[0], out.values)
        writer.do(self._note, step, index)

    def _note(self, step: Step, boxes: Sequence[tuple[int | slice, ...]]) -> None:
        """Record a block once all of it is on the disk."""
        for index in boxes:
            self._out.flush(index)
        self._work.done(step.name)

    def check_pieces(self) -> None:
        """ValueError if fields are too large for removing pieces of regions."""
        shape = self._fields[0].shape
        if self._tidies and "classes" in self._targets and prod(shape) > _TIDIED:
            raise ValueError(
                f"{self._image.name}: {times(shape)} pixels are too many to look for "
                f"the pieces of regions in, allowed are {_TIDIED}; keep all pieces: "
                "--smallest-piece 0 --largest-only none."
            )

    @property
    def _tidies(self) -> bool:
        """Whether pieces of regions are removed: a field is then read as a whole."""
        regions = region_classes(self._table.classes, self._cell_classes)
        return bool(regions) and not self._wanted.keeps_all_pieces

    @cached_property
    def _decided(self) -> tuple[list[Field], list[list[Block]], tuple[int, ...]]:
        """Where the class map is made: the fields, boxes by step, and the reach."""
        # without edges to follow, planes are independent
        ndim = self._table.ndim if self._wanted.edge_smoothing or self._tidies else 2
        reach = edge_reach(self._wanted, self._found.field_spacing(ndim))
        fields = list(self._found.fields(ndim))
        if self._tidies:
            whole = full_box(fields[0].shape)
            return fields, [[Block(whole, whole)]], reach
        boxes = blocks(self._found.field_shape(ndim), reach, unit=CHUNK)
        cut = [boxes[n : n + _DECIDED] for n in range(0, len(boxes), _DECIDED)]
        return fields, cut, reach

    def _classes_steps(self) -> list[Step]:
        self._array("classes")
        fields, boxes, _ = self._decided
        found = []
        for number, field in enumerate(fields):
            for k, each in enumerate(boxes):
                seen = [self._behind(field, block.window) for block in each]
                needs = tuple(dict.fromkeys(chain.from_iterable(seen)))
                pixels = sum(prod(shape_of(block.core)) for block in each)
                found.append(Step("classes", number, k, needs, pixels, "classes"))
        return found

    def _behind(self, field: Field, box: Box) -> tuple[str, ...]:
        """Return the steps that predict a box of a plane or volume of the output."""
        depth = self._image.size("z")
        if self._table.ndim == 2:
            return self._under(field.t * depth + (field.z or 0), box)
        if field.z is not None:
            box = (slice(field.z, field.z + 1), *box)
        return self._under(field.t, box)

    def _decide(self, step: Step) -> None:
        """Write the most probable class of each pixel, without the removed pieces."""
        out = self._array("classes")
        fields, boxes, reach = self._decided
        field = fields[step.field]
        shown = Field(self._image, field.t, field.z)
        for block in boxes[step.box]:
            if self._tidies:
                classes = field_classes(field, shown, self._wanted, self._cell_classes)
            else:
                classes = decide(field, shown, block, reach)
            out.write(field_index(out.axes, field.t, field.z, block.core), classes)
        self._work.done(step.name)

    def _segmentation(self) -> BlockSegmentation:
        found = BlockSegmentation(
            self._found,
            self._table.ndim,
            self._wanted,
            self._cell_classes,
            self._work,
            self._sizes,
            self._executor,
        )
        found.begin("instances", self._target("instances"))
        return found

    def _array(self, kind: str) -> LargeArray:
        """Open one of the outputs; those of labels without channels."""
        axes, shape = self._axes, self._shape
        labels = kind not in {PROBABILITIES, IMAGE}
        if labels:
            axes = axes.replace("c", "")
            shape = tuple(n for n, a in zip(shape, self._axes, strict=True) if a != "c")
        cut = self._blocks
        if kind == "classes" and not self._tidies:
            cut = self._decided[1][0]
        return self._work.array(
            kind,
            self._target(kind),
            shape,
            axes,
            np.uint8 if labels else np.float32,
            self._image.known_um,
            self._sizes.chunk(self._table.ndim, predicted=True),
            self._sizes.shard(axes, shape, cut),
        )

    def _target(self, kind: str) -> Path:
        # arrays without a target are removed in the end
        return self._targets.get(kind, Path(f"{self._image.name}.zarr"))


class _Held:
    """A box of an output in memory, indexed as in the whole and written at once."""

    def __init__(self, shape: tuple[int, ...], index: tuple[int | slice, ...]) -> None:
        self.shape = shape
        self._begin = [_start(part) for part in index]
        sides = [
            len(range(*part.indices(n)))
            for part, n in zip(index, shape, strict=True)
            if isinstance(part, slice)
        ]
        self.values = np.zeros(sides, np.float32)

    def __setitem__(self, index: tuple[int | slice, ...], values: Any) -> None:
        at = [
            slice(part.start - begin, part.stop - begin)
            if part.start is not None
            else part
            for part, begin in zip(index, self._begin, strict=True)
            if isinstance(part, slice)
        ]
        self.values[tuple(at)] = values


def _start(part: int | slice) -> int:
    return part if isinstance(part, int) else part.start or 0


def _tuples(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return lists of JSON as tuples."""
    return {
        name: tuple(tuple(v) if isinstance(v, list) else v for v in values)
        for name, values in row.items()
    }
