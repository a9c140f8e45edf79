"""Prediction from files into files."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.events import FilePredicted, PredictionFinished
from napari_unet.core.image import Image
from napari_unet.core.instances import segment_image
from napari_unet.engine.block_prediction import BlockPrediction
from napari_unet.engine.block_segmentation import DEFAULT_SIZES
from napari_unet.engine.inference import predict
from napari_unet.io.export import write_labels, write_probabilities
from napari_unet.io.images import check_finite, read_image
from napari_unet.io.ome_zarr import stamp
from napari_unet.io.unfinished import Unfinished

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from napari_unet.core.events import Event
    from napari_unet.core.model import ModelCard
    from napari_unet.core.settings import Prediction, Segmentation
    from napari_unet.engine.block_segmentation import BlockSizes
    from napari_unet.engine.network import Network
    from napari_unet.io.prediction_folder import PredictionFolder


class FilePredictor:
    """Predicts files one by one with one network and one set of settings.

    Parameters
    ----------
    network : Network
    card : ModelCard
        Of its model.
    settings : Prediction
    segmentation : Segmentation
    folder : PredictionFolder
        Where to write.
    sizes : BlockSizes, optional
        How OME-Zarr images are cut.
    """

    def __init__(
        self,
        network: Network,
        card: ModelCard,
        settings: Prediction,
        segmentation: Segmentation,
        folder: PredictionFolder,
        sizes: BlockSizes = DEFAULT_SIZES,
    ) -> None:
        self._network = network
        self._card = card
        self._settings = settings
        self._segmentation = segmentation
        self._folder = folder
        self._sizes = sizes
        self._cells = tuple(
            k for k, c in enumerate(card.classes, start=1) if c.kind == "cells"
        )

    def events(
        self, file: Path, axes: str | None, kinds: tuple[str, ...]
    ) -> Iterator[Event]:
        """Predict one file and write what is asked for.

        An OME-Zarr becomes OME-Zarrs block by block; after a crash it goes on.

        Parameters
        ----------
        file : Path
        axes : str or None
            Read from the file if not given.
        kinds : tuple of str
            Out of `io.prediction_folder.KINDS`.

        Yields
        ------
        Event
            Those of `predict`, the last without its array, `BlockDone` for an OME-Zarr,
            and `FilePredicted`.

        Raises
        ------
        ValueError
            If the file cannot be read, or does not fit the model.
        OSError
            If something cannot be written.
        """
        image = read_image(file, axes)
        check_finite(image)
        if file.is_dir():
            cells = yield from self._on_disk(file, image, kinds)
        else:
            cells = yield from self._in_memory(file, image, kinds)
        yield FilePredicted(str(file), cells, 1.0)

    def _on_disk(
        self, file: Path, image: Image, kinds: tuple[str, ...]
    ) -> Generator[Event, None, int]:
        """Predict an OME-Zarr, however large; return the number of cells."""
        made_from = {
            "maker": self._folder.maker(),
            "precision": self._network.precision,
            "tile": self._settings.tile,
            "image": stamp(file),
            "axes": image.axes,
            "sizes": asdict(self._sizes),
        }
        with Unfinished(self._folder.unfinished(file), made_from) as work:
            return (
                yield from BlockPrediction(
                    self._network,
                    image,
                    self._settings,
                    work,
                    {kind: self._folder.target(file, kind) for kind in kinds},
                    self._sizes,
                ).events(self._segmentation, self._cells)
            )

    def _in_memory(
        self, file: Path, image: Image, kinds: tuple[str, ...]
    ) -> Generator[Event, None, int]:
        """Predict an image whose outputs fit into memory; return the cells."""
        found: Image | None = None
        for event in predict(self._network, image, settings=self._settings):
            if isinstance(event, PredictionFinished):
                found = Image(event.probabilities, event.axes, image.known_um)
                event = replace(event, probabilities=None)
            yield event
        if found is None:
            raise RuntimeError("prediction ended without a result")
        return self._write(
            file, found, kinds, self._network.factors(image, self._settings)
        )

    def _write(
        self,
        file: Path,
        found: Image,
        kinds: tuple[str, ...],
        scale: tuple[float, ...] | None,
    ) -> int:
        """Write the outputs; return the number of cells."""
        spacing = found.known_um
        if "probabilities" in kinds:
            target = self._folder.place(file, "probabilities")
            write_probabilities(target, np.asarray(found.data), found.axes, spacing)
        axes = "".join(a for a in "tzyx" if a in found.axes)
        if "classes" in kinds:
            where = found.axes.index("c")
            classes = np.asarray(found.data[...]).argmax(axis=where).astype(np.uint8)
            write_labels(self._folder.place(file, "classes"), classes, axes, spacing)
        if "instances" not in kinds:
            return 0
        cells = segment_image(
            found,
            self._card.architecture.ndim,
            self._segmentation.for_pixels(scale),
            cell_classes=self._cells,
        )
        write_labels(self._folder.place(file, "instances"), cells, axes, spacing)
        return _count(cells, axes)


def _count(cells: np.ndarray[Any, Any], axes: str) -> int:
    """Count the cells; each frame has ids of its own."""
    frames = cells if axes.startswith("t") else cells[np.newaxis]
    return int(sum(frame.max(initial=0) for frame in frames))
