"""Kerfoot's residual U-Net against MONAI's."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from engine.networks.transfer_helpers import (
    assert_same_inside,
    assert_same_padded,
    assert_traced,
    randomised,
    with_weights_of,
)
from napari_unet.core.network.choice import Choice
from napari_unet.core.network.residual_unet import ResidualUNet, residual_unet
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import count_weights


def names(table: ResidualUNet) -> dict[str, str]:
    """Return MONAI's name of each of our layers."""
    found = {}
    bottom = len(table.strides)
    for depth in range(bottom + 1):
        level = "model" + ".1.submodule" * depth
        unit = level if depth == bottom else f"{level}.0"
        for number in range(table.units):
            layer = f"down.{depth}.{number}"
            found |= convolution(layer, f"{unit}.conv.unit{number}")
        found[f"down.{depth}.shortcut"] = f"{unit}.residual"
        if depth < bottom:
            found |= convolution(f"up_conv.{depth}", f"{level}.2.0")
            found |= convolution(f"up.{depth}", f"{level}.2.1.conv.unit0")
    return found | {"score": "model.2.1.conv.unit0.conv"}


def convolution(ours: str, theirs: str) -> dict[str, str]:
    """Return the names of a convolution, its norm and its slope."""
    parts = ("conv", "adn.N", "adn.A")
    return {f"{ours}.{number}": f"{theirs}.{part}" for number, part in enumerate(parts)}


@pytest.mark.parametrize(("ndim", "depth", "units"), [(2, 2, 2), (2, 4, 1), (3, 2, 2)])
def test_it_is_monais(ndim: int, depth: int, units: int) -> None:
    nets = pytest.importorskip("monai.networks.nets")
    table = residual_unet(Choice(ndim=ndim, classes=3, width=4, depth=depth))
    table = table.replace(units=units)
    reference = nets.UNet(
        spatial_dims=ndim,
        in_channels=1,
        out_channels=3,
        channels=table.widths,
        strides=(2,) * depth,
        num_res_units=units,
        norm="batch",
    )
    network = with_weights_of(randomised(reference), table, names(table))
    assert_same_inside(network, reference)
    assert_traced(network)
    padded = with_weights_of(
        reference, table.replace(padded=True, window=(32,) * ndim), names(table)
    )
    assert_same_padded(padded, reference, (32, 48, 32)[-ndim:])
    network.fold_norms()
    assert_same_inside(network, reference)


@pytest.mark.parametrize(("ndim", "count"), [(2, 1_627_597), (3, 4_808_917)])
def test_parameters_are_as_many_as_monais(ndim: int, count: int) -> None:
    # with its instance norm, which has no weights, these are 1,625,161 and 4,806,481
    assert count_weights(residual_unet(Choice(ndim=ndim, width=16, depth=4))) == count


def test_thin_stacks_pass() -> None:
    table = residual_unet(Choice(ndim=3, channels=2, width=2, depth=2, flat=(2, 0, 0)))
    assert table.step == (1, 4, 4)
    assert table.halo == (2, 20, 20)
    assert_traced(LayeredNetwork(table))


def test_scores_stay_in_single_precision() -> None:
    table = residual_unet(Choice(ndim=2, width=2, depth=1))
    network = LayeredNetwork(table).eval()
    network.to(torch.bfloat16)
    network.score.float()
    image = torch.randn(1, 1, *table.min_input, dtype=torch.bfloat16)
    assert network(image).dtype == torch.float32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": (2, 4)}, "2 levels need 1 strides, found 4"),
        ({"strides": ((2, 2), (2, 2), (2, 2), (2,))}, "each of 2 or 3 axes"),
        ({"strides": ((2,),) * 4}, "each of 2 or 3 axes"),
        ({"strides": ((0, 2),) * 4}, "1 or more"),
        # as a damaged card may say, which would take all day to draw
        ({"units": 10**9}, "less than or equal to 32"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        ResidualUNet().replace(**changes)
