"""Networks and images to measure with, and the operations they take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.model import Model, ModelCard
from napari_unet.engine.network.network import to_arrays
from napari_unet.engine.network.unet import UNet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.network.geometry import Layered
    from napari_unet.core.training.training_settings import Training


def untrained(recipe: Training) -> Model:
    """Return a model with random weights: the time does not depend on them."""
    table = recipe.architecture(channels=1, classes=2)
    torch.manual_seed(0)
    card = ModelCard(
        name=recipe.preset, architecture=table, classes=(ClassInfo(),), training=recipe
    )
    return Model(card, to_arrays(UNet(table).state_dict()))


def noise(side: int) -> NDArray[np.uint8]:
    """Return a square image: the time does not depend on what is in it."""
    return np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)


def operations(table: Layered, output: tuple[int, ...]) -> int:
    """Count the floating-point operations of one tile, without computing it.

    A multiplication and the addition that follows count as two.
    """
    with torch.device("meta"):
        module = UNet(table).eval()
        window = torch.empty(1, table.channels, *table.input_size(output))
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module(window)
    return int(counter.get_total_flops())


def operations_without_halo(table: Layered) -> float:
    """Return the operations for each output pixel of an endless tile."""
    large = table.output_covering((2**15,) * table.ndim)
    return operations(table, large) / float(np.prod(large))
