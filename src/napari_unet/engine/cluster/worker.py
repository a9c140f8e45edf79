"""The code that runs in the workers of a cluster.

A worker keeps networks and opened images from step to step. Its threads share a
network, which one of them at a time uses.
"""

from __future__ import annotations

import os
import pickle
import socket
from collections import OrderedDict
from dataclasses import dataclass, replace
from math import prod
from threading import Lock
from typing import TYPE_CHECKING, Any

import psutil
import torch
from distributed import WorkerPlugin

from napari_unet import __version__
from napari_unet.core.events import FilePredicted, PredictionFinished, TileDone
from napari_unet.core.geometry.boxes import union
from napari_unet.engine.allocator import give_back
from napari_unet.engine.device import (
    choose_device,
    choose_precision,
    describe,
    free_memory,
)
from napari_unet.engine.file_prediction import FilePredictor
from napari_unet.engine.inference.block_prediction import BlockPrediction
from napari_unet.engine.memory_share import set_share
from napari_unet.engine.model_formats.catalogue import read_model, stamp_of
from napari_unet.engine.network.network import prepare
from napari_unet.io.folder_lock import BusyError
from napari_unet.io.images import read_image
from napari_unet.io.model_file import sha256_of
from napari_unet.io.prediction_folder import PredictionFolder
from napari_unet.io.resumable_output import ResumableOutput, RunEndedError
from napari_unet.io.write_behind import WriteBehind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from distributed import Worker

    from napari_unet.core.events import Event
    from napari_unet.core.model import Model, ModelCard
    from napari_unet.engine.cluster.jobs import FilesJob, ImageJob, ModelSource
    from napari_unet.engine.inference.steps import Step
    from napari_unet.engine.network.network import Network

# Packages whose versions the exact results depend on.
VERSIONS = {"torch": torch.__version__, "napari-unet": __version__}
# Networks and images that a worker keeps.
_NETWORKS, _IMAGES = 2, 4

_opening = Lock()
_networks: OrderedDict[tuple[str, str, str], tuple[Network, ModelCard, Lock]] = (
    OrderedDict()
)
_images: OrderedDict[tuple[str, str], tuple[BlockPrediction, ResumableOutput, Lock]] = (
    OrderedDict()
)
# Pickled models whose files this machine does not see, by their hash.
_sent: dict[str, bytes] = {}
# Versions of the driver, once they are known.
_wanted: dict[str, str] = {}


class Preparation(WorkerPlugin):  # type: ignore[misc]
    """Gives each worker, also one that joins later, its share of the memory.

    And the versions that the driver has, see `VERSIONS`.
    """

    name = "napari-unet"

    def __init__(self, versions: Mapping[str, str]) -> None:
        self._versions = dict(versions)

    def setup(self, worker: Worker) -> None:
        """Adopt the cluster's memory limit for one process."""
        _wanted.update(self._versions)
        if worker.nanny is not None:
            set_share(worker.memory_manager.memory_limit)

    def teardown(self, worker: Worker) -> None:
        """Drop networks and images."""
        set_share(None)
        _wanted.clear()
        with _opening:
            _networks.clear()
            _images.clear()


class SentModel(WorkerPlugin):  # type: ignore[misc]
    """Sends a model to workers that do not see its file."""

    def __init__(self, stamp: str, model: Model) -> None:
        self.name = f"napari-unet-model-{stamp[:16]}"
        self._stamp, self._model = stamp, pickle.dumps(model)

    def setup(self, worker: Worker) -> None:
        """Keep it, by its hash."""
        _sent[self._stamp] = self._model


@dataclass(frozen=True, slots=True)
class Facts:
    """Resources of a worker."""

    host: str
    processors: tuple[int, ...]  # those it may use
    threads: int  # that do steps
    device: str
    precision: str  # that its device computes natively
    free: int  # memory of the device, in bytes
    sees_model: bool


def facts(device: str, model: ModelSource, dask_worker: Worker) -> Facts:
    """Return the resources of this worker.

    Raises
    ------
    ValueError
        Its versions differ from the driver's.
    """
    check_versions()
    where = choose_device(device)
    own = psutil.Process()
    # not all systems have an affinity
    each = getattr(own, "cpu_affinity", lambda: range(os.cpu_count() or 1))()
    return Facts(
        socket.gethostname(),
        tuple(each),
        dask_worker.state.nthreads,
        describe(where) if where.type == "cuda" else where.type,
        choose_precision(where),
        free_memory(where),
        _sees(model),
    )


def check_versions() -> None:
    """ValueError if the versions differ from the driver's."""
    for name, wanted in _wanted.items():
        if VERSIONS[name] != wanted:
            raise ValueError(
                f"here is {name} {wanted}, and the worker on {socket.gethostname()} "
                f"has {VERSIONS[name]}; install one version, or results differ."
            )


def run_step(
    step: Step, tile: tuple[int, ...] | None, *, job: ImageJob
) -> tuple[Event, ...]:
    """Do a step of a large image unless it is done, and return its events.

    `tile` is the output of its tiles in place of the job's. A RunEndedError says that
    the run was cancelled.
    """
    prediction, work, lock = _opened(job)
    work.check_run()
    if work.is_done(step.name):
        return ()
    if not step.by_network:
        lock = Lock()
    events: list[Event] = []
    with lock, WriteBehind() as writer:
        _use_threads(job.threads)
        if step.by_network:
            # a size that was too large here is not tried again
            known = [t for t in (prediction.tile, tile or job.tile) if t is not None]
            prediction.tile = min(known, key=prod, default=None)
        for event in prediction.do(step, writer):
            work.check_run()
            events.append(event)
    give_back()
    return tuple(_joined(events))


def run_file(
    file: Path, again: bool = False, *, job: FilesJob
) -> tuple[Event, ...] | str:
    """Predict an image that fits into memory.

    If it was sent before, `again`, the lock of a worker that hangs is no obstacle.

    Returns
    -------
    tuple of Event or str
        Its last events; "large" for an image that is predicted by steps, "busy" for one
        that another process works on.
    """
    network, card, lock = _network(job.model, job.settings)
    _check_goes_on(job)  # or results would go where nobody sees them
    predictor = FilePredictor(
        network,
        card,
        job.settings,
        job.segmentation,
        PredictionFolder(job.folder, job.kinds, job.ways_out),
        job.model.path,
        job.sizes,
        job.in_memory,
        job.model.stamp,
        job.channel,
        by_steps=False,
        waits=not again,
    )
    events: list[Event] = []
    try:
        with lock:
            _use_threads(job.threads)
            for event in predictor.events(file, job.axes, overwrite=job.overwrite):
                _check_goes_on(job)
                if isinstance(event, PredictionFinished | FilePredicted):
                    events.append(event)
    except BusyError:
        return "busy"
    except FileNotFoundError as error:
        raise _unseen(error) from error
    finally:
        give_back()
    return tuple(events) or "large"


def _check_goes_on(job: FilesJob) -> None:
    """Raise a RunEndedError if a run has ended, or is not to be seen from here."""
    if not job.claim.exists():
        raise RunEndedError(
            f"{job.folder}: {socket.gethostname()} does not see the run that is at "
            "work there; see that all machines see the same disk."
        )


def _unseen(error: FileNotFoundError) -> FileNotFoundError:
    """Say on which machine it is that a file is not there."""
    told = str(error).rstrip(".")
    return FileNotFoundError(
        f"{told}, on {socket.gethostname()}; see that all machines see the same disk."
    )


def _opened(job: ImageJob) -> tuple[BlockPrediction, ResumableOutput, Lock]:
    """Open an image, its outputs and the network once for all steps of a run."""
    key = str(job.folder), job.run
    network, card, lock = _network(job.model, job.settings)
    with _opening:
        if key not in _images:
            try:
                image = read_image(job.image, job.axes)
            except FileNotFoundError as error:
                raise _unseen(error) from error
            if job.channel is not None:
                image = image.channel(job.channel)
            work = ResumableOutput.joined(job.folder, job.run)
            work.check_run()
            prediction = BlockPrediction(
                network,
                image,
                job.settings,
                job.segmentation,
                card.cell_classes,
                work,
                job.targets,
                job.sizes,
                cells=job.cells,
            )
            _images[key] = prediction, work, lock
            while len(_images) > _IMAGES:
                _images.popitem(last=False)
        return _images[key]


def _network(source: ModelSource, settings: Any) -> tuple[Network, ModelCard, Lock]:
    """Read a model and make it ready once for all steps."""
    check_versions()  # this worker may have joined late
    device = choose_device(settings.device)
    key = source.stamp, str(device), settings.precision
    with _opening:
        if key not in _networks:
            model = _model(source)
            network = prepare(model, str(device), settings.precision, file=source.path)
            _networks[key] = network, model.card, Lock()
            while len(_networks) > _NETWORKS:
                _networks.popitem(last=False)
        return _networks[key]


def _model(source: ModelSource) -> Model:
    if source.stamp in _sent:
        sent: Model = pickle.loads(_sent[source.stamp])  # of this program's own driver
        return sent
    if not _sees(source):
        raise FileNotFoundError(
            f"{source.path}: {socket.gethostname()} does not see this model, or sees "
            "another one of the name."
        )
    return read_model(source.path)


def _sees(source: ModelSource) -> bool:
    """Whether this machine sees the model's file, with the same content."""
    try:
        if source.foreign:
            return stamp_of(read_model(source.path)) == source.stamp
        return sha256_of(source.path) == source.stamp
    except (OSError, ValueError):
        return False


def _use_threads(count: int) -> None:
    """Set torch's threads: Dask's nannies leave it one."""
    if count and torch.get_num_threads() != count:
        torch.set_num_threads(count)


def _joined(events: Iterable[Event]) -> list[Event]:
    """Join the tiles of each plane or volume into one event."""
    tiles: dict[tuple[int, int | None], TileDone] = {}
    others = []
    for event in events:
        if not isinstance(event, TileDone):
            others.append(event)
            continue
        before = tiles.get((event.t, event.z))
        box = event.box if before is None else union(before.box, event.box)
        tiles[event.t, event.z] = replace(event, box=box)
    return [*others, *tiles.values()]
