"""Sizes of training patches, and which are too small for a network."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

from napari_unet.core.network.blended import usual_window
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.text import times

if TYPE_CHECKING:
    from napari_unet.core.network.geometry import Layered
    from napari_unet.core.training.training_settings import Training


def patch_size(network: Layered, patch: int, slices: int) -> tuple[int, ...]:
    """Return the output size of a patch, no thicker than the thinnest stack.

    A network with a window of fixed size learns from such windows.
    """
    if network.window is not None:
        return network.output_covering(network.window)
    size = [patch] * network.ndim
    if network.ndim == 3:
        size[0] = min(patch, slices)
    return network.output_covering(tuple(size))


def in_window(network: Layered, settings: Training, slices: int) -> Layered:
    """Return the network; if it depends on its window, with that of the patch size."""
    if network.window is not None or not network.sees_window:
        return network
    patch = patch_size(network, settings.patch, slices)
    return network.replace(window=usual_window(network, patch))


# called at each change in a dock, and slow for deep networks
@lru_cache(maxsize=64)
def why_not(
    settings: Training,
    channels: int,
    classes: int,
    slices: int,
    start: Layered | None = None,
) -> str:
    """Return why a network cannot learn from such images; empty if it can.

    `slices` are those of the thinnest stack; `start` is the network of the model that
    training begins with, if it does.
    """
    try:
        network = start or settings.architecture(channels, classes, slices)
    except ValueError as error:
        return str(error)
    # a window has an even size
    least = max(network.min_output[0], network.step[0], 1 + network.sees_window)
    if start is None and network.ndim == 3 and slices < least:
        title = NETWORKS[settings.network].title
        return f"{title} needs stacks of {least} slices, the thinnest has {slices}."
    network = in_window(network, settings, slices)
    output = patch_size(network, settings.patch, slices)
    if _pixels_of_norms(network, output, settings.batch) < 2:
        return (
            f"Of patches of {times(output)} pixels one pixel is left at the coarsest "
            "level, too few for a normalisation: choose a larger patch, more patches "
            "per step, or a smaller depth."
        )
    return ""


def _pixels_of_norms(network: Layered, output: tuple[int, ...], batch: int) -> float:
    """Return the smallest number of pixels that a norm takes its statistics of."""
    trace, patches = network.trace, {"batch": batch, "instance": 1}
    return min(
        (
            prod(trace.size(number, output)) * patches[layer.kind]
            for number, layer in enumerate(trace.layers)
            if layer.op == "norm" and layer.kind in patches
        ),
        default=float("inf"),
    )
