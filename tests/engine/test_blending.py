from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from example_architectures import ODD
from napari_unet.core.events import PredictionFinished
from napari_unet.core.geometry.tiles import read_window
from napari_unet.core.images.image import Image
from napari_unet.core.images.image_outputs import ImageOutputs
from napari_unet.core.images.normalisation import measure
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.network.blended import Blended, geometry_of
from napari_unet.core.network.unetr import Unetr
from napari_unet.core.settings import Prediction
from napari_unet.engine.inference import tile_run
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.inference.tile_run import choose_tile
from napari_unet.engine.network.blending import blend
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.network.geometry import Layered

FP32 = Prediction(device="cpu", precision="fp32")
PADDED = u_shape(ndim=2, channels=1, classes=3, width=3, depth=2, norm="batch").replace(
    padded=True, window=(24, 24)
)
NETWORKS: dict[str, Layered] = {
    "padded": PADDED,
    "instance norm": u_shape(
        ndim=2, channels=1, classes=2, width=2, depth=1, norm="instance"
    ).replace(window=(20, 20)),
    "odd output": ODD.replace(window=(12, 12)),
    "transformer": Unetr(
        window=(32, 32), width=2, token_width=8, hidden_width=8, heads=2, blocks=4
    ),
    "volumes": u_shape(
        ndim=3, channels=1, classes=2, width=2, depth=1, norm="instance"
    ).replace(padded=True, window=(8, 16, 16)),
}


def image(ndim: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(70, 90) if ndim == 2 else (7, 26, 30)).astype(np.float32)


def network(table: Layered) -> Network:
    """Return a network with random weights and biases."""
    torch.manual_seed(0)
    module = LayeredNetwork(table).eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)
    return Network(module, torch.device("cpu"), "fp32", None, "structure")


def run(
    table: Layered, pixels: NDArray[np.float32], **options: Any
) -> PredictionFinished:
    options = {"settings": FP32, **options}
    axes = "cyx" if table.ndim == 2 else "czyx"
    last = list(predict(network(table), pixels, axes=axes, **options))[-1]
    assert isinstance(last, PredictionFinished)
    return last


def probabilities(
    table: Layered, pixels: NDArray[np.float32], **options: Any
) -> NDArray[np.float32]:
    found: NDArray[np.float32] = run(table, pixels, **options).probabilities
    return found


def by_the_rule(table: Layered, pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sum of w p over sum of w, window after window over all of the image."""
    picture = Image.from_array(pixels)
    field = next(picture.fields(table.ndim))
    scale = measure(picture, 0, "structure")
    seeing = network(table)
    sides = table.window or ()
    bells = [
        np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 8)) ** 2) for n in sides
    ]
    weight = bells[0]
    for bell in bells[1:]:
        weight = weight[..., None] * bell
    pad = list(sides)
    size = [n + 2 * p for n, p in zip(field.shape, pad, strict=True)]
    above = np.zeros((table.classes, *size))
    below = np.zeros(above.shape[1:])
    run_output = table.output_covering(sides)
    for start in product(
        *(range(-(t // 2), n, t // 2) for n, t in zip(field.shape, sides, strict=True))
    ):
        first = [s - h for s, h in zip(start, table.halo, strict=True)]
        window = scale.apply(read_window(field, first, table.input_size(run_output)))
        at = tuple(
            slice(s + p, s + p + t) for s, p, t in zip(start, pad, sides, strict=True)
        )
        seen = seeing.of_patch(window)[(slice(None), *(slice(0, t) for t in sides))]
        above[(slice(None), *at)] += weight * seen
        below[at] += weight
    inner = tuple(slice(p, p + n) for p, n in zip(pad, field.shape, strict=True))
    return above[(slice(None), *inner)] / below[inner]


@pytest.mark.parametrize("table", NETWORKS.values(), ids=list(NETWORKS))
def test_windows_are_blended_as_the_rule_says(table: Layered) -> None:
    pixels = image(table.ndim)
    found = probabilities(table, pixels)
    np.testing.assert_allclose(found, by_the_rule(table, pixels), atol=1e-5)
    assert found.std() > 0.01


@pytest.mark.parametrize("table", NETWORKS.values(), ids=list(NETWORKS))
def test_no_plan_of_tiles_changes_a_bit(table: Layered) -> None:
    pixels = image(table.ndim)
    whole = probabilities(table, pixels)
    for tile in (4, 25) if table.ndim == 2 else (20,):
        settings = FP32.replace(tile=tile)
        np.testing.assert_array_equal(
            probabilities(table, pixels, settings=settings), whole
        )
    box: Box = tuple(slice(n // 3, n - 5) for n in pixels.shape)
    if table.ndim == 3:
        box = (slice(2, 6), *box[1:])
    part = probabilities(table, pixels, region=box, focus=(3.0,) * table.ndim)
    at = (slice(None), *box)
    np.testing.assert_array_equal(part[at], whole[at])


@pytest.mark.parametrize("name", ["padded", "transformer"])
def test_turned_views_are_averaged_in_each_window(name: str) -> None:
    table, settings = NETWORKS[name], FP32.replace(averaging="dihedral")
    pixels = image(table.ndim)[..., :30, :34]
    found = probabilities(table, pixels, settings=settings)
    other = probabilities(table, pixels, settings=settings.replace(tile=9))
    np.testing.assert_array_equal(found, other)
    assert np.abs(found - probabilities(table, pixels)).max() > 1e-4


def test_another_window_is_another_result() -> None:
    pixels = image(2)
    one = probabilities(PADDED, pixels)
    other = probabilities(PADDED.replace(window=(32, 32)), pixels)
    assert np.abs(one - other).max() > 1e-3


def test_an_unpadded_network_that_sees_no_window_is_only_averaged() -> None:
    plain = PADDED.replace(padded=False, window=None)
    fixed = plain.replace(window=(16, 16))
    pixels = image(2)
    expected = probabilities(plain, pixels)
    found = probabilities(fixed, pixels)
    assert isinstance(geometry_of(fixed), Blended)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_full_memory_makes_tiles_smaller_and_never_the_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = image(2)
    expected = probabilities(PADDED, pixels)
    zeros, seen = torch.zeros, set()

    def limited(size: tuple[int, ...], **options: object) -> torch.Tensor:
        if isinstance(size, tuple) and size[-1] > 40:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return zeros(size, **options)

    forward = LayeredNetwork.forward

    def watched(self: LayeredNetwork, window: torch.Tensor) -> torch.Tensor:
        seen.add(tuple(window.shape[2:]))
        return forward(self, window)

    monkeypatch.setattr(torch, "zeros", limited)
    monkeypatch.setattr(LayeredNetwork, "forward", watched)
    found = run(PADDED, pixels)
    assert max(found.output) <= 40
    assert seen == {(24, 24)}
    np.testing.assert_array_equal(found.probabilities, expected)


@pytest.mark.parametrize("memory_gb", [0.0, 1e-6])
def test_a_window_that_does_not_fit_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, memory_gb: float
) -> None:
    seeing = network(PADDED)
    need = 4 * seeing.geometry.peak_values((12, 12))
    monkeypatch.setattr(tile_run, "free_memory", lambda _: need)
    # what may be taken bounds tiles, not the window
    assert choose_tile(seeing, (50, 50), memory_gb=memory_gb) == (12, 12)
    monkeypatch.setattr(tile_run, "free_memory", lambda _: need - 1)
    with pytest.raises(MemoryError, match=r"at least 24 × 24 pixels at a time, which"):
        choose_tile(seeing, (50, 50), tile=500)


def test_a_network_of_a_large_halo_names_the_input_that_it_would_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = u_shape(ndim=3, channels=1, classes=2, width=2, depth=2)
    seeing = network(table)
    monkeypatch.setattr(tile_run, "free_memory", lambda _: 1000)
    # 44 -> 4 voxels
    with pytest.raises(
        MemoryError, match=r"at least 44 × 44 × 44 pixels .* on cpu: fr"
    ):
        choose_tile(seeing, (50, 50, 50))


def test_a_patch_is_seen_once_as_in_training() -> None:
    seeing = network(PADDED)
    patch = image(2)[None, :24, :24].copy()
    with torch.no_grad():
        scores = seeing.module(torch.from_numpy(patch)[None]).softmax(dim=1)[0]
    np.testing.assert_allclose(seeing.of_patch(patch), scores.numpy(), atol=1e-6)


@pytest.mark.parametrize("side", [24, 48, 112])
def test_what_every_window_is_sure_of_stays_a_probability(side: int) -> None:
    table = PADDED.replace(window=(side, side))
    geometry = geometry_of(table)
    assert isinstance(geometry, Blended)
    size = geometry.input_size(geometry.output_covering((2 * side, 2 * side)))

    def sure(window: torch.Tensor) -> torch.Tensor:
        return torch.ones((1, geometry.classes, *window.shape[2:]))

    blended = blend(geometry, torch.zeros((1, 1, *size)), sure)
    assert blended.max() <= 1
    assert blended.min() > 1 - 1e-6


def test_an_image_that_is_made_is_as_bright_as_each_window_says() -> None:
    seeing = network(PADDED)
    score = seeing.module.get_submodule("score")
    with torch.no_grad():
        score.weight.zero_()
        score.bias.fill_(3.0)
    making = replace(seeing, outputs=ImageOutputs(mean=(0.0,) * 3, sd=(1.0,) * 3))
    size = making.geometry.input_size(making.geometry.output_covering((40, 40)))
    found = making.probabilities(np.zeros((1, *size), np.float32))
    np.testing.assert_allclose(found, 3.0, atol=1e-6)
