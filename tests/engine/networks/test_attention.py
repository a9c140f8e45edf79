"""The attention U-Net against its drawing in plain operations."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional as F

from engine.networks.transfer_helpers import (
    assert_same_inside,
    assert_traced,
    randomised,
)
from napari_unet.core.network.attention import attention
from napari_unet.core.network.choice import Choice
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import count_weights

if TYPE_CHECKING:
    from torch import Tensor

    from napari_unet.core.network.architecture import Architecture


def by_the_drawing(network: LayeredNetwork, image: Tensor) -> Tensor:
    """Draw Fig. 1 and 2 of the paper for maps of three levels, padded."""
    w = network.state_dict()
    two = image.ndim == 4
    convolved = F.conv2d if two else F.conv3d
    pooled = F.max_pool2d if two else F.max_pool3d
    halves = network.architecture.levels

    def conv(x: Tensor, name: str, **how: object) -> Tensor:
        bias = w.get(f"{name}.bias")
        return convolved(x, w[f"{name}.weight"], bias, **how)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, w[f"{name}.weight"], w[f"{name}.bias"])

    def double(x: Tensor, name: str) -> Tensor:
        for k in (0, 3):
            border = [n // 2 for n in w[f"{name}.{k}.weight"].shape[2:]]
            x = conv(x, f"{name}.{k}", padding=border)
            x = norm(x, f"{name}.{k + 1}").relu()
        return x

    def enlarged(x: Tensor, like: Tensor) -> Tensor:
        mode = "bilinear" if two else "trilinear"
        return F.interpolate(x, like.shape[2:], mode=mode, align_corners=False)

    first = double(image, "down.0")
    second = double(pooled(first, halves[0].pool), "down.1")
    third = double(pooled(second, halves[1].pool), "down.2")
    signal = norm(conv(third, "signal.0"), "signal.1").relu()
    theta = conv(second, "skip.1.theta", stride=halves[1].pool)
    both = (theta + conv(signal, "skip.1.phi")).relu()
    share = conv(both, "skip.1.psi").sigmoid()
    gated = second * enlarged(share, second)
    gated = norm(conv(gated, "skip.1.product.0"), "skip.1.product.1")
    gated = norm(conv(gated, "skip.1.out.0"), "skip.1.out.1").relu()
    x = double(torch.cat((gated, enlarged(third, second)), 1), "up.1")
    # the finest is not gated
    x = double(torch.cat((first, enlarged(x, first)), 1), "up.0")
    return conv(x, "score")


def test_it_has_the_authors_number_of_parameters() -> None:
    # theirs join the scores of four levels in a convolution of 8 to 2 channels
    assert (
        count_weights(attention(Choice(ndim=3, width=16, depth=4))) + 8 * 2 + 2
        == 6_213_613
    )


@pytest.mark.parametrize(
    "table",
    [
        attention(Choice(ndim=2, width=4, depth=2)),
        attention(Choice(ndim=3, width=2, depth=2)),
        attention(Choice(ndim=3, width=2, depth=2, flat=(1, 0, 0))),
        attention(Choice(ndim=3, width=2, depth=2, flat=(2, 0, 0))),
    ],
)
def test_scores_are_those_of_the_drawing(table: Architecture) -> None:
    torch.manual_seed(0)
    network = LayeredNetwork(table)
    randomised(network)
    assert_same_inside(network, partial(by_the_drawing, network))
    assert_traced(network)


@pytest.mark.parametrize(
    ("depth", "halo", "smallest"), [(2, 23, 48), (3, 51, 108), (4, 107, 220)]
)
def test_the_halo_is_that_of_the_operations(
    depth: int, halo: int, smallest: int
) -> None:
    table = attention(Choice(ndim=3, width=1, depth=depth))
    assert table.halo == (halo,) * 3
    assert table.min_input == (smallest,) * 3
    assert table.step == (2**depth,) * 3


def test_each_gate_but_the_finest_reads_the_level_below() -> None:
    table = attention(Choice(ndim=2, width=1, depth=4))
    network = LayeredNetwork(table)
    assert sorted(network.skip) == ["1", "2", "3"]
    assert network.signal[0].weight.shape[:2] == (16, 16)
    widths = [network.skip[d].phi.weight.shape[:2] for d in (1, 2, 3)]
    assert widths == [(2, 4), (4, 8), (8, 16)]
