"""Loading models ahead of predictions, choosing one, and freeing their memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.events import ModelLoaded
from napari_unet.engine.device import describe
from napari_unet.engine.starter_choice import choose_starter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import ChooseStarterJob, FreeMemoryJob, LoadModelJob
    from napari_unet.core.model import ModelCard
    from napari_unet.engine.network.network import Network
    from napari_unet.engine.worker.model_cache import Context


def load_model(job: LoadModelJob, context: Context) -> Iterator[Event | None]:
    """Load a model; a FileNotFoundError or ValueError says why it cannot be."""
    network, card = context.cache.network(job.model, job.settings)
    yield None
    context.cache.speed.try_out(network)
    yield ModelLoaded(card, describe(network.device))


def choose(job: ChooseStarterJob, context: Context) -> Iterator[Event | None]:
    """Choose a model of the package; errors and events are as of `choose_starter`."""

    def load(path: Path) -> tuple[Network, ModelCard]:
        return context.cache.network(str(path), job.settings)

    yield from choose_starter(job.image.open(), load, job.place, job.focus)


def free_memory(_: FreeMemoryJob, context: Context) -> Iterator[Event | None]:
    """Drop all cached models."""
    context.cache.free()
    yield None
