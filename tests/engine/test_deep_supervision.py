from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from example_models import random_model
from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.events import StepDone, TrainingFinished
from napari_unet.core.network.architecture import Architecture, u_shape
from napari_unet.core.network.geometry import Layered
from napari_unet.core.network.layers import Drawing
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.training.losses import (
    supervised_loss,
    weighted_cross_entropy,
)
from napari_unet.engine.training.train import train

if TYPE_CHECKING:
    from napari_unet.core.network.geometry import Geometry


class Reduced(Layered):
    """Two ways to half the size and back, with a coarser output of it."""

    strided: bool = False

    def draw(self) -> Drawing:
        net = Drawing(2, self.channels)
        x = net.conv(0, 1, 3, "a")
        if self.strided:
            x = net.conv(x, 1, 3, "b", stride=2)
            x = net.conv(x, 1, (5, 3), "c", stride=2)
        else:
            x = net.resize(net.resize(x, "mean_pool", 2), "mean_pool", (2, 2))
        coarse = net.conv(x, 1, 3, "d")
        x = net.up_conv(coarse, 1, 4, "e", stride=4)
        net.scores = net.conv(x, self.classes, 1, "score")
        net.supervised.append(net.conv(coarse, self.classes, 1, "coarse"))
        return net


class Supervised(Architecture):
    """A U-Net with an output at each level above the bottom."""

    def draw(self) -> Drawing:
        net = super().draw()
        for depth in range(1, len(self.levels) - 1):
            names = [layer.name for layer in net.layers]
            last = max(n for n, name in enumerate(names) if f"up.{depth}." in name)
            net.supervised.append(net.conv(last, self.classes, 1, f"coarse.{depth}"))
        return net


def ramps(table: Geometry, output: tuple[int, int]) -> torch.Tensor:
    """An image whose pixels are the sums of weighted coordinates."""
    y, x = (torch.arange(float(n)) for n in table.input_size(output))
    return (100 * y[:, None] + x[None])[None, None]


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("wanted", [(1, 1), (13, 22)])
def test_a_coarse_pixel_is_judged_by_the_one_in_the_middle_of_what_it_sees(
    strided: bool, wanted: tuple[int, int]
) -> None:
    table = Reduced(strided=strided)
    output = table.output_covering(wanted)
    network = LayeredNetwork(table).eval()
    for weight in network.parameters():
        # the mean of what is seen: of ramps their value in the middle
        torch.nn.init.constant_(weight, 1 / max(weight[0].numel(), 1))
        if weight.ndim == 1:
            torch.nn.init.zeros_(weight)
    image = ramps(table, output)
    with torch.no_grad():
        coarse = network.supervised(image)[1][0, 0]
    inside = image[0, 0]
    for axis, halo in enumerate(table.halo):
        inside = inside.narrow(axis, halo, output[axis])
    (number,) = table.drawing.supervised
    places = table.trace.targets(number, output)
    found = coarse[tuple(here for here, _ in places)]
    truth = inside[tuple(there for _, there in places)]
    assert found.shape == truth.shape
    # of an even number of pixels none is in the middle
    off = 0 if strided else (4 - 1) / 2 - 1
    torch.testing.assert_close(found - off * 101, truth, atol=0.02, rtol=1e-5)
    for n, (_, there) in zip(output, places, strict=True):
        # nothing is left out that lies on the output
        assert there.start < 4
        assert n - there.stop < 4


def test_outputs_count_half_of_the_finer_ones() -> None:
    torch.manual_seed(0)
    fine, coarse, coarsest = (torch.randn(2, 3, n, n) for n in (8, 5, 3))
    classes = torch.randint(0, 3, (2, 8, 8)).to(torch.uint8)
    classes[0, :3] = IGNORED
    border, table = torch.rand(2, 8, 8), torch.tensor([1.0, 2.0, 0.5])
    places = [
        [(slice(1, 5), slice(0, 8, 2))] * 2,
        [(slice(0, 2), slice(1, 9, 4)), (slice(1, 3), slice(2, 10, 4))],
    ]
    loss = supervised_loss([fine, coarse, coarsest], places, classes, border, table)
    each = [
        weighted_cross_entropy(fine, classes, border, table),
        weighted_cross_entropy(
            coarse[:, :, 1:5, 1:5], classes[:, ::2, ::2], border[:, ::2, ::2], table
        ),
        weighted_cross_entropy(
            coarsest[:, :, :2, 1:3],
            classes[:, 1::4, 2::4],
            border[:, 1::4, 2::4],
            table,
        ),
    ]
    expected = (each[0] + each[1] / 2 + each[2] / 4) / 1.75
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    alone = supervised_loss([fine], [], classes, border, table)
    assert torch.equal(alone, each[0])


def test_a_training_learns_from_the_coarser_outputs(rng: np.random.Generator) -> None:
    plain = u_shape(ndim=2, channels=1, classes=2, width=4, depth=2, norm="batch")
    model = random_model(Supervised.model_validate(dict(plain)))
    labels = (rng.random((12, 12)) > 0.5).repeat(8, 0).repeat(8, 1)
    image = labels + rng.normal(0, 0.2, labels.shape).astype(np.float32)
    settings = Training(steps=3, minutes=0, patch=32, batch=1, validation=0)
    *events, last = train(
        [image.astype(np.float32)],
        [labels.astype(np.uint8)],
        settings.replace(precision="fp32"),
        kind="binary",
        start=model,
        device="cpu",
    )
    assert isinstance(last, TrainingFinished)
    assert sum(isinstance(event, StepDone) for event in events) == 3
    before, after = model.weights, last.model.weights
    assert (before["coarse.1.weight"] != after["coarse.1.weight"]).any()
