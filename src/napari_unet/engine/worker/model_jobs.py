"""Loading models ahead of predictions, and freeing their memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.events import ModelLoaded
from napari_unet.engine.device import describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import FreeMemoryJob, LoadModelJob
    from napari_unet.engine.worker.model_cache import Context


def load_model(job: LoadModelJob, context: Context) -> Iterator[Event | None]:
    """Load a model; a FileNotFoundError or ValueError says why it cannot be."""
    network, card = context.cache.network(job.model, job.settings)
    yield None
    context.cache.speed.try_out(network)
    yield ModelLoaded(card, describe(network.device))


def free_memory(_: FreeMemoryJob, context: Context) -> Iterator[Event | None]:
    """Drop all cached models."""
    context.cache.free()
    yield None
