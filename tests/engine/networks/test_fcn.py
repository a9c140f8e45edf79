"""FCN-8s against the published network in plain operations, pads and crops included."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.networks.transfer_helpers import (
    assert_same_inside,
    assert_traced,
    with_weights_of,
)
from napari_unet.core.network.fcn import FCN8
from napari_unet.core.network.vgg import STAGES
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import count_weights


class Published(nn.Module):
    """FCN-8s as its authors run it (voc-fcn8s/net.py), of any width."""

    def __init__(self, width: int, head: int, kernel: int, classes: int) -> None:
        super().__init__()
        self.convs = nn.ModuleDict()
        channels = 3
        for number, stage in enumerate(STAGES["vgg16"], start=1):
            for k, times in enumerate(stage, start=1):
                pad = 100 if (number, k) == (1, 1) else 1
                conv = nn.Conv2d(channels, times * width, 3, padding=pad)
                nn.init.kaiming_normal_(conv.weight)
                self.convs[f"conv{number}_{k}"] = conv
                channels = times * width
        self.fc6 = nn.Conv2d(channels, head, kernel)
        self.fc7 = nn.Conv2d(head, head, 1)
        self.score_fr = nn.Conv2d(head, classes, 1)
        self.score_pool4 = nn.Conv2d(8 * width, classes, 1)
        self.score_pool3 = nn.Conv2d(4 * width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        x, pools = image, []
        for number, stage in enumerate(STAGES["vgg16"], start=1):
            for k in range(1, len(stage) + 1):
                x = self.convs[f"conv{number}_{k}"](x).relu()
            x = F.max_pool2d(x, 2, ceil_mode=True)
            pools.append(x)
        x = self.fc6(x)
        # what a kernel of 7 loses, so that the offsets below stay as they are
        cut = (7 - self.fc6.kernel_size[0]) // 2
        x = self.fc7(F.pad(x, [-cut] * 4).relu()).relu()
        x = enlarged(self.score_fr(x), 2)
        x = x + cropped(self.score_pool4(pools[3]), 5, x)
        x = enlarged(x, 2)
        x = x + cropped(self.score_pool3(pools[2]), 9, x)
        return cropped(enlarged(x, 8), 31, image)


def enlarged(x: Tensor, factor: int) -> Tensor:
    """Their transposed convolution with a bilinear kernel of twice the factor."""
    size, classes = 2 * factor, x.shape[1]
    line = 1 - (torch.arange(size) - (factor - 0.5)).abs() / factor
    kernel = torch.zeros(classes, classes, size, size)
    kernel[range(classes), range(classes)] = line[:, None] * line
    return F.conv_transpose2d(x, kernel, stride=factor)


def cropped(x: Tensor, offset: int, like: Tensor) -> Tensor:
    """Their crop layer."""
    height, width = like.shape[2:]
    return x[..., offset : offset + height, offset : offset + width]


def test_published_parameter_counts() -> None:
    assert count_weights(FCN8(channels=3, classes=21)) == 134_362_751
    assert count_weights(FCN8(channels=3)) == 134_270_278


@pytest.mark.parametrize("kernel", [1, 7])
def test_equal_to_the_published_network(kernel: Literal[1, 7]) -> None:
    torch.manual_seed(0)
    reference = Published(width=4, head=16, kernel=kernel, classes=3).eval()
    table = FCN8(channels=3, classes=3, width=4, head=16, head_kernel=kernel)
    names = {"head.0.0": "fc6", "head.1.0": "fc7"}
    for number, which in enumerate(("fr", "pool4", "pool3")):
        names[f"score.{number}"] = f"score_{which}"
    for depth, stage in enumerate(STAGES["vgg16"]):
        for k in range(len(stage)):
            names[f"down.{depth}.{2 * k}"] = f"convs.conv{depth + 1}_{k + 1}"
    network = with_weights_of(reference, table, names)
    # its first map has 99 pixels more on either side
    assert_same_inside(network, reference, grid=-99)


def test_the_trace_is_that_of_the_maps() -> None:
    table = FCN8(width=2, head=4, norm="batch")
    assert (table.step, table.halo, table.min_input) == (
        (32,) * 2,
        (214,) * 2,
        (436,) * 2,
    )
    assert_traced(LayeredNetwork(table).eval())


def test_the_scores_of_all_depths_may_have_a_higher_precision() -> None:
    torch.manual_seed(0)
    network = LayeredNetwork(FCN8(width=2, head=4)).eval()
    image = torch.randn(1, 1, 436, 436)
    with torch.no_grad():
        expected = network(image)
        network.to(torch.bfloat16)
        network.get_submodule("score").float()
        found = network(image.to(torch.bfloat16))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.05 * expected.std(), rtol=0)
