from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from example_models import random_model
from napari_unet.core.model import Model
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.network.choice import Choice
from napari_unet.core.network.fcn import FCN8
from napari_unet.core.network.residual_unet import residual_unet
from napari_unet.core.network.vnet import vnet
from napari_unet.core.network.zhang import zhang
from napari_unet.engine.network.network import to_arrays
from napari_unet.engine.network.transfer import take_over
from napari_unet.engine.network.unet import UNet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_unet.core.network.architecture import Architecture

TABLE = u_shape(ndim=2, channels=2, classes=3, width=3, depth=1)
# background, "class 1", "class 2"
MODEL = random_model(TABLE)
FIRST, SCORE = "down.0.0.weight", ("score.weight", "score.bias")


def started(
    table: Architecture, model: Model, classes: Sequence[str]
) -> tuple[dict[str, np.ndarray], UNet]:
    """A network before and after it took over a model."""
    torch.manual_seed(100)
    module = UNet(table)
    before = to_arrays(module.state_dict())
    take_over(module, model, classes)
    return before, module


def test_a_model_of_the_same_classes_and_channels_is_taken_over_whole() -> None:
    _, module = started(TABLE, MODEL, ["class 1", "class 2"])
    after = to_arrays(module.state_dict())
    assert after.keys() == MODEL.weights.keys()
    for name, weight in MODEL.weights.items():
        np.testing.assert_array_equal(after[name], weight)


def test_what_is_learnt_later_does_not_change_the_model() -> None:
    copies = {name: w.copy() for name, w in MODEL.weights.items()}
    _, module = started(TABLE, MODEL, ["class 1", "class 2"])
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1)
    for name, weight in copies.items():
        np.testing.assert_array_equal(MODEL.weights[name], weight)


@pytest.mark.parametrize(
    ("classes", "sources"),
    [
        (["class 2", "class 1"], [0, 2, 1]),
        (["class 2"], [0, 2]),
        (["nucleus", "class 1", "class 2", "debris"], [0, None, 1, 2, None]),
        (["nucleus"], [0, None]),
        (["nucleus", "debris"], [0, None, None]),
    ],
)
def test_classes_are_found_by_name_and_new_ones_start_at_random(
    classes: list[str], sources: list[int | None]
) -> None:
    before, module = started(TABLE.replace(classes=len(sources)), MODEL, classes)
    after = to_arrays(module.state_dict())
    for name in SCORE:
        for row, source in enumerate(sources):
            expected = (
                before[name][row] if source is None else MODEL.weights[name][source]
            )
            np.testing.assert_array_equal(after[name][row], expected)
    for name in after.keys() - set(SCORE):
        np.testing.assert_array_equal(after[name], MODEL.weights[name])


def test_a_single_class_is_taken_over_under_whatever_name() -> None:
    table = TABLE.replace(classes=2)
    model = random_model(table)
    _, module = started(table, model, ["nuclei"])
    after = to_arrays(module.state_dict())
    for name in SCORE:
        np.testing.assert_array_equal(after[name], model.weights[name])


def test_where_more_layers_know_the_classes_they_start_at_random() -> None:
    table = residual_unet(Choice(ndim=2, classes=3, width=2, depth=1))
    weights = to_arrays(UNet(table).state_dict())
    model = Model(MODEL.card.model_copy(update={"architecture": table}), weights)
    _, module = started(table, model, ["class 1", "class 2"])
    for name, weight in to_arrays(module.state_dict()).items():
        np.testing.assert_array_equal(weight, weights[name])
    for classes in (["class 2", "class 1"], ["class 1"]):
        other = table.replace(classes=len(classes) + 1)
        before, module = started(other, model, classes)
        for name, weight in to_arrays(module.state_dict()).items():
            at_random = name.startswith(("up_conv.0.0", "up_conv.0.1", "score."))
            expected = before if at_random and weight.ndim else weights
            np.testing.assert_array_equal(weight, expected[name])


def test_the_scores_of_all_depths_are_matched_by_name() -> None:
    table = FCN8(classes=3, width=1, head=2)
    model = random_model(table)
    before, module = started(table.replace(classes=4), model, ["class 2", "a", "b"])
    for name, weight in to_arrays(module.state_dict()).items():
        expected = model.weights[name]
        if name.startswith("score."):
            assert len(weight) == 4
            expected = np.concatenate((expected[[0, 2]], before[name][2:]))
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize("build", [vnet, zhang])
def test_all_that_read_the_image_take_other_channels(
    build: Callable[[Choice], Architecture],
) -> None:
    table = build(Choice(ndim=2, channels=2, width=2, depth=1))
    model = random_model(table)
    _, module = started(table.replace(channels=3), model, ["class 1"])
    assert module.first_weights
    for name, weight in to_arrays(module.state_dict()).items():
        if name in module.first_weights:
            assert weight.shape[1] == 3
        else:
            np.testing.assert_array_equal(weight, model.weights[name])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("ndim", [2, 3])
def test_another_number_of_channels_answers_a_grey_image_alike(
    channels: int, ndim: int, rng: np.random.Generator
) -> None:
    table = u_shape(ndim=ndim, channels=2, classes=3, width=3, depth=1)
    model = random_model(table)
    _, old = started(table, model, ["class 1", "class 2"])
    _, new = started(table.replace(channels=channels), model, ["class 1", "class 2"])
    grey = torch.from_numpy(rng.random((1, 1, *(20,) * ndim), np.float32))
    repeat = (1, 1) + (1,) * ndim
    with torch.no_grad():
        expected = old(grey.repeat(1, 2, *repeat[2:]))
        found = new(grey.repeat(1, channels, *repeat[2:]))
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_each_new_channel_has_the_scaled_mean_of_the_old_ones() -> None:
    _, module = started(TABLE.replace(channels=3), MODEL, ["class 1", "class 2"])
    old, new = MODEL.weights[FIRST], to_arrays(module.state_dict())[FIRST]
    assert new.shape == (3, 3, 3, 3)
    expected = (old[:, 0] + old[:, 1]) / 2 * (2 / 3)  # type: ignore[operator]
    for channel in range(3):
        np.testing.assert_allclose(new[:, channel], expected, rtol=1e-5)


def test_counters_of_batch_norm_are_taken_over() -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=2, depth=1, norm="batch")
    model = random_model(table)
    weights = dict(model.weights)
    counter = next(n for n in weights if n.endswith("num_batches_tracked"))
    weights[counter] = np.array(41)
    _, module = started(table, Model(model.card, weights), ["class 1"])
    assert int(module.state_dict()[counter]) == 41
