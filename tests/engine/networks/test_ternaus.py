"""TernausNet against its authors' package and a drawing of the paper's figure."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional as F

from engine.networks.transfer_helpers import (
    assert_same_inside,
    assert_traced,
    with_weights_of,
)
from napari_unet.core.network.architecture import paper, u_shape
from napari_unet.core.network.fcn import FCN8
from napari_unet.core.network.vgg import convolutions, encoder_of, ternaus
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import count_weights

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor

    from napari_unet.core.network.vgg import Encoder


@pytest.fixture(scope="module")
def models() -> ModuleType:
    """The authors' package, whose torchvision needs a torch for GPUs to be imported."""
    pytest.importorskip("ternausnet")
    real = torch.library.register_fake

    def register(op: object, *args: object, **kwargs: object) -> object:
        if str(op).startswith("torchvision::"):
            return lambda function: function
        return real(op, *args, **kwargs)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(torch.library, "register_fake", register)
        return pytest.importorskip("ternausnet.models", exc_type=Exception)


@pytest.mark.parametrize(
    ("encoder", "count"), [("vgg11", 22_927_393), ("vgg16", 32_202_337)]
)
def test_published_parameter_counts(encoder: Encoder, count: int) -> None:
    # of one output; a second class has one weight for each of 32 channels, and a bias
    assert count_weights(ternaus(encoder)) == count + 33


@pytest.mark.filterwarnings("ignore::UserWarning:torchvision")
@pytest.mark.parametrize("encoder", ["vgg11", "vgg16"])
def test_equal_to_the_authors_package(encoder: Encoder, models: ModuleType) -> None:
    torch.manual_seed(0)
    if encoder == "vgg11":
        reference = models.UNet11().eval()
        reference.final = torch.nn.Conv2d(32, 2, 1)
    else:
        reference = models.UNet16(num_classes=2, is_deconv=True).eval()
    # as large as our own weights are: the package's grow smaller from map to map
    with torch.no_grad():
        for weight in reference.parameters():
            weight.mul_(1.5)
    table = ternaus(encoder)
    names = {
        c.name: c.feature.replace("features", "encoder") for c in convolutions(encoder)
    }
    blocks = ("dec1", "dec2", "dec3", "dec4", "dec5", "center")
    for depth, block in enumerate(blocks):
        layer = "down.5.0" if block == "center" else f"up.{depth}.0"
        names[layer] = "dec1.conv" if depth == 0 else f"{block}.block.0.conv"
        if depth:
            names[f"up_conv.{depth - 1}.0"] = f"{block}.block.1"
    names["score"] = "final"
    # the encoder's layers are there once more under other names
    network = with_weights_of(reference, table, names, spare=("conv",))
    assert_same_inside(network, reference)


def by_the_drawing(network: LayeredNetwork, image: Tensor) -> Tensor:
    """Fig. 3 of the paper with any number of poolings, padded."""
    w = network.state_dict()
    kernel = w["up_conv.0.0.weight"].shape[-1]

    def convolved(x: Tensor, path: str) -> Tensor:
        for k in (0, 2, 4):
            if f"{path}.{k}.weight" in w:
                name = f"{path}.{k}"
                x = F.conv2d(
                    x, w[f"{name}.weight"], w[f"{name}.bias"], padding=1
                ).relu()
        return x

    depth = len(network.architecture.levels) - 1
    x, skips = image, []
    for stage in range(depth):
        skips.append(convolved(x, f"down.{stage}"))
        x = F.max_pool2d(skips[-1], 2)
    x = convolved(x, f"down.{depth}")
    for stage in reversed(range(depth)):
        name = f"up_conv.{stage}.0"
        x = F.conv_transpose2d(
            x,
            w[f"{name}.weight"],
            w[f"{name}.bias"],
            stride=2,
            padding=1,
            output_padding=4 - kernel,
        ).relu()
        x = convolved(torch.cat((x, skips[stage]), dim=1), f"up.{stage}")
    return F.conv2d(x, w["score.weight"], w["score.bias"])


@pytest.mark.parametrize("depth", [3, 5])
@pytest.mark.parametrize("encoder", ["vgg11", "vgg16"])
def test_equal_to_the_drawing(encoder: Encoder, depth: int) -> None:
    torch.manual_seed(0)
    table = ternaus(encoder, channels=1, width=4, depth=depth)
    network = LayeredNetwork(table).eval()
    assert_traced(network)
    assert_same_inside(network, partial(by_the_drawing, network))


@pytest.mark.parametrize(
    ("encoder", "depth", "halo", "least"),
    [
        ("vgg11", 5, 153, 310),
        ("vgg11", 3, 33, 70),
        ("vgg16", 5, 184, 372),
    ],
)
def test_halo_and_smallest_input(
    encoder: Encoder, depth: int, halo: int, least: int
) -> None:
    table = ternaus(encoder, depth=depth)
    assert table.halo == (halo, halo)
    assert table.min_input == (least, least)


def test_an_encoder_is_known_by_its_layers() -> None:
    for encoder, depth, last in (
        ("vgg11", 5, "features.18"),
        ("vgg11", 3, "features.8"),
        ("vgg16", 5, "features.28"),
        ("vgg16", 4, "features.21"),
    ):
        table = ternaus(encoder, depth=depth)  # type: ignore[arg-type]
        found, convs = encoder_of(table) or ("", ())
        assert found == encoder
        assert convs[-1].feature == last
    found, convs = encoder_of(FCN8(head=8)) or ("", ())
    assert (found, len(convs)) == ("vgg16", 13)


@pytest.mark.parametrize(
    "table",
    [
        ternaus(width=32),
        ternaus(norm="batch"),
        paper(),
        u_shape(ndim=2, channels=1, classes=2, width=64, depth=0),
        u_shape(ndim=3, channels=1, classes=2, width=64, depth=2),
        FCN8(width=32, head=8),
        FCN8(head=8, norm="batch"),
    ],
)
def test_another_path_is_no_encoder(table: object) -> None:
    assert encoder_of(table) is None  # type: ignore[arg-type]


def test_a_layer_fewer_is_no_encoder() -> None:
    table = ternaus("vgg16")
    levels = list(table.levels)
    levels[4] = levels[4].replace(down=(512, 512))
    assert encoder_of(table.replace(levels=tuple(levels))) is None
