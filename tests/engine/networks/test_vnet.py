"""V-Net against MONAI's, and the paper's against its drawing in plain operations."""

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
    with_weights_of,
)
from napari_unet.core.network.blended import geometry_of
from napari_unet.core.network.choice import Choice
from napari_unet.core.network.vnet import vnet
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import count_weights

if TYPE_CHECKING:
    from torch import Tensor, nn

    from napari_unet.core.network.architecture import Architecture

PAPER = vnet(Choice(ndim=3, width=16, depth=4, norm="none"))
# of MONAI's, which are not the paper's: on the way down and up again, finest first
DOWN, UP = (1, 1, 2, 3, 2), (1, 1, 2, 2)


def monai_vnet(ndim: int, classes: int, activation: str) -> Architecture:
    table = vnet(Choice(ndim=ndim, classes=classes, width=16, depth=4, norm="batch"))
    levels = [
        level.replace(down=level.down[:1] * down, up=level.up[:1] * up)
        for level, down, up in zip(table.levels, DOWN, (*UP, 0), strict=True)
    ]
    return table.replace(
        levels=tuple(levels),
        block="vnet_monai",
        activation=activation,
        up_activation=activation,
        last=(classes,),
    )


def names() -> dict[str, str]:
    """Return MONAI's name of each of our layers."""
    found = unit("down.0", "in_tr.conv_block", 0, first=True)
    found |= {"down.0.sum": "in_tr.act_function"}
    for depth in range(1, 5):
        theirs = f"down_tr{16 * 2**depth}"
        found |= resized(f"reduce.{depth}", f"{theirs}.down_conv", theirs)
        for number in range(DOWN[depth]):
            found |= unit(f"down.{depth}", f"{theirs}.ops.{number}", number)
        found |= {f"down.{depth}.sum": f"{theirs}.act_function2"}
    for depth in range(4):
        theirs = f"up_tr{32 * 2**depth}"
        found |= resized(f"up_conv.{depth}", f"{theirs}.up_conv", theirs)
        for number in range(UP[depth]):
            found |= unit(f"up.{depth}", f"{theirs}.ops.{number}", number)
        found |= {f"up.{depth}.sum": f"{theirs}.act_function2"}
    found |= {
        "last.0": "out_tr.conv_block.conv",
        "last.1": "out_tr.conv_block.adn.N",
        "last.2": "out_tr.act_function1",
        "score": "out_tr.conv2",
    }
    return found


def unit(ours: str, theirs: str, number: int, *, first: bool = False) -> dict[str, str]:
    conv = theirs if first else f"{theirs}.conv_block"
    return {
        f"{ours}.{3 * number}": f"{conv}.conv",
        f"{ours}.{3 * number + 1}": f"{conv}.adn.N",
        f"{ours}.{3 * number + 2}": f"{theirs}.act_function",
    }


def resized(ours: str, conv: str, theirs: str) -> dict[str, str]:
    return {
        f"{ours}.0": conv,
        f"{ours}.1": f"{theirs}.bn1",
        f"{ours}.2": f"{theirs}.act_function1",
    }


@pytest.mark.parametrize("activation", ["elu", "prelu_per_channel"])
def test_it_is_monais(activation: str) -> None:
    nets = pytest.importorskip("monai.networks.nets")
    table = monai_vnet(2, 3, activation)
    act = activation.removesuffix("_per_channel")
    reference = nets.VNet(spatial_dims=2, in_channels=1, out_channels=3, act=act)
    network = with_weights_of(randomised(reference), table, names())
    assert_same_inside(network, reference)


def test_in_3d_it_is_monais_where_both_pad() -> None:
    nets = pytest.importorskip("monai.networks.nets")
    table = monai_vnet(3, 2, "elu").replace(padded=True, window=(32,) * 3)
    reference = nets.VNet(spatial_dims=3, in_channels=1, out_channels=2)
    network = with_weights_of(randomised(reference), table, names())
    assert_same_padded(network, reference, (16, 32, 16))


@pytest.mark.parametrize(
    ("table", "count"),
    [
        (PAPER, 65_175_314),
        (vnet(Choice(ndim=2, width=16, depth=4, norm="none")), 13_275_346),
        (monai_vnet(2, 2, "elu"), 9_358_730),
        # of which 4,004 and 8,010 are in the last layers, for one class and for two
        (monai_vnet(3, 2, "elu"), 45_593_892 - 4_004 + 8_010),
    ],
)
def test_published_parameter_counts(table: Architecture, count: int) -> None:
    assert count_weights(table) == count


def test_sizes_are_the_papers() -> None:
    assert PAPER.halo == (260,) * 3
    assert PAPER.min_input == (532,) * 3
    assert vnet(Choice(ndim=3, width=16, depth=2)).min_input == (92,) * 3


def test_the_paper_runs_padded_in_a_window_of_fixed_size() -> None:
    table = PAPER.replace(padded=True, window=(64, 128, 128))
    assert table.output_size((64, 128, 128)) == (64, 128, 128)
    geometry = geometry_of(table)
    assert geometry.step == geometry.halo == (32, 64, 64)
    # in less than a twentieth of the memory that the smallest unpadded volume takes
    least = PAPER.peak_values(PAPER.min_output)
    assert geometry.peak_values((128, 256, 256)) < least / 20


def by_the_drawing(network: LayeredNetwork, image: Tensor) -> Tensor:
    """Draw V-Net of three levels: 1, 2 and 3 convolutions, padded, without norm."""
    weights = network.state_dict()
    ndim = image.ndim - 2
    convolved, enlarged = (
        (F.conv2d, F.conv_transpose2d) if ndim == 2 else (F.conv3d, F.conv_transpose3d)
    )

    def layer(operation: partial[Tensor], x: Tensor, name: str) -> Tensor:
        return operation(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def prelu(x: Tensor, name: str) -> Tensor:
        return F.prelu(x, weights[f"{name}.weight"])

    def level(x: Tensor, added: Tensor, name: str, count: int) -> Tensor:
        for number in range(count):
            x = layer(partial(convolved, padding=2), x, f"{name}.{2 * number}")
            if number < count - 1:
                x = prelu(x, f"{name}.{2 * number + 1}")
        return prelu(x + added, f"{name}.sum")

    width = weights["down.0.0.weight"].shape[0]
    x = level(image, torch.cat([image] * width, 1)[:, :width], "down.0", 1)
    skips = [x]
    for depth in (1, 2):
        x = layer(partial(convolved, stride=2), x, f"reduce.{depth}.0")
        x = prelu(x, f"reduce.{depth}.1")
        x = level(x, x, f"down.{depth}", depth + 1)
        skips.append(x)
    for depth in (1, 0):
        x = layer(partial(enlarged, stride=2), x, f"up_conv.{depth}.0")
        x = torch.cat([prelu(x, f"up_conv.{depth}.1"), skips[depth]], 1)
        x = level(x, x, f"up.{depth}", depth + 1)
    return layer(partial(convolved), x, "score")


@pytest.mark.parametrize(("ndim", "channels", "width"), [(2, 3, 4), (3, 1, 2)])
def test_the_papers_is_its_drawing(ndim: int, channels: int, width: int) -> None:
    table = vnet(
        Choice(ndim=ndim, channels=channels, width=width, depth=2, norm="none")
    )
    network: nn.Module = randomised(LayeredNetwork(table))
    assert_same_inside(network, partial(by_the_drawing, network))
    assert_traced(network)


def test_thin_stacks_pass() -> None:
    table = vnet(Choice(ndim=3, channels=2, width=2, depth=2, flat=(1, 0, 0)))
    assert table.step == (2, 4, 4)
    assert_traced(LayeredNetwork(table))
