"""Prediction of all images of a folder into files."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

from napari_unet.core.cluster import missing_package, parse_cluster
from napari_unet.core.events import Notice, StarterChosen
from napari_unet.core.starters import AUTO
from napari_unet.core.text import capitalised
from napari_unet.engine.batch_prediction import predict_files
from napari_unet.engine.file_prediction import FilePredictor
from napari_unet.engine.starter_choice import choose_by_first
from napari_unet.engine.worker.folder_progress import overall
from napari_unet.engine.worker.prediction_job import tile_for_flops, views
from napari_unet.io.images import find, left_out
from napari_unet.io.objects.catalogue import check_installed
from napari_unet.io.prediction_folder import PredictionFolder
from napari_unet.io.pretrained import pretrained_model

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import PredictFolderJob
    from napari_unet.core.model import ModelCard
    from napari_unet.core.settings import Prediction
    from napari_unet.core.starters import Choice
    from napari_unet.engine.cluster.pool import Pool
    from napari_unet.engine.network.network import Network
    from napari_unet.engine.worker.model_cache import Context

# Seconds for a tile, and the usual side of an image, in pixels.
_SECONDS, _SIDE = 1.0, 1024
_WAIT_S = 0.2  # between polls for a worker of a cluster


def run(job: PredictFolderJob, context: Context) -> Iterator[Event | None]:
    """Predict each image that is not predicted yet.

    `FilePredicted` comes for each image, also one that was there or could not be
    predicted; a `BlockDone` now and then says how far all of them are, else None comes
    after each tile. If there is no such folder or no image in it, it is
    a FileNotFoundError, a ModuleNotFoundError if a format needs a package that is not
    there; other errors are those of `batch_prediction.predict_files`.
    """
    check_installed(job.kinds)
    # all images of files that have several
    files = find([f"{job.source}#*"])
    if note := left_out([job.source]):
        yield Notice(capitalised(note), lasting=True)
    model = job.model
    if model == AUTO:
        chosen = yield from _choose(files, job, context)
        model = str(pretrained_model(chosen.name))
    if job.cluster:
        yield from _on_cluster(job, Path(model), files)
        return
    network, card = context.cache.network(model, job.settings)
    settings = _with_tile(job.settings, network, context)
    yield from _predicted(job, Path(model), files, (network, card, settings))


def _predicted(
    job: PredictFolderJob,
    model: Path,
    files: Sequence[Path],
    made_ready: tuple[Network, ModelCard, Prediction],
    pool: Pool | None = None,
) -> Iterator[Event | None]:
    """Predict the images in this process, or by the workers of a pool."""
    network, card, settings = made_ready
    predictor = FilePredictor(
        network,
        card,
        settings,
        job.segmentation or card.segmentation,
        PredictionFolder(
            Path(job.target),
            job.kinds or card.training.objective.kinds,
            ways_out="use another folder",
        ),
        model,
        channel=job.channel,
        pool=pool,
    )
    with closing(predict_files(predictor, files)) as events:
        yield from overall(events)


def _on_cluster(
    job: PredictFolderJob, path: Path, files: Sequence[Path]
) -> Iterator[Event | None]:
    """Predict on the workers of a cluster, once there is one."""
    where = parse_cluster(job.cluster)
    try:
        from napari_unet.engine.cluster.clients import connected, note_of
        from napari_unet.engine.cluster.jobs import source_of
        from napari_unet.engine.cluster.pool import Pool
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
    model, source = source_of(path)
    with connected(where) as client:
        while not client.nthreads():
            sleep(_WAIT_S)
            yield None
        pool = Pool(client, model, source, job.settings)
        for note in filter(None, (note_of(where), *pool.notes)):
            yield Notice(note)
        made_ready = pool.network, model.card, pool.settings
        yield from _predicted(job, path, files, made_ready, pool)


def _choose(
    files: Sequence[Path], job: PredictFolderJob, context: Context
) -> Generator[Event | None, None, Choice]:
    """Choose a model by the first image that can be read, with an event."""

    def load(path: Path) -> tuple[Network, ModelCard]:
        return context.cache.network(str(path), job.settings)

    for event in choose_by_first(files, load, channel=job.channel):
        yield event
        if isinstance(event, StarterChosen):
            return event.choice
    raise ValueError("no image could be read to choose a model by.")


def _with_tile(settings: Prediction, network: Network, context: Context) -> Prediction:
    """Choose tiles small enough for other jobs to get their turn soon."""
    table = network.geometry
    if settings.tile:
        return settings
    flops = _SECONDS * context.cache.speed.rate(network) / views(settings)
    shape = (_SIDE,) * table.ndim
    output = tile_for_flops(network, shape, flops, memory_gb=settings.memory_gb)
    return settings.replace(tile=min(output))
