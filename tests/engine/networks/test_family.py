"""What holds for every network of the family, whoever adds one."""

from __future__ import annotations

from contextlib import closing
from itertools import product
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from every_network import (
    built,
    calm_model,
    catalogue,
    computed,
    mixes_classes,
    of_classes,
    window,
)
from napari_unet.core.events import PredictionFinished, StepDone, TrainingFinished
from napari_unet.core.images.image import Image
from napari_unet.core.settings import Prediction
from napari_unet.core.training.training_settings import Augmentation, Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import prepare, to_arrays, to_tensors
from napari_unet.engine.network.transfer import take_over
from napari_unet.engine.training.train import train
from napari_unet.io import samples
from napari_unet.io.model_file import load_model, save_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.core.model import Model
    from napari_unet.core.network.geometry import Layered

CATALOGUE, BUILT = catalogue(), built()
COLOUR = {f"{name}-rgb": table for name, table in catalogue(channels=3).items()}
SHALLOW = catalogue(deep=False)
COMPUTED = SHALLOW | {f"built {name}": table for name, table in computed().items()}
FP32 = Prediction(precision="fp32", device="cpu")
SHAPES, TILES = {2: (45, 70), 3: (7, 26, 15)}, {2: (12, 33), 3: (6, 16)}
UNCHANGED = Augmentation(
    elastic=0,
    rotation=0,
    mirror=False,
    scale=1,
    brightness=0,
    contrast=1,
    gamma=1,
    noise=0,
    blur=0,
)


def each(tables: dict[str, Layered]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("table", tables.values(), ids=tables)


def picture(table: Layered, seed: int = 7) -> Image:
    rng = np.random.default_rng(seed)
    shape = (table.channels, *SHAPES[table.ndim])
    return Image(rng.random(shape, np.float32), "c" + "zyx"[3 - table.ndim :])


def probabilities(model: Model, image: Any, **options: Any) -> NDArray[np.float32]:
    options.setdefault("settings", FP32)
    *_, last = predict(model, image, **options)
    assert isinstance(last, PredictionFinished)
    found: NDArray[np.float32] = last.probabilities
    return found


def module_of(model: Model) -> LayeredNetwork:
    module = LayeredNetwork(model.card.architecture)
    module.load_state_dict(to_tensors(model.weights))
    return module.eval()


def test_builders_are_found_whatever_they_say_they_take() -> None:
    found = {name.rpartition("-")[0] for name in BUILT}
    assert {"paper", "resenc", "residual_unet", "ternaus", "unet3d"} <= found


@each(BUILT | CATALOGUE | COLOUR)
def test_all_maps_have_the_sizes_of_the_trace(
    table: Layered, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute, seen = LayeredNetwork._compute, {}

    def watched(self: LayeredNetwork, number: int, *maps: Tensor) -> Tensor:
        found = compute(self, number, *maps)
        seen[number] = tuple(found.shape)
        return found

    monkeypatch.setattr(LayeredNetwork, "_compute", watched)
    least = table.output_covering(table.window or table.min_output)
    more = (
        n + k * s for k, (n, s) in enumerate(zip(least, table.step, strict=True), 1)
    )
    for output in (least, least if table.window else tuple(more)):
        with torch.device("meta"):
            module = LayeredNetwork(table)
            scores = module(torch.empty(2, table.channels, *table.input_size(output)))
            supervised = module.supervised(
                torch.empty(2, table.channels, *table.input_size(output))
            )
        assert scores.shape == supervised[0].shape == (2, table.classes, *output)
        for number, layer in enumerate(table.trace.layers[1:], 1):
            size = table.trace.size(number, output)
            assert seen[number] == (2, layer.width, *size), layer


@each(COMPUTED)
def test_results_depend_neither_on_tiles_nor_on_blocks(table: Layered) -> None:
    model, image = calm_model(table), picture(table)
    # what sees a window of fixed size computes the same windows for any tile: one does
    free = prepare(model, "cpu").geometry is table
    atol = 1e-5 if free else 0
    whole = probabilities(model, image)
    assert whole.std() > 1e-2
    for tile in TILES[table.ndim][: None if free else 1]:
        found = probabilities(model, image, settings=FP32.replace(tile=tile))
        np.testing.assert_allclose(found, whole, rtol=0, atol=atol)
    shape = SHAPES[table.ndim]
    halves = [(slice(0, n // 3), slice(n // 3, n)) for n in shape]
    if not free:
        # each block has all the windows that reach into it: two blocks have enough
        halves[:-1] = [(slice(0, n),) for n in shape[:-1]]
    out = np.full_like(whole, np.nan)
    for region in product(*halves):
        probabilities(model, image, region=region, out=out)
    np.testing.assert_allclose(out, whole, rtol=0, atol=atol)


@each(COMPUTED)
def test_every_network_computes_in_16_bits(table: Layered) -> None:
    model = calm_model(table)
    rng = np.random.default_rng(7)
    # one window: a processor without such numbers takes minutes for a volume
    noise = rng.random((table.channels, *window(table)), np.float32)
    exact, rough = (
        prepare(model, "cpu", precision).of_patch(noise)
        for precision in ("fp32", "bf16")
    )
    assert exact.std() > 1e-2
    assert 0 < np.abs(rough - exact).mean() < 0.05


@each(COMPUTED)
def test_folded_norms_change_nothing(table: Layered) -> None:
    model = calm_model(table)
    module = module_of(model)
    noise = torch.randn(
        1, table.channels, *window(table), generator=torch.manual_seed(1)
    )
    with torch.inference_mode():
        expected = module(noise)
        before = sum(
            isinstance(m, nn.modules.batchnorm._BatchNorm) for m in module.modules()
        )
        module.fold_norms()
        found = module(noise)
        after = sum(
            isinstance(m, nn.modules.batchnorm._BatchNorm) for m in module.modules()
        )
    assert after < before or not before
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@each(SHALLOW)
def test_a_model_file_predicts_what_the_model_predicts(
    table: Layered, tmp_path: Path
) -> None:
    model, image = calm_model(table), picture(table)
    save_model(model, tmp_path / "a.safetensors")
    loaded = load_model(tmp_path / "a.safetensors")
    assert loaded.card.architecture == table
    assert type(loaded.card.architecture) is type(table)
    np.testing.assert_array_equal(
        probabilities(loaded, image), probabilities(model, image)
    )


@each(SHALLOW)
def test_a_network_goes_on_from_a_model_of_other_channels_and_classes(
    table: Layered,
) -> None:
    model = calm_model(table)
    module = LayeredNetwork(table.replace(channels=3, classes=4)).eval()
    take_over(module, model, ["new", "class 1", "newer"])
    noise = torch.randn(1, 1, *window(table), generator=torch.manual_seed(2))
    with torch.inference_mode():
        expected = module_of(model)(noise)
        # three channels of the same are what the one was
        found = module(noise.repeat(1, 3, *(1,) * table.ndim))
    assert expected.std() > 0.1
    assert found.std() > 0.1
    if not mixes_classes(table):
        torch.testing.assert_close(found[:, [0, 2]], expected, rtol=1e-4, atol=1e-4)
    changed = {*of_classes(table), *module.first_weights}
    for name, weight in to_arrays(module.state_dict()).items():
        if name not in changed:
            np.testing.assert_array_equal(weight, model.weights[name])


@each(catalogue(width=8, deep=False))
def test_a_network_learns_one_image_by_heart(table: Layered) -> None:
    image, labels = sample(table.ndim)
    settings = Training(
        ndim=table.ndim,  # type: ignore[arg-type]
        steps=600,
        minutes=0,
        batch=1,
        patch=48 if table.ndim == 2 else 16,
        validation=0,
        schedule="constant",
        learning_rate=1.5e-2,
        precision="fp32",
        augmentation=UNCHANGED,
    )
    events = train([image], [labels], settings, kind="binary", start=calm_model(table))
    losses: list[float] = []
    with closing(events):
        for event in events:
            if isinstance(event, StepDone):
                losses.append(event.loss)
            # a network that knows nothing loses log 2
            if losses and np.mean(losses[-5:]) < max(losses[0], log(2)) / 10:
                break
            # no longer than most need
            assert not isinstance(event, TrainingFinished), losses[::20]


def sample(ndim: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A few nuclei, as a plane or as a volume of planes alike."""
    image, labels = next(iter(samples.nuclei()))
    planes = [
        np.asarray(part.data).squeeze()[100:164, 100:164] for part in (image, labels)
    ]
    grey, mask = planes[0].astype(np.float32), (planes[1] > 0).astype(np.uint8)
    if ndim == 3:
        return tuple(np.stack([part[8:40, 8:40]] * 16) for part in (grey, mask))
    return grey, mask
