"""Prediction of all images of a folder into files."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.core.events import FilePredicted
from napari_unet.engine.batch_prediction import predict_files
from napari_unet.engine.file_prediction import FilePredictor
from napari_unet.engine.worker.prediction_job import tile_for_flops, views
from napari_unet.io.images import find
from napari_unet.io.objects.catalogue import FORMATS
from napari_unet.io.prediction_folder import PredictionFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import PredictFolderJob
    from napari_unet.core.settings import Prediction
    from napari_unet.engine.network.network import Network
    from napari_unet.engine.worker.model_cache import Context

# What a tile should take, and the side of an image that is usual, in pixels.
_SECONDS, _SIDE = 1.0, 1024


def run(job: PredictFolderJob, context: Context) -> Iterator[Event | None]:
    """Predict each image that is not predicted yet.

    `FilePredicted` comes for each image, also one that was there or could not be
    predicted; None after each tile. If there is no such folder or no image in it, it is
    a FileNotFoundError, a ModuleNotFoundError if a format needs a package that is not
    there; other errors are those of `batch_prediction.predict_files`.
    """
    for kind in set(job.kinds) & set(FORMATS):
        FORMATS[kind].check_installed()
    network, card = context.cache.network(job.model, job.settings)
    predictor = FilePredictor(
        network,
        card,
        _with_tile(job.settings, network, context),
        job.segmentation,
        PredictionFolder(
            Path(job.target),
            job.kinds or card.training.objective.kinds,
            ways_out="use another folder",
        ),
        Path(job.model),
        channel=job.channel,
    )
    # of files with several images all
    files = find([f"{job.source}#*"])
    with closing(predict_files(predictor, files)) as events:
        for event in events:
            yield event if isinstance(event, FilePredicted) else None


def _with_tile(settings: Prediction, network: Network, context: Context) -> Prediction:
    """Choose a tile so small that others get their turn soon."""
    table = network.geometry
    if settings.tile:
        return settings
    flops = _SECONDS * context.cache.speed.rate(network) / views(settings)
    shape = (_SIDE,) * table.ndim
    output = tile_for_flops(network, shape, flops, memory_gb=settings.memory_gb)
    return settings.replace(tile=min(output))
