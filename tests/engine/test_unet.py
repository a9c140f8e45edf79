from __future__ import annotations

from functools import partial
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from napari_unet.core.network.architecture import (
    Architecture,
    Level,
    paper,
    u_shape,
)
from napari_unet.engine.network.network import count_weights
from napari_unet.engine.network.unet import UNet
from published_networks import (
    cell_net_2019,
    milesial,
    plugin_default,
    release_2015,
    tf_unet,
    unet3d,
    zhixuhao,
)


@pytest.mark.parametrize(
    ("table", "count"),
    [
        (paper(), 31_030_658),
        (paper(channels=3), 31_031_810),
        (paper(channels=2, classes=5), 31_029_952 + 576 * 2 + 65 * 5),
        (release_2015(), 31_100_354),
        (cell_net_2019(), 31_321_794),
        (plugin_default(), 31_030_658),
        (zhixuhao(), 31_031_688),
        (milesial(), 31_037_698),
        (milesial(channels=1), 31_036_546),
        (milesial(bilinear=True), 17_263_042),
        (milesial(channels=1, bilinear=True), 17_261_890),
    ],
)
def test_published_parameter_counts(table: Architecture, count: int) -> None:
    assert count_weights(table) == count


def test_the_3d_u_net_has_the_published_number_of_convolution_parameters() -> None:
    with torch.device("meta"):
        network = UNet(unet3d())
    convolutions = [
        m for m in network.modules() if isinstance(m, (nn.Conv3d, nn.ConvTranspose3d))
    ]
    assert sum(p.numel() for m in convolutions for p in m.parameters()) == 19_069_955
    assert sum(p.numel() for p in network.parameters()) == 19_075_523 - 896


def test_the_default_is_the_paper_and_gives_388_for_572() -> None:
    with torch.device("meta"):
        network = UNet()
        scores = network(torch.empty(1, 1, 572, 572))
    assert network.architecture == paper()
    assert scores.shape == (1, 2, 388, 388)


@pytest.mark.parametrize(
    ("table", "size", "output"),
    [
        (release_2015(), 188, 4),
        (cell_net_2019(), 188, 4),
        (plugin_default(), 188, 4),
        (zhixuhao(), 220, 4),
        (milesial(channels=1), 188, 4),
        (milesial(channels=1, bilinear=True), 220, 6),
        (tf_unet(), 572, 532),
    ],
)
def test_the_networks_of_other_programs_run(
    table: Architecture, size: int, output: int
) -> None:
    step = table.step[0]
    with torch.device("meta"):
        scores = UNet(table)(torch.empty(2, 1, size, size + step))
    assert scores.shape == (2, 2, output, output + step)


def test_thin_stacks_pass() -> None:
    table = u_shape(ndim=3, channels=2, classes=3, width=2, depth=3, flat=(3, 0, 0))
    assert UNet(table)(torch.zeros(1, 2, 14, 92, 92)).shape[2:] == (10, 4, 4)


def test_weights_have_the_he_deviation_and_biases_are_zero() -> None:
    torch.manual_seed(0)
    network = UNet(u_shape(ndim=2, channels=1, classes=2, width=64, depth=1))
    conv = network.down[0][2]  # 64 channels, 3 x 3: 576 incoming values
    assert conv.weight.std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.02)
    up = network.up_conv[0][0]  # 128 channels, one tap reaches each output pixel
    assert up.weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.02)
    assert not conv.bias.any()


def test_a_relu_network_keeps_the_variance_of_its_input() -> None:
    torch.manual_seed(0)
    network = UNet(u_shape(ndim=2, channels=1, classes=8, width=32, depth=3))
    scores = network(torch.randn(1, 1, 188, 188))
    assert 0.2 < scores.std().item() < 5


def test_dropout_is_at_the_end_of_the_contracting_path() -> None:
    trace = paper(width=2).trace
    dropped = [n for n, layer in enumerate(trace.layers) if layer.op == "dropout"]
    assert [trace.layers[n].share for n in dropped] == [0.5, 0.5]
    # 8 and 16 pixels of the image in one: the fourth level and the bottom
    assert [trace.extents(n)[0].scale for n in dropped] == [8, 16]


def test_an_output_sees_exactly_its_halo() -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=3, depth=2)
    torch.manual_seed(1)
    network = UNet(table.replace(activation="leaky_relu")).double()
    size = table.input_size((4, 4))
    image = torch.randn(1, 1, *size, dtype=torch.double, requires_grad=True)
    network(image)[0, :, 0, 0].sum().backward()
    seen = image.grad[0, 0] != 0
    rows = seen.any(dim=1).nonzero()
    assert rows.min() >= 0
    # the halo and the pixels that share a pooling cell with it, and not the far end
    assert rows.max() <= 2 * table.halo[0] + table.step[0] - 1
    assert rows.max() >= 2 * table.halo[0]


@pytest.mark.parametrize("order", ["up_first", "skip_first"])
def test_concatenation_order(order: str) -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=1, depth=1)
    network = UNet(table.replace(concat=order))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.up_conv[0][0].bias.fill_(7.0)
        first = network.up[0][0]
        first.weight[0, 0] = 1 / 9
        network.up[0][2].weight[0, 0, 1, 1] = 1.0
        network.score.weight[:, 0] = 1.0
        value = network(torch.zeros(1, 1, 18, 18)).unique().tolist()
    assert value == pytest.approx([7.0] if order == "up_first" else [0.0])


def test_shift_by_the_step_commutes_and_by_one_pixel_does_not() -> None:
    torch.manual_seed(2)
    table = u_shape(ndim=2, channels=1, classes=2, width=4, depth=3)
    network = UNet(table).eval()
    size = table.input_size((28, 28))
    image = torch.randn(1, 1, size[0] + 8, size[1])
    with torch.no_grad():
        whole = network(image[:, :, : size[0]])
        by_step = network(image[:, :, 8 : size[0] + 8])
        by_one = network(image[:, :, 1 : size[0] + 1])
    assert (whole[:, :, 8:] - by_step[:, :, :-8]).abs().max() < 1e-5
    assert (whole[:, :, 1:] - by_one[:, :, :-1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 2, 188, 188), "1 channels"),
        ((1, 188, 188), "2 spatial axes"),
        ((1, 1, 190, 188), "188 × 188 and 204 × 188"),
    ],
)
def test_a_wrong_input_is_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UNet(paper(width=1))(torch.zeros(shape))


@pytest.mark.parametrize(("ndim", "depth"), list(product((2, 3), (0, 1, 2))))
def test_declared_and_real_output_sizes_agree(ndim: int, depth: int) -> None:
    table = u_shape(ndim=ndim, channels=1, classes=2, width=1, depth=depth)
    for extra in range(3):
        output = tuple(
            o + extra * s for o, s in zip(table.min_output, table.step, strict=True)
        )
        with torch.device("meta"):
            scores = UNet(table)(torch.empty(1, 1, *table.input_size(output)))
        assert scores.shape[2:] == output


def test_levels_may_have_their_own_kernels() -> None:
    levels = (
        Level(down=(2, 3), up=(4, 2), up_conv=3, kernel=(5, 3), pool=(3, 2)),
        Level(down=(3, 5), kernel=(3, 1), pool=(1, 1)),
    )
    table = Architecture(levels=levels)
    assert table.step == (3, 2)
    output = table.output_covering((10, 10))
    with torch.device("meta"):
        scores = UNet(table)(torch.empty(1, 1, *table.input_size(output)))
    assert scores.shape[2:] == output


def by_the_drawing(module: UNet, image: torch.Tensor) -> torch.Tensor:
    """Fig. 1 of the paper with two poolings, in plain operations."""
    w = dict(module.named_parameters())

    def double(x: torch.Tensor, name: str) -> torch.Tensor:
        for k in (0, 2):
            x = F.conv2d(x, w[f"{name}.{k}.weight"], w[f"{name}.{k}.bias"]).relu()
        return x

    def join(x: torch.Tensor, skip: torch.Tensor, depth: int) -> torch.Tensor:
        name = f"up_conv.{depth}.0"
        x = F.conv_transpose2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=2)
        cut = (skip.shape[-1] - x.shape[-1]) // 2
        return torch.cat((x, skip[..., cut:-cut, cut:-cut]), dim=1)

    first = double(image, "down.0")
    second = double(F.max_pool2d(first, 2), "down.1")
    third = double(F.max_pool2d(second, 2), "down.2")
    x = double(join(third, second, 1), "up.1")
    x = double(join(x, first, 0), "up.0")
    return F.conv2d(x, w["score.weight"], w["score.bias"])


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("channels", [1, 3])
def test_scores_and_gradients_are_those_of_the_drawing(
    channels: int, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    module = UNet(u_shape(ndim=2, channels=channels, classes=2, width=4, depth=2))
    module.layout = layout
    module.to(memory_format=module.layout)  # type: ignore[call-overload]
    image = torch.rand(2, channels, 60, 60)
    found = []
    for network in (module, partial(by_the_drawing, module)):
        module.zero_grad()
        scores = network(image)
        scores.square().mean().backward()
        found.append((scores, [p.grad.clone() for p in module.parameters()]))
    (ours, gradients), (plain, expected) = found
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
    for gradient, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-5)


def test_a_single_volume_is_convolved_as_torch_does() -> None:
    # which takes other ways for it than ours
    torch.manual_seed(0)
    for slices, kernel in product((3, 4, 5, 8), ((3, 3, 3), (1, 3, 3), (1, 1, 1))):
        top = Level(down=(2, 3), up=(4, 2), up_conv=3, kernel=kernel, pool=(2, 2, 2))
        deepest = Level(down=(3, 5), kernel=(3, 3, 3), pool=(1, 1, 1))
        network = UNet(Architecture(levels=(top, deepest), channels=2))
        conv, up = network.down[0][0], network.up_conv[0][0]
        volume = torch.rand(1, 2, slices, 6, 7, requires_grad=True)
        deep = torch.rand(1, 5, slices, 2, 3, requires_grad=True)
        for layer, plain, x, stride in (
            (conv, F.conv3d, volume, (1, 1, 1)),
            (up, F.conv_transpose3d, deep, (2, 2, 2)),
        ):
            found = layer(x)
            expected = plain(x, layer.weight, layer.bias, stride=stride)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
            given = (x, layer.weight, layer.bias)
            weight = torch.rand_like(expected)
            ours, wanted = (
                torch.autograd.grad((y * weight).sum(), given)
                for y in (found, expected)
            )
            torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)
