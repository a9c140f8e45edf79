from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from example_models import cropping_model, random_model
from napari_unet.core.model import Model
from napari_unet.core.network.architecture import u_shape
from napari_unet.engine.device import choose_precision, dtype
from napari_unet.engine.network.layered import LAYOUT
from napari_unet.engine.network.network import (
    frozen_copy,
    prepare,
    to_arrays,
    to_tensors,
)
from napari_unet.engine.network.unet import UNet

TABLE = u_shape(ndim=2, channels=2, classes=3, width=4, depth=1)
MODEL = random_model(TABLE)


def window(rng: np.random.Generator, ndim: int = 2, channels: int = 2) -> np.ndarray:
    return rng.normal(size=(channels, *(22,) * ndim)).astype(np.float32)


def module_of(model: Model) -> UNet:
    module = UNet(model.card.architecture)
    module.load_state_dict(to_tensors(model.weights))
    return module.eval()


@pytest.mark.parametrize("norm", ["none", "batch", "instance"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_probabilities_are_the_softmax_of_the_networks_scores(
    ndim: int, norm: str, rng: np.random.Generator
) -> None:
    model = random_model(
        TABLE
        if ndim == 2 and norm == "none"
        else u_shape(ndim=ndim, channels=2, classes=3, width=2, depth=1, norm=norm)  # type: ignore[arg-type]
    )
    pixels = window(rng, ndim)
    with torch.no_grad():
        scores = module_of(model)(torch.from_numpy(pixels)[None])[0].numpy()
    expected = np.exp(scores) / np.exp(scores).sum(axis=0)
    network = prepare(model, "cpu", "fp32")
    # with statistics over it, a single window is that of a patch
    see = network.of_patch if norm == "instance" else network.probabilities
    found = see(pixels)
    assert found.dtype == np.float32
    assert found.shape == (3, *(6,) * ndim)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_cropping_network_gives_the_middle_of_its_window(
    rng: np.random.Generator,
) -> None:
    pixels = window(rng)
    found = prepare(cropping_model(depth=1), "cpu", "fp32").probabilities(pixels)
    middle = np.exp(pixels[:, 8:14, 8:14])
    np.testing.assert_allclose(found, middle / middle.sum(axis=0), atol=1e-5)


def test_averaging_is_the_mean_over_the_eight_views(rng: np.random.Generator) -> None:
    network = prepare(MODEL, "cpu", "fp32")
    pixels = window(rng)
    views = []
    for turns in range(4):
        turned = np.rot90(pixels, turns, (1, 2)).copy()
        found = network.probabilities(turned)
        views.append(np.rot90(found, -turns, (1, 2)))
        found = network.probabilities(turned[:, :, ::-1].copy())
        views.append(np.rot90(found[:, :, ::-1], -turns, (1, 2)))
    mean = network.probabilities(pixels, averaging="dihedral")
    np.testing.assert_allclose(mean, np.mean(views, axis=0), atol=1e-5)
    assert np.abs(mean - views[0]).max() > 1e-3


def test_averaging_takes_windows_that_are_not_square(rng: np.random.Generator) -> None:
    network = prepare(MODEL, "cpu", "fp32")
    pixels = rng.normal(size=(2, 22, 30)).astype(np.float32)
    mean = network.probabilities(pixels, averaging="dihedral")
    assert mean.shape == (3, 6, 14)
    np.testing.assert_allclose(mean.sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("ndim", [2, 3])
def test_16_bits_keep_the_last_layer_exact_and_the_result_near(
    ndim: int, rng: np.random.Generator
) -> None:
    table = u_shape(ndim=ndim, channels=2, classes=3, width=4, depth=1)
    model = random_model(table)
    network = prepare(model, "cpu", "bf16")
    kinds = {n: t.dtype for n, t in network.module.state_dict().items()}
    assert {k for n, k in kinds.items() if n.startswith("score")} == {torch.float32}
    assert {k for n, k in kinds.items() if "score" not in n} == {torch.bfloat16}
    pixels = window(rng, ndim)
    found = network.probabilities(pixels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    exact = prepare(model, "cpu", "fp32").probabilities(pixels)
    assert 0 < np.abs(found - exact).max() < 0.05


def test_a_prepared_network_knows_where_and_how_it_computes() -> None:
    network = prepare(MODEL, "cpu", "bf16")
    assert (network.device, network.precision) == (torch.device("cpu"), "bf16")
    assert not network.module.training
    assert network.module.architecture == TABLE


def test_a_network_is_its_own_and_the_model_stays(rng: np.random.Generator) -> None:
    copies = {name: w.copy() for name, w in MODEL.weights.items()}
    network = prepare(MODEL, "cpu", "fp32")
    with torch.no_grad():
        for parameter in network.module.parameters():
            parameter.zero_()
    for name, weight in copies.items():
        np.testing.assert_array_equal(MODEL.weights[name], weight)


def test_a_frozen_copy_predicts_with_other_weights_and_leaves_the_training_alone(
    rng: np.random.Generator,
) -> None:
    module = UNet(TABLE).train()
    weights = to_tensors(MODEL.weights)
    network = frozen_copy(MODEL.card, weights, "fp32")
    pixels = window(rng)
    expected = prepare(MODEL, "cpu", "fp32").probabilities(pixels)
    np.testing.assert_array_equal(network.probabilities(pixels), expected)
    # neither what the training does next ...
    with torch.no_grad():
        for tensor in (*module.parameters(), *weights.values()):
            tensor.add_(1)
    np.testing.assert_array_equal(network.probabilities(pixels), expected)
    # ... nor the other way round
    assert module.training
    assert all(
        p.requires_grad and p.dtype == torch.float32 for p in module.parameters()
    )


def test_a_frozen_copy_drops_nothing(rng: np.random.Generator) -> None:
    table = u_shape(ndim=2, channels=2, classes=3, width=4, depth=1, dropout=(2, 0.5))
    module = UNet(table).train()
    card = random_model(table).card
    network = frozen_copy(card, module.state_dict(), "fp32")
    pixels = window(rng)
    first, second = network.probabilities(pixels), network.probabilities(pixels)
    np.testing.assert_array_equal(first, second)


def test_arrays_and_tensors_are_copies_of_each_other() -> None:
    module = UNet(
        u_shape(ndim=2, channels=1, classes=2, width=2, depth=1, norm="batch")
    )
    module.to(memory_format=module.layout)  # type: ignore[call-overload]
    arrays = to_arrays(module.state_dict())
    tensors = to_tensors(arrays)
    state = {name: t.clone() for name, t in module.state_dict().items()}
    assert arrays.keys() == tensors.keys() == state.keys()
    with torch.no_grad():
        for parameter in (*module.parameters(), *module.buffers()):
            parameter.add_(1)
    for name, before in state.items():
        np.testing.assert_array_equal(arrays[name], before)
        assert arrays[name].flags.c_contiguous
        arrays[name][...] = 7
        assert torch.equal(tensors[name], before)
        assert tensors[name].dtype == before.dtype


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="needs oneDNN")
@pytest.mark.parametrize("precision", ["fp32", "auto"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    ("ndim", "layout"),
    [(2, LAYOUT[2]), (3, LAYOUT[3]), (2, torch.contiguous_format)],
)
def test_features_and_gradients_lie_as_is_fast(
    ndim: int, layout: torch.memory_format, batch: int, precision: str
) -> None:
    # 16 bits are emulated by some processors, in a layout of their own
    low = dtype(choose_precision(torch.device("cpu"), precision))
    module = UNet(u_shape(ndim=ndim, channels=1, classes=2, width=4, depth=1))
    module.layout = layout
    module.to(memory_format=layout)  # type: ignore[call-overload]
    seen: list[bool] = []

    def look(tensor: torch.Tensor) -> None:
        seen.append(tensor.is_contiguous(memory_format=layout))

    def watch(_layer: torch.nn.Module, _given: object, got: torch.Tensor) -> None:
        look(got)
        got.register_hook(look)

    for layer in module.modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Conv3d)):
            layer.register_forward_hook(watch)
    with torch.autocast("cpu", low, enabled=low != torch.float32):
        scores = module(torch.rand(batch, 1, *(24,) * ndim))
    scores.square().sum().backward()
    assert len(seen) == 2 * 7
    assert all(seen)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (1, 22, 22),
            r"takes \(batch, 2 channels, 2 spatial axes\), found .*1, 22, 22",
        ),
        ((2, 5, 22, 22), "2 spatial axes"),
        ((2, 23, 22), "cannot take the input size 23 × 22"),
    ],
)
def test_windows_of_other_channels_or_sizes_are_refused(
    shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(MODEL, "cpu", "fp32").probabilities(np.zeros(shape, np.float32))


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_weights_of_another_network_are_refused_in_one_sentence(change: str) -> None:
    weights = dict(MODEL.weights)
    if change == "missing":
        del weights["score.bias"]
    elif change == "unknown":
        weights["more"] = np.zeros(3, np.float32)
    else:
        weights["score.bias"] = np.zeros(9, np.float32)
    damaged = Model(MODEL.card.replace(name="nuclei"), weights)
    with pytest.raises(ValueError, match=r"nuclei: the model's weights are not those"):
        prepare(damaged, "cpu", "fp32")


def test_a_device_or_precision_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(ValueError, match="device must be"):
        prepare(MODEL, "tpu")
    with pytest.raises(ValueError, match="fp16 is for GPUs"):
        prepare(MODEL, "cpu", "fp16")


def test_preparing_a_network_does_not_load_the_compiler() -> None:
    # which takes seconds, at every start
    code = (
        "import sys\n"
        "from example_models import cropping_model\n"
        "from napari_unet.engine.network.network import prepare\n"
        "prepare(cropping_model(), 'cpu', 'fp32')\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    paths = os.pathsep.join(sys.path)
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, env={**os.environ, "PYTHONPATH": paths}).returncode == 0
