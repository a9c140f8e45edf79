from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from engine.model_formats.opaque_models import Filter, opaque_model, script_of
from example_models import cropping_model, random_model
from napari_unet.core.model import Model
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.network.blended import in_windows
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.network.choice import Choice
from napari_unet.core.network.unetr import Unetr
from napari_unet.engine.model_formats.plain_form import (
    SameSize,
    check_exportable,
    own_weights,
    plain_network,
    plain_weights,
)
from napari_unet.engine.network.network import prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.core.network.geometry import Layered

# UNETR sees windows of one size.
UNPADDED = [name for name in NETWORKS if name != "unetr"]


def table_of(name: str, ndim: int, depth: int = 2) -> Layered:
    entry = NETWORKS[name]
    choice = Choice(
        ndim=ndim,
        channels=2,
        classes=3,
        width=4,
        depth=entry.fixed.get("depth", depth),
        norm="batch",
        dropout=0.5,
    )  # type: ignore[call-arg]
    return entry.build(choice)


def right(sizes: SameSize, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Leave the border out."""
    return values[(..., *(slice(b, -b or None) for b in sizes.border))]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", UNPADDED)
def test_each_network_has_a_plain_form_of_the_same_size(name: str, ndim: int) -> None:
    if ndim not in NETWORKS[name].ndims:
        pytest.skip("there is none for volumes")
    table = table_of(name, ndim, depth=2 if ndim == 2 else 1)
    model = random_model(table)  # type: ignore[arg-type]
    sizes = SameSize.of(table)
    size = sizes.covering(2)
    assert all(n % s == 0 for n, s in zip(size, sizes.step, strict=True))
    image = np.random.default_rng(0).normal(size=(2, *size)).astype(np.float32)
    with torch.inference_mode():
        made = plain_network(model)(torch.from_numpy(image[None]))[0].numpy()
    assert made.shape == (3, *size)
    # reflected where the plain one repeats its last pixels: it must not matter
    more = [(0, 0), *sizes.fill]
    own = prepare(model, "cpu", "fp32").of_patch(np.pad(image, more, mode="reflect"))
    inner = tuple(
        slice(b - lost + f, b - lost + f + n - 2 * b)
        for n, b, lost, (f, _) in zip(
            size, sizes.border, sizes.lost, sizes.fill, strict=True
        )
    )
    np.testing.assert_allclose(right(sizes, made), own[(..., *inner)], atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", UNPADDED)
def test_each_padded_network_has_a_plain_form_of_its_window(
    name: str, ndim: int, norm: str
) -> None:
    if ndim not in NETWORKS[name].ndims:
        pytest.skip("there is none for volumes")
    table = table_of(name, ndim, depth=2 if ndim == 2 else 1)
    if hasattr(table, "norm"):
        table = table.replace(norm=norm)
    # a norm of one pixel is none
    table = in_windows(table, (64 if name == "fcn8" else 16,) * ndim)
    model = random_model(table)  # type: ignore[arg-type]
    size = SameSize.of(table).smallest
    image = np.random.default_rng(0).normal(size=(2, *size)).astype(np.float32)
    with torch.inference_mode():
        made = plain_network(model)(torch.from_numpy(image[None]))[0].numpy()
    own = prepare(model, "cpu", "fp32").of_patch(image)
    np.testing.assert_allclose(made, own, atol=2e-5)


def test_the_border_is_no_larger_than_it_must_be() -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=2, depth=3)
    sizes = SameSize.of(table)
    fill = ((4, 0), (4, 0))
    assert sizes == SameSize((8, 8), fill, (44, 44), (48, 48), (104, 104))
    assert sizes.covering(9) == (112, 112)
    smaller = SameSize.of(u_shape(ndim=2, channels=1, classes=2, width=2, depth=2))
    assert smaller == SameSize((4, 4), ((0, 0),) * 2, (20, 20), (20, 20), (44, 44))


def test_several_networks_give_their_mean() -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=2, depth=1)
    members = [random_model(table, seed) for seed in (1, 2)]
    weights = {
        f"{k}/{name}": weight
        for k, member in enumerate(members)
        for name, weight in member.weights.items()
    }
    model = Model(members[0].card.replace(members=2), weights)
    image = torch.randn(1, 1, 20, 20)
    with torch.inference_mode():
        one, two = (plain_network(member)(image) for member in members)
        both = plain_network(model)(image)
    torch.testing.assert_close(both, (one + two) / 2)
    again = own_weights(plain_weights(model), model.card)
    assert again.keys() == weights.keys()
    assert all((again[name] == weights[name]).all() for name in weights)


def test_an_image_comes_out_on_its_scale() -> None:
    model = cropping_model(2, image=True)
    training = model.card.training.with_task("regress")
    assert model.card.outputs is not None
    outputs = model.card.outputs.replace(mean=(3.0, -1.0), sd=(2.0, 0.5))
    card = model.card.replace(outputs=outputs, training=training)
    image = np.random.default_rng(0).normal(size=(1, 2, 44, 44)).astype(np.float32)
    with torch.inference_mode():
        made = plain_network(Model(card, model.weights))(torch.from_numpy(image))
    expected = image * np.reshape([2, 0.5], (1, 2, 1, 1)) + np.reshape(
        [3, -1], (1, 2, 1, 1)
    )
    inner = (..., slice(20, -20), slice(20, -20))
    np.testing.assert_allclose(made.numpy()[inner], expected[inner], atol=1e-5)


def test_what_other_programs_could_not_do_is_refused() -> None:
    seen = u_shape(ndim=2, channels=1, classes=2, width=2, depth=1).replace(
        norm="instance", window=(16, 16)
    )
    with pytest.raises(ValueError, match="sees windows of one size and gives less"):
        check_exportable(random_model(seen).card)
    transformer = Unetr(
        window=(32, 32), width=2, token_width=8, hidden_width=8, heads=2, blocks=4
    )
    card = random_model(seen).card.replace(architecture=transformer)
    with pytest.raises(ValueError, match="has layers of transformers"):
        check_exportable(card)
    with pytest.raises(ValueError, match="on the scale of each image"):
        check_exportable(cropping_model(2, image=True).card)
    foreign = opaque_model(
        script_of(Filter(padded=True)), smallest=(8, 8), growth=(4, 4), border=(2, 2)
    )
    with pytest.raises(ValueError, match="it is of another program"):
        check_exportable(foreign.card)


def test_weights_of_another_network_are_refused() -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=2, depth=1)
    other = random_model(table.replace(channels=2))
    with pytest.raises(ValueError, match="are not those of the network"):
        plain_network(Model(random_model(table).card, other.weights))
