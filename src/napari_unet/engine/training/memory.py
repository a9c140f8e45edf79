"""Estimates of the memory of a training, to refuse before any of it is allocated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_unet.core.text import times
from napari_unet.engine.device import dtype, free_memory
from napari_unet.engine.network.network import count_weights

if TYPE_CHECKING:
    from napari_unet.core.network.geometry import Layered
    from napari_unet.core.training.training_settings import Training
    from napari_unet.engine.device import Precision

# Copies of the weights, at the least: themselves, their gradients, the running mean,
# the last good mean, and the state of the optimiser.
_COPIES = 5


def check_patches(
    network: Layered,
    output: tuple[int, ...],
    settings: Training,
    device: torch.device,
    precision: Precision,
    patches: int,
) -> None:
    """Refuse patches that do not fit: the system would end the process, or swap.

    `patches` are those of a step that this device has in memory.
    """
    smallest, advice = (
        network.min_output,
        "width or depth, a padded network, or another",
    )
    if network.window is not None:
        smallest, advice = output, "width, depth or patch, or another network"
    needed = memory_of_patches(network, smallest, 1, precision)
    free = free_memory(device)
    if needed > free:
        raise MemoryError(
            f"the network sees at least {times(network.input_size(smallest))} pixels "
            f"at a time, and to learn from them takes {needed / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB are free on {device}: choose a smaller {advice}."
        )
    if memory_of_patches(network, output, patches, precision) > free:
        raise no_memory(device, settings)


def check_weights(
    architecture: Layered, settings: Training, device: torch.device
) -> None:
    """Refuse a network whose weights do not fit, before they are allocated."""
    needed, free = memory_of_weights(architecture), free_memory(device)
    if needed > free:
        millions = count_weights(architecture) / 1e6
        raise MemoryError(
            f"a network of {millions:.0f} million weights takes "
            f"{needed / 1e9:.1f} GB to be trained, {free / 1e9:.1f} GB are free on "
            f"{device}: choose a smaller width than {settings.width}, or a smaller "
            f"depth than {settings.depth}."
        )


def memory_of_patches(
    network: Layered, output: tuple[int, ...], patches: int, precision: Precision
) -> int:
    """Return the least bytes that a step needs for patches with this output."""
    kept = network.trace.kept_values(output)
    return patches * kept * dtype(precision).itemsize


def memory_of_weights(network: Layered) -> int:
    """Return the least bytes that a run needs for weights."""
    return _COPIES * torch.float32.itemsize * count_weights(network)


def no_memory(device: torch.device, settings: Training) -> MemoryError:
    """Return the error of a training whose patches are too large or too many."""
    fewer = f" or fewer than {settings.batch} per step" if settings.batch > 1 else ""
    return MemoryError(
        f"training does not fit into the memory of {device}: take smaller patches than "
        f"{settings.patch} pixels{fewer}."
    )
