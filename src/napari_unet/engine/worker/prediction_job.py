"""Prediction into shared arrays: probabilities, classes and uncertainty, by tile."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import prod
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.cells.instances import most_probable, uncertainty
from napari_unet.core.events import PredictionFinished, TileDone
from napari_unet.core.geometry.boxes import field_index, full_box
from napari_unet.core.jobs import LIVE
from napari_unet.core.network.tile_size import output_for_flops
from napari_unet.engine.inference.overlap_tile import Tiles, predict
from napari_unet.engine.inference.tile_run import choose_tile, network_shape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.images.image import Image
    from napari_unet.core.jobs import PredictJob
    from napari_unet.core.settings import Prediction
    from napari_unet.engine.network.network import Network
    from napari_unet.engine.worker.model_cache import Context

# Target seconds for a tile: the first, any other, and one of a preview, which alternate
# with steps of a training.
_FIRST, _OTHER, _PREVIEW = 0.3, 0.6, 0.2
# Largest ratio of input to output pixels of a tile where latency matters.
_SOON = 8.0
# The same where throughput matters: about that of the paper, 572 to 388 pixels.
_THRIFTY = 2.2


def run(job: PredictJob, context: Context) -> Iterator[Event]:
    """Predict; the events are those of `overlap_tile.predict`.

    The arrays hold a tile before its event comes, and the last event holds no array. If
    no training is running whose weights are requested, or the arrays do not fit the
    image, it is a ValueError.
    """
    image = job.image.open()
    network = _network(job, context)
    table, speed = network.geometry, context.cache.speed
    axes = "c" + image.axes.replace("c", "")
    out = job.probabilities.open(writable=True)
    derived = [
        (reference.open(writable=True), derive)
        for reference, derive in (
            (job.classes, most_probable),
            (job.entropy, uncertainty),
        )
        if reference is not None
    ]
    factors = network.factors(image, job.settings)
    # with the first tile the grey values are measured; others may be cut by an edge:
    # the speed of the network is learnt from tiles as large as any before
    largest, began = 0, perf_counter()
    for event in predict(
        network,
        image,
        out=out,
        axes=axes,
        settings=job.settings,
        planes=job.places,
        region=job.region,
        focus=job.focus,
        tiles=_tiles(job, network, image, context, factors),
        scales=context.cache.scales(job.image, network.normalisation),
    ):
        if isinstance(event, TileDone):
            size = network_shape(event.box, factors)
            if 0 < largest <= prod(size):
                flops = table.flops(table.output_covering(size))
                seconds = perf_counter() - began
                speed.note(network, views(job.settings) * flops, seconds)
            largest = max(largest, prod(size))
            at = field_index(axes, event.t, event.z, event.box)
            for array, derive in derived:
                array[at[1:]] = derive(np.asarray(out[at]))
        elif isinstance(event, PredictionFinished):
            event = replace(event, probabilities=None)
        yield event
        began = perf_counter()


def tile_for_flops(
    network: Network,
    shape: tuple[int, ...],
    flops: float,
    waste: float = _THRIFTY,
    *,
    memory_gb: float = 0.0,
) -> tuple[int, ...]:
    """Return the output of tiles with some flops, or less if memory is short."""
    chosen = output_for_flops(network.geometry, shape, flops, waste)
    bound = choose_tile(network, shape, memory_gb=memory_gb)
    return min(chosen, bound, key=prod)


def views(settings: Prediction) -> int:
    """Return how often the network runs for each tile."""
    return 8 if settings.averaging == "dihedral" else 1


def _network(job: PredictJob, context: Context) -> Network:
    if job.model != LIVE:
        return context.cache.network(job.model, job.settings)[0]
    if context.cache.live is None:
        raise ValueError("no training is running whose network could be shown.")
    return context.cache.live.network()


def _tiles(
    job: PredictJob,
    network: Network,
    image: Image,
    context: Context,
    factors: tuple[float, ...] | None,
) -> Tiles | None:
    """Choose tiles by their time; None for those of the settings."""
    table = network.geometry
    if job.settings.tile:
        return None
    whole = full_box(image.field_shape(table.ndim))
    shape = network_shape(job.region or whole, factors)
    rate = context.cache.speed.rate(network) / views(job.settings)
    size = partial(tile_for_flops, network, shape, memory_gb=job.settings.memory_gb)
    if job.preview:
        return Tiles(size(rate * _PREVIEW, _SOON))
    output, first = size(rate * _OTHER), size(rate * _FIRST, _SOON)
    return Tiles(output, first if 2 * prod(first) < prod(output) else None)
