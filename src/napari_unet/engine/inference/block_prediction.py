"""Prediction from OME-Zarr to OME-Zarr, block by block; it goes on after a crash.

Probabilities are always written, if only beside the outputs until these are complete:
predicting blocks with a margin instead would run the network half as much again.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.cells.class_map import (
    blocks,
    decide,
    edge_reach,
    field_classes,
)
from napari_unet.core.cells.pieces import region_classes
from napari_unet.core.events import (
    BlockDone,
    PredictionFinished,
    TileDone,
    TileHalved,
)
from napari_unet.core.geometry.blocks import Block
from napari_unet.core.geometry.boxes import field_index, full_box, shape_of
from napari_unet.core.images.image import Field, Image
from napari_unet.core.text import times
from napari_unet.engine.device import describe
from napari_unet.engine.inference.block_segmentation import (
    DEFAULT_SIZES,
    BlockSegmentation,
    remaining,
)
from napari_unet.engine.inference.overlap_tile import Tiles, output_shape, predict
from napari_unet.engine.inference.tile_run import choose_tile, network_shape
from napari_unet.io.ome_zarr import CHUNK
from napari_unet.io.prediction_folder import IMAGE
from napari_unet.io.write_behind import WriteBehind, WriteBehindArray

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from numpy.typing import DTypeLike

    from napari_unet.core.events import Event
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.normalisation import Frame, GreyScale
    from napari_unet.core.settings import Prediction, Segmentation
    from napari_unet.engine.inference.block_segmentation import BlockSizes
    from napari_unet.engine.network.network import Network
    from napari_unet.io.resumable_output import LargeArray, ResumableOutput

# Pixels of a slice or volume in which pieces of regions are looked for, at the most:
# each takes about six bytes.
_TIDIED = 2**28


class BlockPrediction:
    """Predicts one image on disk, of finite pixels.

    `work` keeps what is done; `targets` says where the outputs will be, by their kind.
    """

    def __init__(
        self,
        network: Network,
        image: Image,
        settings: Prediction,
        work: ResumableOutput,
        targets: Mapping[str, Path],
        sizes: BlockSizes = DEFAULT_SIZES,
    ) -> None:
        self._network = network
        self._image = image
        self._settings = settings
        self._work = work
        self._targets = targets
        self._sizes = sizes
        self._table = network.geometry
        self._fields = list(image.fields(self._table.ndim))
        axes = "".join(a for a in "tczyx" if a in image.axes or a == "c")
        self._axes, self._shape = output_shape(self._table, image, axes)
        self._factors = network.factors(image, settings)
        # what the network gives, by the kind of output
        self._kind = "probabilities" if network.outputs is None else IMAGE

    def events(
        self,
        segmentation: Segmentation,
        cell_classes: tuple[int, ...],
        *,
        cells: bool = False,
    ) -> Generator[Event, None, int]:
        """Predict the image; return the number of cells.

        It is 0 if they are not among the targets nor asked for by `cells`. The events
        are those of `predict`, for what is not done yet, the last without its array,
        and `BlockDone`. `segmentation` is for the pixels of the training images.
        """
        out = self._array(self._kind, self._shape, self._axes, np.float32)
        yield from self._predict(out)
        found = Image(out.data, self._axes, self._image.known_um, self._image.name)
        settings = self._network.for_image(segmentation, self._factors)
        if "classes" in self._targets:
            yield from self._decide(found, settings, cell_classes)
        if not cells and "instances" not in self._targets:
            return 0
        return (
            yield from BlockSegmentation(
                found,
                self._table.ndim,
                settings,
                cell_classes,
                self._work,
                self._sizes,
            ).events("instances", self._target("instances"))
        )

    def found(self, kind: str) -> Image:
        """Return an array that is complete, before it is published."""
        axes, shape = self._axes, self._shape
        if kind != "probabilities":
            axes = axes.replace("c", "")
            shape = tuple(n for n, a in zip(shape, self._axes, strict=True) if a != "c")
        data = self._array(kind, shape, axes, np.float32).data
        return Image(data, axes, self._image.known_um, self._image.name)

    def publish(self) -> None:
        """Give the outputs their names."""
        # Probabilities last: after a kill meanwhile, what is missing is made from them.
        order = sorted(self._targets, key=lambda kind: kind == "probabilities")
        self._work.publish({kind: self._targets[kind] for kind in order})

    def _predict(self, out: LargeArray) -> Iterator[Event]:
        """Run the network over the blocks that are not done."""
        started = perf_counter()
        boxes = self._boxes()
        output = choose_tile(
            self._network,
            network_shape(boxes[0], self._factors),
            self._settings.tile,
            self._settings.memory_gb,
        )
        todo = [
            (f"{self._kind}-{number}-{k}", fields, box)
            for number, fields in enumerate(self._groups(len(boxes)))
            for k, box in enumerate(boxes)
        ]
        todo = [row for row in todo if not self._work.is_done(row[0])]
        whole = prod(self._image.field_shape(self._table.ndim)) * len(self._fields)
        done = whole - sum(prod(shape_of(box)) * len(group) for _, group, box in todo)
        scales: dict[Frame, GreyScale] = {}
        with WriteBehind() as writer:
            written = WriteBehindArray(writer, out.write_part, out.data.shape)
            for step, group, box in todo:
                pixels = prod(shape_of(box)) * len(group)
                for event in predict(
                    self._network,
                    self._image,
                    out=written,
                    axes=self._axes,
                    settings=self._settings,
                    planes=[(field.t, field.z) for field in group],
                    region=box,
                    tiles=Tiles(output),
                    scales=scales,
                ):
                    if isinstance(event, PredictionFinished):
                        continue
                    if isinstance(event, TileHalved):
                        output = event.output
                    elif isinstance(event, TileDone):
                        event = replace(
                            event,
                            progress=(done + pixels * event.progress) / whole,
                            field_done=event.field_done and box is boxes[-1],
                        )
                    yield event
                writer.do(self._note, step, out, group, box)
                done += pixels
        yield PredictionFinished(
            None,
            self._axes,
            output,
            describe(self._network.device),
            self._network.precision,
            perf_counter() - started,
        )

    def _note(
        self, step: str, out: LargeArray, group: Sequence[Field], box: Box
    ) -> None:
        """Note a block, once all of it is on the disk."""
        for field in group:
            out.flush(field_index(out.axes, field.t, field.z, box))
        self._work.done(step)

    def _groups(self, blocks: int) -> list[list[Field]]:
        """Put small fields together: noting each would take as long as it."""
        fields = self._fields
        pixels = prod(self._image.field_shape(self._table.ndim))
        each = 1 if blocks > 1 else max(self._sizes.most(self._table.ndim) // pixels, 1)
        return [fields[n : n + each] for n in range(0, len(fields), each)]

    def _boxes(self) -> list[Box]:
        """Cut a field into the blocks that are predicted."""
        shape = self._image.field_shape(self._table.ndim)
        return [block.core for block in self._sizes.predicted(shape)]

    def check_pieces(
        self, segmentation: Segmentation, cell_classes: tuple[int, ...]
    ) -> None:
        """Refuse to tidy regions that are too large to be seen as a whole.

        As a ValueError; `segmentation` and the classes are as for `events`.
        """
        shape = self._image.field_shape(self._table.ndim)
        regions = region_classes(self._table.classes, cell_classes)
        tidied = regions and not segmentation.keeps_all_pieces
        if tidied and "classes" in self._targets and prod(shape) > _TIDIED:
            raise ValueError(
                f"{self._image.name}: {times(shape)} pixels are too many to look for "
                f"the pieces of regions in, allowed are {_TIDIED}; keep all pieces: "
                "--smallest-piece 0 --largest-only none."
            )

    def _decide(
        self, found: Image, settings: Segmentation, cell_classes: tuple[int, ...]
    ) -> Iterator[BlockDone]:
        """Write the class of each pixel, the most probable but for pieces that go."""
        axes = self._axes.replace("c", "")
        shape = [found.size(a) for a in axes]
        out = self._array("classes", shape, axes, np.uint8)
        regions = region_classes(self._table.classes, cell_classes)
        if regions and not settings.keeps_all_pieces:
            yield from self._decide_whole(found, out, settings, cell_classes)
            return
        # without edges, each plane is decided alone
        ndim = self._table.ndim if settings.edge_smoothing else 2
        reach = edge_reach(settings, found.field_spacing(ndim))
        fields = list(found.fields(ndim))
        boxes = blocks(found.field_shape(ndim), reach, unit=CHUNK)
        for left in remaining(self._work, "classes", fields, boxes):
            field, box = left.field, left.box
            shown = Field(self._image, field.t, field.z)
            classes = decide(field, shown, left.block, reach)
            out.write(field_index(axes, field.t, field.z, box), classes)
            self._work.done(left.step)
            yield BlockDone("classes", left.progress)

    def _decide_whole(
        self,
        found: Image,
        out: LargeArray,
        settings: Segmentation,
        cell_classes: tuple[int, ...],
    ) -> Iterator[BlockDone]:
        """Write the class of each pixel of one slice or volume after the other."""
        fields = list(found.fields(self._table.ndim))
        whole = [Block(box := full_box(fields[0].shape), box)]
        for left in remaining(self._work, "classes", fields, whole):
            field = left.field
            shown = Field(self._image, field.t, field.z)
            classes = field_classes(field, shown, settings, cell_classes)
            at = field_index(out.axes, field.t, field.z, left.box)
            kept = [a for a in "zyx"[-classes.ndim :] if a in out.axes]
            out.write(at, classes.reshape(classes.shape[-len(kept) :]))
            self._work.done(left.step)
            yield BlockDone("classes", left.progress)

    def _array(
        self, kind: str, shape: Sequence[int], axes: str, dtype: DTypeLike
    ) -> LargeArray:
        chunk = self._sizes.chunk(self._table.ndim, predicted=True)
        return self._work.array(
            kind,
            self._target(kind),
            shape,
            axes,
            dtype,
            self._image.known_um,
            chunk,
        )

    def _target(self, kind: str) -> Path:
        # what is not asked for is never given a name, and removed in the end
        return self._targets.get(kind, Path(f"{self._image.name}.zarr"))
