"""UNETR against MONAI's, which is its authors'."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from engine.networks.transfer_helpers import assert_traced
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.network.choice import Choice
from napari_unet.core.network.unetr import Unetr
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import count_weights

if TYPE_CHECKING:
    from torch import nn

TRANSFORMER = {
    "norm1": "norm1",
    "norm2": "norm2",
    "qkv": "attn.qkv",
    "out": "attn.out_proj",
    "hidden": "mlp.linear1",
    "back": "mlp.linear2",
}
CONVOLUTIONS = {"conv1": "conv1", "conv2": "conv2", "shortcut": "conv3"}


def named_there(name: str) -> str:
    """Return MONAI's name of one of our weights."""
    root, *path, leaf = name.split(".")
    if name == "vit.positions.weight":
        return "vit.patch_embedding.position_embeddings"
    if root == "vit":
        return f"vit.{in_transformer(path)}.{leaf}"
    return f"{in_decoder(root, path)}.conv.{leaf}"


def in_transformer(path: list[str]) -> str:
    match path:
        case ["token"]:
            return "patch_embedding.patch_embeddings"
        case [block, layer]:
            return f"blocks.{block}.{TRANSFORMER[layer]}"
    return path[0]


def in_decoder(root: str, path: list[str]) -> str:
    match root, path:
        case "down", ["0", layer]:
            return f"encoder1.layer.{CONVOLUTIONS[layer]}"
        case "up_conv", [depth, "enlarge"]:
            return f"decoder{int(depth) + 2}.transp_conv"
        case "up", [depth, layer]:
            return f"decoder{int(depth) + 2}.conv_block.{CONVOLUTIONS[layer]}"
        case "lift", [depth, "0", "enlarge"]:
            return f"encoder{int(depth) + 1}.transp_conv_init"
        case "lift", [depth, number, layer]:
            block = f"encoder{int(depth) + 1}.blocks.{int(number) - 1}"
            within = "0" if layer == "enlarge" else f"1.{CONVOLUTIONS[layer]}"
            return f"{block}.{within}"
    return "out.conv"


def with_weights_of(reference: nn.Module, table: Unetr) -> LayeredNetwork:
    theirs = reference.state_dict()
    # of attention to other images, which no UNETR has
    left = {name for name in theirs if "cross_attn" not in name}
    network = LayeredNetwork(table).eval()
    weights = {}
    for name, weight in network.state_dict().items():
        source = theirs[named_there(name)]
        if name == "vit.positions.weight":
            source = source.transpose(1, 2)
        weights[name] = source.reshape(weight.shape)
        left.remove(named_there(name))
    assert not left
    network.load_state_dict(weights)
    return network


@pytest.mark.parametrize("window", [(48, 48), (32, 48, 48)], ids=["2-D", "3-D"])
@torch.no_grad()
def test_scores_are_those_of_the_authors_program(window: tuple[int, ...]) -> None:
    nets = pytest.importorskip("monai.networks.nets")
    pytest.importorskip("einops")
    torch.manual_seed(0)
    reference = nets.UNETR(
        in_channels=2,
        out_channels=3,
        img_size=window,
        feature_size=4,
        hidden_size=24,
        mlp_dim=48,
        num_heads=4,
        spatial_dims=len(window),
    ).eval()
    for name, parameter in reference.named_parameters():
        # such as begin with 1 and 0 would pass for each other
        if "norm" in name:
            parameter.add_(0.2 * torch.randn_like(parameter))
    table = Unetr(
        channels=2,
        classes=3,
        window=window,
        width=4,
        token_width=24,
        hidden_width=48,
        heads=4,
    )
    network = with_weights_of(reference, table)
    image = torch.randn(2, 2, *window)
    expected = reference(image)
    torch.testing.assert_close(network(image), expected, atol=1e-4, rtol=0)
    assert expected.std() > 0.1


@pytest.mark.parametrize(
    ("table", "count"),
    [
        # MONAI's 92,802,478 without 12 norms that it never uses, of 2 × 768 each
        (Unetr(window=(96, 96, 96), classes=14), 92_784_046),
        # and 6,474,754 without 12 of 2 × 192
        (Unetr(window=(96, 96), token_width=192, hidden_width=768), 6_470_146),
    ],
    ids=["3-D", "2-D"],
)
def test_the_weights_are_as_many_as_the_authors(table: Unetr, count: int) -> None:
    assert count_weights(table) == count


def test_each_map_has_the_size_of_the_trace() -> None:
    table = Unetr(
        window=(32, 64, 64), width=2, token_width=8, hidden_width=8, heads=2, blocks=4
    )
    assert_traced(LayeredNetwork(table))


def test_tokens_begin_small_and_places_apart() -> None:
    network = LayeredNetwork(Unetr(window=(64, 64), token_width=96, hidden_width=192))
    state = network.state_dict()
    for name in ("vit.token.weight", "vit.3.qkv.weight", "vit.positions.weight"):
        assert 0.015 < state[name].std() < 0.02, name
        assert state[name].abs().max() <= 0.04
    assert state["vit.token.bias"].abs().max() == 0
    # convolutions of the decoder begin as all others do
    assert state["up.0.conv1.weight"].std() == pytest.approx(
        (2 / (9 * 32)) ** 0.5, rel=0.1
    )


def test_a_place_is_told_from_another() -> None:
    table = Unetr(window=(64, 64), width=2, token_width=24, hidden_width=24, blocks=4)
    torch.manual_seed(0)
    network = LayeredNetwork(table).eval()
    with torch.no_grad():
        network.vit.positions.weight.normal_()
        image = torch.randn(1, 1, 32, 32).repeat(1, 1, 2, 2)
        scores = network(image)
    assert (scores[..., :32, :32] - scores[..., 32:, 32:]).abs().max() > 0.01


def test_a_description_survives_json() -> None:
    table = Unetr(window=(32, 64, 64), classes=3)
    assert Unetr.model_validate_json(table.model_dump_json()) == table
    assert table.model_dump()["kind"] == "unetr"


@pytest.mark.parametrize(
    ("patch", "window"),
    [((100, 100), (112, 112)), ((), (96, 96)), ((8, 28, 28), (16, 32, 32))],
)
def test_the_window_follows_the_patch(
    patch: tuple[int, ...], window: tuple[int, ...]
) -> None:
    choice = Choice(
        ndim=len(window), channels=2, classes=3, width=64, depth=3, patch=patch
    )
    table = NETWORKS["unetr"].build(choice)
    # of the width that the paper's U-Net has, all are those of UNETR's paper
    assert table == Unetr(channels=2, classes=3, window=window)
