"""U-Nets of other programs against drawings of them, and MONAI's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional as F

from engine.networks.transfer_helpers import (
    assert_same_inside,
    assert_traced,
    randomised,
    with_weights_of,
)
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import count_weights
from published_networks import (
    cell_net_2019,
    milesial,
    release_2015,
    tf_unet,
    zhixuhao,
)

if TYPE_CHECKING:
    from torch import Tensor

    from napari_unet.core.network.architecture import Architecture


def narrow(table: Architecture) -> Architecture:
    """Return the same network with a sixteenth of the widths."""
    levels = [
        level.replace(
            down=tuple(w // 16 for w in level.down),
            up=tuple(w // 16 for w in level.up),
            up_conv=level.up_conv // 16,
        )
        for level in table.levels
    ]
    return table.replace(levels=tuple(levels))


class Drawing:
    """A U-Net of `skip_first`, padded, with the weights of ours."""

    def __init__(self, network: LayeredNetwork, enlarge: str, *, up_relu: bool) -> None:
        self.weights = network.state_dict()
        self.depth = len(network.architecture.levels) - 1
        self.enlarge, self.up_relu = enlarge, up_relu

    def __call__(self, image: Tensor) -> Tensor:
        skips, x = [], image
        for d in range(self.depth):
            skips.append(self.block(x, f"down.{d}"))
            x = F.max_pool2d(skips[-1], 2)
        x = self.block(x, f"down.{self.depth}")
        for d in reversed(range(self.depth)):
            x = torch.cat((skips[d], self.up(x, f"up_conv.{d}.0")), 1)
            x = self.block(x, f"up.{d}")
        if "last.0.weight" in self.weights:
            x = self.conv(x, "last.0", 1, 1).relu()
        return self.conv(x, "score", 0, 0)

    def block(self, x: Tensor, name: str) -> Tensor:
        w = self.weights
        for k in (0, 2) if f"{name}.2.weight" in w else (0, 3):
            x = self.conv(x, f"{name}.{k}", 1, 1)
            if (norm := f"{name}.{k + 1}") + ".weight" in w:
                stats = w[f"{norm}.running_mean"], w[f"{norm}.running_var"]
                x = F.batch_norm(x, *stats, w[f"{norm}.weight"], w[f"{norm}.bias"])
            x = x.relu()
        return x

    def up(self, x: Tensor, name: str) -> Tensor:
        w = self.weights
        if self.enlarge == "linear":
            return F.interpolate(x, scale_factor=2, mode="bilinear")
        if self.enlarge == "nearest":
            # an even kernel's border is behind in Keras
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = self.conv(x, name, 0, 1)
        else:
            x = F.conv_transpose2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=2)
        return x.relu() if self.up_relu else x

    def conv(self, x: Tensor, name: str, before: int, after: int) -> Tensor:
        x = F.pad(x, (before, after, before, after))
        weight, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        return F.conv2d(x, weight, bias)


@pytest.mark.parametrize(
    ("table", "enlarge", "up_relu"),
    [
        (zhixuhao(), "nearest", True),
        (milesial(), "transposed", False),
        (milesial(bilinear=True), "linear", False),
        (tf_unet(features_root=64), "transposed", True),
    ],
)
def test_scores_are_those_of_the_drawing(
    table: Architecture, enlarge: str, up_relu: bool
) -> None:
    torch.manual_seed(0)
    network = LayeredNetwork(narrow(table))
    randomised(network)
    assert_same_inside(network, Drawing(network, enlarge, up_relu=up_relu))
    assert_traced(network)


def test_the_net_of_2019_is_that_which_monai_has_of_it() -> None:
    nets = pytest.importorskip("monai.networks.nets")
    table = cell_net_2019().replace(up_activation="none", concat="skip_first")
    with torch.device("meta"):
        theirs = nets.BasicUNet(
            2, 1, 2, (64, 128, 256, 512, 1024, 128), norm=None, dropout=0.5
        )
    assert sum(p.numel() for p in theirs.parameters()) == count_weights(table)
    table = narrow(table)
    torch.manual_seed(0)
    act = ("leakyrelu", {"negative_slope": 0.1})
    theirs = nets.BasicUNet(2, 1, 2, (4, 8, 16, 32, 64, 8), act=act, norm=None)
    names = {"score": "final_conv"}
    for d in range(5):
        for k in (0, 1):
            there = f"down_{d}.convs" if d else "conv_0"
            names[f"down.{d}.{2 * k}"] = f"{there}.conv_{k}.conv"
            names[f"up.{d}.{2 * k}"] = f"upcat_{d + 1}.convs.conv_{k}.conv"
        names[f"up_conv.{d}.0"] = f"upcat_{d + 1}.upsample.deconv"
    network = with_weights_of(theirs.eval(), table, names)
    assert_same_inside(network, theirs)


def test_the_release_and_the_net_of_2019_differ_in_the_last_up_path() -> None:
    first, second = release_2015().levels, cell_net_2019().levels
    assert first[1:] == second[1:]
    assert (first[0].up_conv, second[0].up_conv) == (128, 128)
    assert (first[0].up, second[0].up) == ((64, 64), (128, 128))
