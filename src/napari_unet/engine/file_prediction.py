"""Prediction from files into files."""

from __future__ import annotations

from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from itertools import cycle
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import PALETTE
from napari_unet.core.cells.cell_table import cell_table, objects_of, with_object_ids
from napari_unet.core.cells.class_map import check_segmentation, class_map
from napari_unet.core.cells.instances import segment_image
from napari_unet.core.cells.objects import ObjectClass
from napari_unet.core.cells.points import cell_points
from napari_unet.core.cells.tracking import track_frames
from napari_unet.core.events import BlockDone, FilePredicted, PredictionFinished
from napari_unet.core.images.image import Image
from napari_unet.engine.cluster.jobs import FilesJob, ImageJob
from napari_unet.engine.inference.block_prediction import BlockPrediction
from napari_unet.engine.inference.block_sizes import DEFAULT_SIZES
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.inference.steps import with_progress
from napari_unet.io.export import write_image, write_labels, write_probabilities
from napari_unet.io.images import check_finite, read_image, read_input, read_labels
from napari_unet.io.model_file import sha256_of
from napari_unet.io.names import split_number
from napari_unet.io.objects.catalogue import FORMATS
from napari_unet.io.prediction_basis import PredictionBasis
from napari_unet.io.prediction_folder import IMAGE, OF_CELLS, POINTS, TABLE
from napari_unet.io.remote import absolute, is_in_folder
from napari_unet.io.resumable_output import ResumableOutput, discard_if_complete
from napari_unet.io.tables import write_points, write_table

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from napari_unet.core.events import Event
    from napari_unet.core.model import ModelCard
    from napari_unet.core.settings import Prediction, Segmentation
    from napari_unet.engine.cluster.pool import Pool
    from napari_unet.engine.inference.block_sizes import BlockSizes
    from napari_unet.engine.network.network import Network
    from napari_unet.io.asked_prediction import SentImage
    from napari_unet.io.prediction_folder import PredictionFolder
    from napari_unet.io.provenance import Provenance

# Outputs of networks, and their writers.
_OF_NETWORK = {"probabilities": write_probabilities, IMAGE: write_image}
# Bytes of probabilities up to which an image is predicted in memory (of a laptop).
_IN_MEMORY = 2**31


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """What is to be made of an image, and its origin for the results."""

    file: Path
    image: Image
    kinds: tuple[str, ...]
    made: Provenance
    overwrite: bool

    @property
    def of_cells(self) -> list[str]:
        """The kinds that are made from cells once these are found."""
        return [kind for kind in self.kinds if kind in OF_CELLS]


@dataclass(eq=False)
class FilePredictor:
    """Predicts files one by one with one network and one set of settings.

    `card` is that of the network's model, `model` its file, and `stamp` a hash of the
    model, by default of the file. `sizes` are those of the blocks of OME-Zarr images,
    and of others whose probabilities have more than `in_memory` bytes. With `channel`,
    from 1, the network sees this channel only, and all are measured. Settings that do
    not fit the model's classes are a ValueError, a package that is missing for them a
    ModuleNotFoundError.

    With a `pool` its workers compute, and the network is the pool's. Without `by_steps`
    an image that would be cut into blocks is skipped. If it `waits` for nobody, it goes
    on beside another process with the same settings that works on an image. `sent` has
    pixels and origin of images whose files are on another computer, by a path that
    stands for each.
    """

    network: Network
    card: ModelCard
    settings: Prediction
    segmentation: Segmentation
    folder: PredictionFolder
    model: Path
    sizes: BlockSizes = DEFAULT_SIZES
    in_memory: int = _IN_MEMORY
    stamp: str = ""
    channel: int | None = None
    _: KW_ONLY
    pool: Pool | None = None
    by_steps: bool = True
    waits: bool = True
    sent: Mapping[Path, SentImage] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_segmentation(self.segmentation, self.card.classes)
        self.stamp = self.stamp or sha256_of(self.model)

    def events(
        self, file: Path, axes: str | None = None, *, overwrite: bool = False
    ) -> Generator[Event, None, None]:
        """Predict one file and write the kinds of results of the folder.

        An OME-Zarr, or an image that does not fit into memory, becomes OME-Zarrs block
        by block; after a crash it is resumed. The axes are read from the file if not
        given. With `overwrite`, existing results are made again. The events are those
        of `predict`, the last without its array, `BlockDone` for blocks, and
        `FilePredicted`.

        Raises
        ------
        ValueError
            If the file cannot be read, or does not fit the model.
        FileExistsError
            If a result exists that is not to be replaced, or unfinished work of another
            model, image or settings.
        BusyError
            If another process works on it, and it `waits` for such.
        OSError
            If something cannot be read or written.
        """
        with self.folder.at_work(file, alone=self.waits):
            sent = self.sent.get(file)
            made = (
                self.basis.provenance(file, axes)
                if sent is None
                else replace(sent.made, **self.basis.makes(axes))
            )
            kinds = self.folder.missing(file, made, overwrite=overwrite)
            if not kinds:
                discard_if_complete(self.folder.unfinished(file))
                yield FilePredicted(str(file), 0, 1.0, there=True)
                return
            image = read_input(file, axes) if sent is None else sent.image
            large = is_in_folder(split_number(file)[0]) or self._is_large(image)
            if large and not self.by_steps:
                return
            wanted = _Wanted(file, image, kinds, made, overwrite)
            if stored := self._stored(wanted):
                cells = yield from self._of_cells(wanted, *stored)
            else:
                if not large:  # else it is checked window by window
                    check_finite(self._seen(image))
                predict_image = self._on_disk if large else self._in_memory
                cells = yield from predict_image(wanted)
                for kind in kinds:
                    self.folder.remove_other(file, kind, large=large)
                # of a run that was killed, when the image was larger
                discard_if_complete(self.folder.unfinished(file))
        depth = self.card.note_of_depth(image.size("z"), image.size("t"))
        notes = (*image.notes, depth) if depth else image.notes
        if self.segmentation.track and not self._tracks(image):
            notes += (
                f"it has one time point (axes {image.axes}), so no cell is followed.",
            )
        yield FilePredicted(str(file), cells, 1.0, notes=notes)

    def files_job(
        self, pool: Pool, axes: str | None, claim: Path, *, overwrite: bool
    ) -> FilesJob:
        """Return the job with which workers of a pool predict files, see `events`.

        `claim` is a file; they stop once it is removed.
        """
        return FilesJob(
            pool.source,
            self.settings,
            self.segmentation,
            self.folder.folder.absolute(),
            self.folder.kinds,
            self.folder.ways_out,
            self.sizes,
            self.in_memory,
            axes,
            self.channel,
            overwrite,
            claim.absolute(),
            pool.threads,
        )

    @property
    def basis(self) -> PredictionBasis:
        """Model and settings of all results."""
        return PredictionBasis(
            self.model,
            self.stamp,
            self.settings.replace(precision=self.network.precision),
            self.segmentation,
            self.channel,
            finds_cells=self.card.outputs is None,
        )

    def _seen(self, image: Image) -> Image:
        """Return the channels of an image that the network sees."""
        return image if self.channel is None else image.channel(self.channel)

    def _is_large(self, image: Image) -> bool:
        """Whether the probabilities of an image are too large for memory."""
        planes = image.size("t") * image.size("z")
        pixels = planes * prod(image.field_shape(2))
        classes = self.card.architecture.classes
        return pixels * classes * np.dtype(np.float32).itemsize > self.in_memory

    def _tracks(self, image: Image) -> bool:
        """Whether cells of an image are followed through time."""
        return self.segmentation.track and image.size("t") > 1

    def _stored(self, wanted: _Wanted) -> tuple[Image, Image] | None:
        """Return existing cells and probabilities if only results of cells are missing.

        Then the network need not run.
        """
        if len(wanted.of_cells) < len(wanted.kinds):
            return None
        cells, probabilities = (
            self.folder.there(wanted.file, kind, wanted.made)
            for kind in ("instances", "probabilities")
        )
        if cells is None or probabilities is None:
            return None
        return read_labels(cells), read_image(probabilities)

    def _on_disk(self, wanted: _Wanted) -> Generator[Event, None, int]:
        """Predict an image into OME-Zarrs, however large; return the cells."""
        file, made = wanted.file, wanted.made
        made_from = {
            # names do not count, nor does the tile, on which no result depends
            "content": [made.stamp, made.model_sha256, made.settings, made.program],
            "axes": wanted.image.axes,
            "sizes": asdict(self.sizes),
            "steps": 2,  # version of the recorded steps
        }
        targets = {
            kind: self.folder.target(file, kind, large=True)
            for kind in wanted.kinds
            if kind not in OF_CELLS
        }
        others = wanted.of_cells
        unfinished = self.folder.unfinished(file)
        ways_out = None if wanted.overwrite else self.folder.ways_out
        with ResumableOutput(unfinished, made_from, made, ways_out) as work:
            executor = None if self.pool is None else self.pool.executor(work)
            prediction = BlockPrediction(
                self.network,
                self._seen(wanted.image),
                self.settings,
                self.segmentation,
                self.card.cell_classes,
                work,
                targets,
                self.sizes,
                cells=bool(others),
                executor=executor,
            )
            prediction.check_pieces()
            if self.pool is not None and executor is not None:
                prediction.tile = self.pool.tile(prediction.block_shape)
                executor.job = ImageJob(
                    absolute(file),
                    made.settings["axes"],
                    self.channel,
                    self.pool.source,
                    self.settings,
                    self.segmentation,
                    {kind: path.absolute() for kind, path in targets.items()},
                    bool(others),
                    self.sizes,
                    work.folder.absolute(),
                    work.run,
                    self.pool.threads,
                    prediction.tile,
                )
            cells = yield from prediction.events()
            problem = None
            if others:
                found = prediction.found("instances"), prediction.found("probabilities")
                try:
                    yield from self._of_cells(wanted, *found)
                except ValueError as error:
                    problem = error  # the arrays are complete
            prediction.publish()
        if problem is not None:
            raise problem
        return cells

    def _in_memory(self, wanted: _Wanted) -> Generator[Event, None, int]:
        """Predict an image whose outputs fit into memory; return the cells."""
        found: Image | None = None
        seen = self._seen(wanted.image)
        for event in predict(self.network, seen, settings=self.settings):
            if isinstance(event, PredictionFinished):
                found = Image(event.probabilities, event.axes, wanted.image.known_um)
                event = replace(event, probabilities=None)
            yield event
        if found is None:
            raise RuntimeError("prediction ended without a result")
        return (yield from self._write(wanted, found))

    def _write(self, wanted: _Wanted, found: Image) -> Generator[Event, None, int]:
        """Write the outputs; return the number of cells."""
        file, image, made = wanted.file, wanted.image, wanted.made
        kinds, spacing = wanted.kinds, found.known_um
        for kind, write in _OF_NETWORK.items():
            if kind in kinds:
                target = self.folder.ready_target(file, kind)
                write(target, np.asarray(found.data), found.axes, spacing, made)
        axes = found.label_axes
        factors = self.network.factors(image, self.settings)
        segmentation = self.network.for_image(self.segmentation, factors)
        ndim = self.card.architecture.ndim
        if "classes" in kinds:
            classes = class_map(
                found, self._seen(image), ndim, segmentation, self.card.cell_classes
            )
            target = self.folder.ready_target(file, "classes")
            write_labels(target, classes, axes, spacing, made)
        if not wanted.of_cells and "instances" not in kinds:
            return 0
        cells = segment_image(
            found, ndim, segmentation, cell_classes=self.card.cell_classes
        )
        if "instances" in kinds:
            target = self.folder.ready_target(file, "instances")
            write_labels(target, cells, axes, spacing, made)
        if wanted.of_cells:
            named = Image(cells, axes, spacing, image.name)
            yield from self._of_cells(wanted, named, found)
        return _count(cells, axes, tracked=self._tracks(image))

    def _of_cells(
        self, wanted: _Wanted, cells: Image, probabilities: Image
    ) -> Generator[BlockDone, None, int]:
        """Write the results of cells; return the number of cells.

        A ValueError says what a format cannot hold; all other files are written.
        """
        image, kinds, classes = wanted.image, wanted.of_cells, self.card.classes
        fields = cells.size("t")  # a stack is measured as a volume
        measured = TABLE in kinds or any(
            FORMATS[kind].table for kind in kinds if kind in FORMATS
        )
        parents = None
        if self._tracks(image):
            factors = self.network.factors(image, self.settings)
            segmentation = self.network.for_image(self.segmentation, factors)
            # cells have the ids of their tracks already; this finds the parents
            following = track_frames(cells, segmentation)
            parents = (yield from with_progress(following, "tracks", fields)).parents
        measuring = cell_table(
            cells, image, classes, probabilities, measured=measured, parents=parents
        )
        table = yield from with_progress(measuring, "measurements", fields)
        coloured = zip(classes, cycle(PALETTE), strict=False)
        of_cells = [ObjectClass(c.name, k) for c, k in coloured if c.kind == "cells"]
        objects = objects_of(cells, table, of_cells, image)
        problems = []
        for number, kind in enumerate(kinds, start=1):
            try:
                with self.folder.placed(wanted.file, kind, wanted.made) as path:
                    if kind == TABLE:
                        write_table(path, with_object_ids(table, objects))
                    elif kind == POINTS:
                        running = cell_points(cells, image, classes, probabilities)
                        points = yield from with_progress(running, "points", fields)
                        write_points(path, points, cells.axes)
                    else:
                        FORMATS[kind].write(path, objects)
            except ValueError as error:
                problems.append(str(error))
            yield BlockDone(f"{kind} files", number / len(kinds))
        if problems:
            raise ValueError(" ".join(problems))
        return len(
            set(table["label"].tolist()) if parents is not None else table["label"]
        )


def _count(cells: np.ndarray[Any, Any], axes: str, *, tracked: bool) -> int:
    """Count the cells; each frame has ids of its own unless they are tracks."""
    frames = cells if axes.startswith("t") and not tracked else cells[np.newaxis]
    return int(sum(frame.max(initial=0) for frame in frames))
