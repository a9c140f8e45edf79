"""Zhang's residual U-Net against its drawing in plain operations."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional as F

from engine.networks.transfer_helpers import (
    assert_same_inside,
    assert_same_padded,
    assert_traced,
    randomised,
)
from napari_unet.core.network.choice import Choice
from napari_unet.core.network.vnet import vnet
from napari_unet.core.network.zhang import zhang
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import count_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_unet.core.network.architecture import Architecture
    from napari_unet.core.network.layers import Norm


def by_the_drawing(network: LayeredNetwork, image: Tensor) -> Tensor:
    """Draw the network of the paper's Fig. 2, padded, of as many levels."""
    weights = network.state_dict()
    depths = range(1, len(network.architecture.levels))
    convolved = F.conv2d if image.ndim == 4 else F.conv3d

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = weights[f"{name}.weight"]
        padding = weight.shape[-1] // 2
        return convolved(x, weight, weights[f"{name}.bias"], stride, padding)

    def ready(x: Tensor, name: str) -> Tensor:
        mean, var, scale, shift = (
            weights[f"{name}.{w}"]
            for w in ("running_mean", "running_var", "weight", "bias")
        )
        return F.relu(F.batch_norm(x, mean, var, scale, shift))

    def unit(x: Tensor, name: str, stride: int = 1) -> Tensor:
        y = conv(ready(x, f"{name}.0"), f"{name}.2", stride)
        y = conv(ready(y, f"{name}.3"), f"{name}.5")
        return y + conv(x, f"{name}.shortcut", stride)

    y = conv(ready(conv(image, "down.0.0"), "down.0.1"), "down.0.3")
    x = y + conv(image, "down.0.shortcut")
    skips = []
    for depth in depths:
        skips.append(x)
        x = unit(x, f"down.{depth}", 2)
    for depth in reversed(range(len(depths))):
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = unit(torch.cat([x, skips[depth]], 1), f"up.{depth}")
    return conv(x, "score")


@pytest.mark.parametrize(
    ("ndim", "channels", "width", "depth"), [(2, 3, 4, 3), (3, 1, 2, 2)]
)
def test_it_is_its_drawing(ndim: int, channels: int, width: int, depth: int) -> None:
    table = zhang(Choice(ndim=ndim, channels=channels, width=width, depth=depth))
    network = randomised(LayeredNetwork(table))
    reference = partial(by_the_drawing, same(network, table))
    assert_same_inside(network, reference)
    assert_traced(network)
    padded = same(network, table.replace(padded=True, window=(32,) * ndim))
    assert_same_padded(padded, reference, (24, 32, 16)[-ndim:])
    network.fold_norms()
    assert_same_inside(network, reference)


def same(network: LayeredNetwork, table: Architecture) -> LayeredNetwork:
    """Build a network with the weights of another, in eval mode."""
    other = LayeredNetwork(table)
    other.load_state_dict(network.state_dict())
    return other.eval()


def test_published_parameter_count() -> None:
    # the 15 convolutions of the paper's table, with one output, and the shortcuts
    table = zhang(Choice(ndim=2, channels=3, width=64, depth=3))
    with torch.device("meta"):
        network = LayeredNetwork(table)
    shapes = {name: w.numel() for name, w in network.named_parameters()}
    shortcuts = sum(n for name, n in shapes.items() if "shortcut" in name)
    norms = sum(2 * layer.width for layer in table.trace.layers if layer.op == "norm")
    second_class = 64 + 1
    assert shortcuts == 431_680
    assert count_weights(table) - shortcuts - norms - second_class == 7_782_913


def test_sizes() -> None:
    table = zhang(Choice(ndim=2, channels=3, width=1, depth=3))
    assert table.halo == (37, 37)
    assert table.trace.last_margins == ((0, 7), (0, 7))
    # of the valid sizes 8 m + 7 the first that leaves something between two halos
    assert table.min_input == (79, 79)


def test_thin_stacks_pass() -> None:
    table = zhang(Choice(ndim=3, channels=2, width=2, depth=2, flat=(1, 0, 0)))
    assert table.step == (2, 4, 4)
    assert_traced(LayeredNetwork(table))


@pytest.mark.parametrize(
    ("build", "depth", "norm"), [(zhang, 4, "batch"), (vnet, 2, "none")]
)
def test_sums_do_not_make_the_scores_grow(
    build: Callable[[Choice], Architecture], depth: int, norm: Norm
) -> None:
    table = build(Choice(ndim=2, classes=8, width=8, depth=depth, norm=norm))
    torch.manual_seed(0)
    scores = LayeredNetwork(table)(torch.randn(1, 1, *table.min_input))
    assert 0.2 < scores.std().item() < 5
