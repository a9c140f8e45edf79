"""The cache of the network worker: networks, their speed, and normalisations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet.engine.device import choose_device, release_memory
from napari_unet.engine.network.network import prepare
from napari_unet.io.model_file import load_model

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from napari_unet.core.images.array_reference import ImageReference
    from napari_unet.core.images.normalisation import (
        Frame,
        GreyScale,
        Normalisation,
    )
    from napari_unet.core.model import ModelCard
    from napari_unet.core.network.geometry import Geometry
    from napari_unet.core.settings import Prediction
    from napari_unet.engine.device import Precision
    from napari_unet.engine.network.network import Network
    from napari_unet.engine.training.course import Course
    from napari_unet.engine.worker.inbox import Task
    from napari_unet.engine.worker.learning_job import CorrectedModel

# Assumed multiplications per second until they are measured.
_CPU_RATE, _GPU_RATE = 2e10, 2e12
# Cached networks, and images with cached normalisation.
_MODELS, _IMAGES = 4, 32


class ModelCache:
    """Shared by all jobs: networks, their speed, and normalisations of images."""

    def __init__(self) -> None:
        self.speed = Speed()
        # the running training, once its network can predict
        self.live: Course | None = None
        # the model that learns corrections
        self.corrected: CorrectedModel | None = None
        self._ready: dict[tuple[str, int, str, str], tuple[Network, ModelCard]] = {}
        self._scales: dict[object, dict[Frame, GreyScale]] = {}

    def network(self, path: str, settings: Prediction) -> tuple[Network, ModelCard]:
        """Return the network of a model file and its card, read anew if it changed.

        A FileNotFoundError says that there is no such file; a ValueError that it is no
        model, or that device or precision are not available.
        """
        device = choose_device(settings.device)
        file = Path(path)
        time = file.stat().st_mtime_ns if file.exists() else 0
        # which precision is chosen for it depends on what it gives
        key = (path, time, str(device), settings.precision)
        if key in self._ready:
            # the most recently used is last
            self._ready[key] = self._ready.pop(key)
            return self._ready[key]
        model = load_model(path)
        for old in [k for k in self._ready if k[0] == path and k[1] != time]:
            del self._ready[old]
        while len(self._ready) >= _MODELS:
            del self._ready[next(iter(self._ready))]
        network = prepare(model, str(device), settings.precision, file=path)
        self._ready[key] = network, model.card
        return self._ready[key]

    def scales(
        self, image: ImageReference, rule: Normalisation
    ) -> MutableMapping[Frame, GreyScale]:
        """Return the normalisation of an image's frames, to be added to.

        It is cached as long as the image's files stay the same.
        """
        if any(channel.kind != "raw" for channel in image.channels):
            # a change deep in a zarr leaves no trace on its folder
            return {}
        times = tuple(Path(c.path).stat().st_mtime_ns for c in image.channels)
        key = (image.channels, image.axes, times, rule)
        if key not in self._scales and len(self._scales) >= _IMAGES:
            del self._scales[next(iter(self._scales))]
        return self._scales.setdefault(key, {})

    def free(self) -> None:
        """Drop the cache and give memory back."""
        self.corrected = None
        self._ready.clear()
        self._scales.clear()
        release_memory(choose_device())


class Speed:
    """The speed of networks on this device, measured on their tiles."""

    def __init__(self) -> None:
        self._rates: dict[tuple[str, Precision, Geometry], float] = {}

    def rate(self, network: Network) -> float:
        """Return the multiplications per second, measured or assumed."""
        usual = _GPU_RATE
        if network.device.type == "cpu":
            usual = _CPU_RATE * torch.get_num_threads()
        return self._rates.get(_kind(network), usual)

    def note(self, network: Network, flops: float, seconds: float) -> None:
        """Add the measurement of a tile."""
        rate = flops / max(seconds, 1e-6)
        before = self._rates.get(_kind(network), rate)
        self._rates[_kind(network)] = (before + rate) / 2

    def try_out(self, network: Network) -> None:
        """Measure the smallest tile, which also warms the device up."""
        table = network.geometry
        window = np.zeros((table.channels, *table.min_input), np.float32)
        network.probabilities(window)
        began = perf_counter()
        network.probabilities(window)
        flops = table.flops(table.min_output)
        self.note(network, flops, perf_counter() - began)


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """The resources of one job."""

    task: Task  # what napari sends about the job while it runs
    cache: ModelCache


def _kind(network: Network) -> tuple[str, Precision, Geometry]:
    return str(network.device), network.precision, network.geometry
