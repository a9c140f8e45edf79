"""MultiResUNet against its drawing in plain operations."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from engine.networks.transfer_helpers import (
    assert_same_inside,
    assert_traced,
    randomised,
)
from napari_unet.core.network.choice import Choice
from napari_unet.core.network.multires import multires
from napari_unet.engine.network.layered import LayeredNetwork

if TYPE_CHECKING:
    from torch import Tensor

    from napari_unet.core.network.architecture import Architecture


PAPER = Choice(ndim=2, channels=3, width=32, depth=4)
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def by_the_drawing(network: LayeredNetwork, image: Tensor) -> Tensor:
    """Draw Fig. 2 to 4 of the paper, padded, in the order of the Keras program."""
    w = network.state_dict()
    two = image.ndim == 4
    pooled = F.max_pool2d if two else F.max_pool3d
    enlarged = F.conv_transpose2d if two else F.conv_transpose3d
    levels = network.architecture.levels

    def conv(x: Tensor, name: str) -> Tensor:
        weight = w[f"{name}.weight"]
        border = [n // 2 for n in weight.shape[2:]]
        bias = w.get(f"{name}.bias")
        return (F.conv2d if two else F.conv3d)(x, weight, bias, padding=border)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, w[f"{name}.weight"], w[f"{name}.bias"])

    def normed(x: Tensor, name: str) -> Tensor:
        return norm(conv(x, f"{name}.0"), f"{name}.1")

    def block(x: Tensor, name: str) -> Tensor:
        three = normed(x, f"{name}.0").relu()
        five = normed(three, f"{name}.1").relu()
        seven = normed(five, f"{name}.2").relu()
        joined = norm(torch.cat((three, five, seven), 1), f"{name}.joined")
        summed = (joined + normed(x, f"{name}.shortcut")).relu()
        return norm(summed, f"{name}.summed.1")

    def path(x: Tensor, name: str, length: int) -> Tensor:
        for unit in range(length):
            here = f"{name}.{unit}"
            summed = normed(x, f"{here}.conv").relu() + normed(x, f"{here}.shortcut")
            x = norm(summed.relu(), f"{here}.summed.1")
        return x

    skips, x = [], image
    for depth, level in enumerate(levels[:-1]):
        x = block(x, f"down.{depth}")
        skips.append(path(x, f"skip.{depth}", len(levels) - 1 - depth))
        x = pooled(x, level.pool)
    x = block(x, f"down.{len(levels) - 1}")
    for depth in reversed(range(len(levels) - 1)):
        name = f"up_conv.{depth}.0"
        weight, stride = w[f"{name}.weight"], levels[depth].pool
        x = enlarged(x, weight, w[f"{name}.bias"], stride=stride)
        x = block(torch.cat((x, skips[depth]), 1), f"up.{depth}")
    return conv(x, "score")


def test_it_has_the_number_of_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        network = LayeredNetwork(multires(PAPER))
    named = list(network.named_modules())
    convolutions = [m for _, m in named if isinstance(m, CONVOLUTIONS)]
    norms = {n: m.num_features for n, m in named if isinstance(m, nn.BatchNorm2d)}
    scaled = [norms[n] for n in norms if n.endswith((".joined", ".summed.1"))]
    trainable = sum(p.numel() for m in convolutions for p in m.parameters())
    # the program scales behind joins and sums only ...
    trainable += sum(norms.values()) + sum(scaled)
    # ... and its one output has a shift behind it and no bias
    trainable += (51 + 1) - (2 * 51 + 2)
    assert trainable == 7_238_228
    # it counts the running means and variances, too
    assert trainable + 2 * (sum(norms.values()) + 1) == 7_262_750


def test_the_widths_are_those_of_the_program() -> None:
    found = [sum(level.down) for level in multires(PAPER).levels]
    assert found == [51, 105, 212, 426, 853]


@pytest.mark.parametrize(
    "table",
    [
        multires(Choice(ndim=2, width=8, depth=2, channels=3)),
        multires(Choice(ndim=2, width=4, depth=3)),
        multires(Choice(ndim=3, width=4, depth=2, flat=(1, 0, 0))),
    ],
)
def test_scores_are_those_of_the_drawing(table: Architecture) -> None:
    torch.manual_seed(0)
    network = LayeredNetwork(table)
    randomised(network)
    assert_same_inside(network, partial(by_the_drawing, network))
    assert_traced(network)


@pytest.mark.parametrize(
    ("depth", "halo", "smallest"), [(2, 30, 62), (3, 66, 138), (4, 138, 282)]
)
def test_the_halo_is_that_of_the_operations(
    depth: int, halo: int, smallest: int
) -> None:
    table = multires(Choice(ndim=2, width=2, depth=depth, channels=3))
    assert table.halo == (halo, halo)
    assert table.min_input == (smallest, smallest)
    assert table.step == (2**depth, 2**depth)
