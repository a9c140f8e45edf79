"""Networks kept ready for prediction, and the memory given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.events import ModelLoaded
from napari_unet.core.jobs import LoadModelJob
from napari_unet.engine.device import describe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import FreeMemoryJob
    from napari_unet.engine.worker.model_cache import Context


def run(job: LoadModelJob | FreeMemoryJob, context: Context) -> Iterator[Event | None]:
    """Load a model, or forget all models.

    Raises
    ------
    FileNotFoundError, ValueError
        If the model cannot be loaded.
    """
    if not isinstance(job, LoadModelJob):
        context.bench.free()
        return
    network, card = context.bench.models.get(job.model, job.settings)
    yield None
    context.bench.speed.try_out(network)
    yield ModelLoaded(card, describe(network.device))
