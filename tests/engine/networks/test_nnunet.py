"""nnU-Net's networks against dynamic-network-architectures, which nnU-Net uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from engine.networks.transfer_helpers import (
    assert_same_inside,
    assert_traced,
    randomised,
    with_weights_of,
)
from napari_unet.core.network.choice import Choice
from napari_unet.core.network.nnunet import nnunet, resenc
from napari_unet.engine.network.network import count_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.core.network.architecture import Architecture

pytest.importorskip("dynamic_network_architectures")
from dynamic_network_architectures.architectures.unet import (
    PlainConvUNet,
    ResidualEncoderUNet,
)
from dynamic_network_architectures.building_blocks.simple_conv_blocks import (
    ConvDropoutNormReLU,
)


def sizes(**asked: Any) -> Choice:
    """Return sizes that are nnU-Net's where nothing else is asked for."""
    return Choice(**{"ndim": 2, "width": 32, "depth": 3, "norm": "instance", **asked})


def scored(table: Architecture) -> Architecture:
    """Return the network with scores at all levels, as the program builds it."""
    return table.replace(supervised=len(table.levels) - 2)


PUBLISHED = [
    (scored(nnunet(sizes(depth=7))), 46_324_558),
    (scored(nnunet(sizes(ndim=3, depth=5))), 31_195_594),
    (scored(resenc(sizes(depth=7))), 140_017_038),
    (scored(resenc(sizes(ndim=3, depth=5))), 102_349_770),
    (scored(nnunet(sizes(width=8))), 121_494),
    (scored(resenc(sizes(width=8))), 548_582),
]


def reference(table: Architecture, *, supervised: bool = False) -> nn.Module:
    """Build the program's network of the same sizes, each tensor listed once."""
    two = table.ndim == 2
    norms = {
        "batch": (nn.BatchNorm2d, nn.BatchNorm3d),
        "instance": (nn.InstanceNorm2d, nn.InstanceNorm3d),
    }
    kind = PlainConvUNet if table.block == "plain" else ResidualEncoderUNet
    inner = table.levels[:-1]
    network = kind(
        table.channels,
        len(table.levels),
        [level.down[0] for level in table.levels],
        nn.Conv2d if two else nn.Conv3d,
        [level.kernel for level in table.levels],
        [(1,) * table.ndim, *(level.pool for level in inner)],
        [len(level.down) for level in table.levels],
        table.classes,
        [len(level.up) for level in reversed(inner)],
        True,
        norms[table.norm][0 if two else 1],
        {"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=supervised,
    )
    for module in network.modules():
        if isinstance(module, ConvDropoutNormReLU):
            del module.conv, module.norm
    del network.decoder.encoder
    return randomised(network)


def names(table: Architecture) -> dict[str, str]:
    """Return the program's name of each of our layers with weights."""
    bottom = len(table.levels) - 1
    found = {"score": f"decoder.seg_layers.{bottom - 1}"}
    for depth, level in enumerate(table.levels[:-1]):
        # counted from the bottom there
        stage = bottom - 1 - depth
        found[f"up_conv.{depth}.0"] = f"decoder.transpconvs.{stage}"
        found[f"coarser.{depth}"] = f"decoder.seg_layers.{stage}"
        for unit in range(len(level.up)):
            theirs = f"decoder.stages.{stage}.convs.{unit}"
            found |= normed(f"up.{depth}", theirs, 3 * unit)
    return found | (residual(table) if table.block == "resenc" else encoder(table))


def encoder(table: Architecture) -> dict[str, str]:
    found = {}
    for depth, level in enumerate(table.levels):
        for unit in range(len(level.down)):
            theirs = f"encoder.stages.{depth}.0.convs.{unit}"
            found |= normed(f"down.{depth}", theirs, 3 * unit)
    return found


def residual(table: Architecture) -> dict[str, str]:
    found = normed("down.0.stem", "encoder.stem.convs.0")
    for depth, level in enumerate(table.levels):
        for unit in range(len(level.down)):
            ours, theirs = (
                f"down.{depth}.{unit}",
                f"encoder.stages.{depth}.blocks.{unit}",
            )
            found |= normed(f"{ours}.0", f"{theirs}.conv1")
            found |= normed(f"{ours}.1", f"{theirs}.conv2")
            # behind the pooling
            found |= normed(f"{ours}.shortcut", f"{theirs}.skip.1")
    return found


def normed(ours: str, theirs: str, first: int = 0) -> dict[str, str]:
    """Return the names of a convolution and its norm."""
    return {f"{ours}.{first + i}": f"{theirs}.all_modules.{i}" for i in (0, 1)}


@pytest.mark.parametrize(("table", "count"), PUBLISHED)
def test_it_has_the_published_number_of_parameters(
    table: Architecture, count: int
) -> None:
    assert count_weights(table) == count


TABLES = [
    scored(nnunet(sizes(width=4, norm="batch"))),
    scored(resenc(sizes(width=2, depth=2, norm="batch"))),
    scored(resenc(sizes(width=2, norm="batch"))),
    scored(nnunet(sizes(ndim=3, width=2, depth=2, norm="batch", flat=(1, 0, 0)))),
    resenc(sizes(ndim=3, width=2, depth=1, norm="batch", flat=(1, 0, 0))),
]


@pytest.mark.parametrize("table", TABLES)
def test_scores_are_those_of_the_program(table: Architecture) -> None:
    program = reference(table)
    network = with_weights_of(program, table, names(table))
    assert_same_inside(network, program)
    assert_traced(network)


@pytest.mark.parametrize("build", [nnunet, resenc])
@pytest.mark.parametrize(("ndim", "flat"), [(2, ()), (3, (1, 0, 0))])
@torch.no_grad()
def test_padded_all_scores_are_those_of_the_program(
    build: Callable[[Choice], Architecture], ndim: int, flat: tuple[int, ...]
) -> None:
    # as nnU-Net has it: statistics of the window
    table = scored(build(sizes(ndim=ndim, width=2, flat=flat)))
    table = table.replace(padded=True, window=(32,) * ndim)
    program = reference(table, supervised=True)
    network = with_weights_of(program, table, names(table))
    image = torch.randn(2, 1, *table.window)
    assert torch.equal(network(image), network.supervised(image)[0])
    found = network.supervised(image)
    for ours, theirs in zip(found, program(image), strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.std()


def test_the_published_depth_loses_more_than_a_volume_has() -> None:
    assert nnunet(sizes(ndim=3, depth=5)).halo == (157, 157, 157)
    assert resenc(sizes(ndim=3, depth=5)).halo == (719, 719, 719)
    assert resenc(sizes(ndim=3, depth=2)).halo == (47, 47, 47)
