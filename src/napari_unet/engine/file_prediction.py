"""Prediction from files into files."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.events import FilePredicted, PredictionFinished
from napari_unet.core.image import Image
from napari_unet.core.instances import segment_image
from napari_unet.core.rescaling import rescaling
from napari_unet.engine.inference import output_shape, predict
from napari_unet.io.export import write_labels, write_probabilities
from napari_unet.io.images import check_finite, read_image
from napari_unet.io.ome_zarr import create_zarr

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_unet.core.events import Event
    from napari_unet.core.model import ModelCard
    from napari_unet.core.settings import Prediction, Segmentation
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
    """

    def __init__(
        self,
        network: Network,
        card: ModelCard,
        settings: Prediction,
        segmentation: Segmentation,
        folder: PredictionFolder,
    ) -> None:
        self._network = network
        self._card = card
        self._settings = settings
        self._segmentation = segmentation
        self._folder = folder
        self._cells = tuple(
            k for k, c in enumerate(card.classes, start=1) if c.kind == "cells"
        )

    def events(
        self, file: Path, axes: str | None, kinds: tuple[str, ...]
    ) -> Iterator[Event]:
        """Predict one file and write what is asked for.

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
            Those of `predict`, the last without its array, and `FilePredicted`.

        Raises
        ------
        ValueError
            If the file cannot be read, or does not fit the model.
        OSError
            If something cannot be written.
        """
        image = read_image(file, axes)
        check_finite(image)
        with ExitStack() as stack:
            found: Image | None = None
            for event in self._predict(file, image, kinds, stack):
                if isinstance(event, PredictionFinished):
                    found = Image(event.probabilities, event.axes, image.spacing_um)
                    event = replace(event, probabilities=None)
                yield event
            if found is None:
                raise RuntimeError("prediction ended without a result")
            cells = self._write(file, found, kinds, self._scale(image))
        yield FilePredicted(str(file), cells, 1.0)

    def _predict(
        self, file: Path, image: Image, kinds: tuple[str, ...], stack: ExitStack
    ) -> Iterator[Event]:
        """Run the network; an OME-Zarr image is predicted on disk, block by block."""
        out, axes = None, None
        if file.is_dir() and "probabilities" in kinds:
            axes, shape = output_shape(
                self._network.module.architecture,
                image,
                "".join(a for a in "tczyx" if a in image.axes or a == "c"),
            )
            target = self._folder.place(file, "probabilities")
            out = stack.enter_context(
                create_zarr(target, shape, axes, np.float32, image.spacing_um)
            )
        return predict(
            self._network, image, out=out, axes=axes, settings=self._settings
        )

    def _scale(self, image: Image) -> tuple[float, ...] | None:
        """Return by how much the image was resampled for the network."""
        if not self._settings.rescale:
            return None
        ndim = self._card.architecture.ndim
        return rescaling(self._card.spacing_um, image.spacing_um, ndim, image.name)

    def _write(
        self,
        file: Path,
        found: Image,
        kinds: tuple[str, ...],
        scale: tuple[float, ...] | None,
    ) -> int:
        """Write the outputs; probabilities in OME-Zarr are on disk already."""
        spacing = found.spacing_um
        if "probabilities" in kinds and not file.is_dir():
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
