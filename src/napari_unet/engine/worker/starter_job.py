"""The choice of a model of the package for an open image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.engine.starter_choice import choose_starter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import ChooseStarterJob
    from napari_unet.core.model import ModelCard
    from napari_unet.engine.network.network import Network
    from napari_unet.engine.worker.model_cache import Context


def run(job: ChooseStarterJob, context: Context) -> Iterator[Event | None]:
    """Choose; errors and events are those of `choose_starter`."""

    def load(path: Path) -> tuple[Network, ModelCard]:
        return context.cache.network(str(path), job.settings)

    yield from choose_starter(job.image.open(), load, job.place, job.focus)
