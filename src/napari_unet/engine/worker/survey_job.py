"""The cost of networks on this machine, measured by a trial of each."""

from __future__ import annotations

from math import prod
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet.core.events import NetworkSurveyed
from napari_unet.core.model import ModelCard
from napari_unet.core.training.patches import in_window, patch_size, why_not
from napari_unet.engine.device import (
    choose_device,
    choose_precision,
    free_memory,
    is_out_of_memory,
    release_memory,
)
from napari_unet.engine.inference.tile_run import choose_tile
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import frozen_copy
from napari_unet.engine.training.memory import memory_of_patches, memory_of_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import SurveyJob
    from napari_unet.core.network.geometry import Layered
    from napari_unet.core.training.training_settings import Training
    from napari_unet.engine.device import Precision
    from napari_unet.engine.network.network import Network
    from napari_unet.engine.worker.model_cache import Context

# Pixels that costs refer to, and the output of the trial.
_MEGAPIXEL, _TRIED = 10**6, {2: 64, 3: 16}
# A first run longer than this need not be repeated: little of it was warm-up.
_LONG = 0.5


def run(job: SurveyJob, _: Context) -> Iterator[Event | None]:
    """Run a trial of each network; yield its cost, or why it is impossible."""
    device = choose_device(job.device)
    for settings in job.candidates:
        try:
            found = _survey(job, settings, device)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not is_out_of_memory(error):
                raise
            found = NetworkSurveyed(settings, problem="It does not fit into memory.")
        yield found
    release_memory(device)


def _survey(
    job: SurveyJob, settings: Training, device: torch.device
) -> NetworkSurveyed:
    precision = choose_precision(device, settings.precision)
    data = job.channels, job.classes, job.slices
    if problem := why_not(settings, *data):
        return NetworkSurveyed(settings, problem=problem)
    architecture = in_window(settings.architecture(*data), settings, job.slices)
    output = patch_size(architecture, settings.patch, job.slices)
    needed = memory_of_weights(architecture) + memory_of_patches(
        architecture, output, settings.batch, precision
    )
    free = free_memory(device)
    if needed > free:
        return NetworkSurveyed(
            settings,
            memory=needed,
            problem=f"Training it takes {needed / 1e9:.1f} GB of memory, "
            f"{free / 1e9:.1f} GB are free.",
        )
    network = _untrained(architecture, settings, device, precision)
    shape = (1000, 1000)
    if architecture.ndim == 3:
        thick = min(job.slices, 100)
        shape = (thick, *[round((_MEGAPIXEL / thick) ** 0.5)] * 2)
    return NetworkSurveyed(settings, seconds=_time(network, shape), memory=needed)


def _untrained(
    architecture: Layered,
    settings: Training,
    device: torch.device,
    precision: Precision,
) -> Network:
    # random weights are needed: what is not initialised may be slow to compute with
    with torch.random.fork_rng([]):
        module = LayeredNetwork(architecture).to(device)
    card = ModelCard(architecture=architecture, classes=(), training=settings)
    return frozen_copy(card, module.state_dict(), precision)


def _time(network: Network, shape: tuple[int, ...]) -> float:
    """Return the seconds that a prediction of so many pixels takes, estimated."""
    geometry = network.geometry
    tried = geometry.output_covering((_TRIED[geometry.ndim],) * geometry.ndim)
    window = np.zeros((geometry.channels, *geometry.input_size(tried)), np.float32)
    for _ in range(2):
        began = perf_counter()
        network.probabilities(window)
        seconds = perf_counter() - began
        if seconds > _LONG:
            break
    tile = choose_tile(network, shape)
    tiles = prod(-(-n // t) for n, t in zip(shape, tile, strict=True))
    return seconds * tiles * geometry.flops(tile) / geometry.flops(tried)
