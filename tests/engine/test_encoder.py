"""ImageNet's weights in a network; the files are made here, with the published keys."""

from __future__ import annotations

import pickle
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_unet.core.events import PredictionFinished, TrainingFinished
from napari_unet.core.images.image import Image
from napari_unet.core.network.architecture import paper
from napari_unet.core.network.fcn import FCN8
from napari_unet.core.network.vgg import convolutions, ternaus
from napari_unet.core.settings import Prediction
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.network.encoder import (
    encoder_note,
    keep_encoder,
    learning_groups,
    read_encoder,
    take_encoder,
)
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.training.train import train
from napari_unet.io import encoder_weights
from napari_unet.io.encoder_weights import PUBLISHED, encoder_folder, kept_file
from napari_unet.io.model_file import load_model, save_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from napari_unet.core.model import Model
    from napari_unet.core.network.geometry import Layered
    from napari_unet.core.network.vgg import Encoder


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def vgg(encoder: Encoder) -> dict[str, Tensor]:
    """Weights of a VGG's names and shapes; its classifier is smaller."""
    torch.manual_seed(0)
    weights = {}
    for conv in convolutions(encoder):
        shape = conv.width, conv.channels, 3, 3
        weights[f"{conv.feature}.weight"] = torch.randn(shape) / conv.channels
        weights[f"{conv.feature}.bias"] = torch.randn(conv.width)
    return weights | {"classifier.0.weight": torch.randn(5, 7)}


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put a file where people put it by hand; its hash is the published one."""

    def put(content: object, encoder: Encoder = "vgg11", **how: bool) -> Path:
        file = encoder_folder() / PUBLISHED[encoder].file
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, file, **how)
        found = sha256(file.read_bytes()).hexdigest()[:8]
        published = dict(encoder_weights.PUBLISHED)
        published[encoder] = replace(published[encoder], sha256=found)
        monkeypatch.setattr(encoder_weights, "PUBLISHED", published)
        return file

    return put


@pytest.mark.parametrize("zipped", [True, False])
def test_the_convolutions_of_a_published_file_are_read(
    zipped: bool, put: Callable[..., Path]
) -> None:
    # torch has written zip files since 1.6 only
    made = vgg("vgg11")
    file = put(made, _use_new_zipfile_serialization=zipped)
    found = read_encoder("vgg11", file)
    assert found.keys() == {name for name in made if name.startswith("features.")}
    assert sum(weight.numel() for weight in found.values()) == 9_220_480
    assert all(torch.equal(weight, made[name]) for name, weight in found.items())


def test_only_the_convolutions_are_kept(put: Callable[..., Path]) -> None:
    made = vgg("vgg11")
    kept = keep_encoder("vgg11", put(made))
    assert kept == kept_file("vgg11")
    assert kept.stat().st_size < 4 * 9_220_480 + 10_000
    found = read_encoder("vgg11", kept)
    assert all(torch.equal(weight, made[name]) for name, weight in found.items())


class Evil:
    """Runs code where it is unpickled without care."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit",)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_file_is_run(zipped: bool, put: Callable[..., Path]) -> None:
    content = {**vgg("vgg11"), "features.0.bias": Evil()}
    file = put(content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="cannot be read"):
        read_encoder("vgg11", file)


@pytest.mark.parametrize("content", [[1, 2], {"features.0.weight": 3}, "text"])
def test_what_holds_no_weights_is_refused(
    content: object, put: Callable[..., Path]
) -> None:
    with pytest.raises(ValueError, match=r"features\.0\.weight is missing"):
        read_encoder("vgg11", put(content))


@pytest.mark.parametrize(
    "content", [b"", b"no pickle", pickle.dumps(3, protocol=2)[:-1]]
)
def test_a_broken_file_is_refused(
    content: bytes, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put({})
    file.write_bytes(content)
    source = encoder_weights.PUBLISHED["vgg11"]
    hashed = replace(source, sha256=sha256(content).hexdigest()[:8])
    monkeypatch.setattr(encoder_weights, "PUBLISHED", {"vgg11": hashed})
    with pytest.raises(ValueError, match=f"{file.name}: cannot be read"):
        read_encoder("vgg11", file)


def test_a_file_of_another_hash_is_refused(put: Callable[..., Path]) -> None:
    file = put(vgg("vgg11"))
    with file.open("ab") as opened:
        opened.write(b"x")
    with pytest.raises(ValueError, match="as published, or not all of it"):
        read_encoder("vgg11", file)


@pytest.mark.parametrize("wrong", ["shape", "nan"])
def test_wrong_weights_are_refused(wrong: str, put: Callable[..., Path]) -> None:
    made = vgg("vgg11")
    bias = made["features.18.bias"]
    made["features.18.bias"] = bias[:-1] if wrong == "shape" else bias * float("nan")
    with pytest.raises(ValueError, match=r"features\.18\.bias .* 512 finite numbers"):
        read_encoder("vgg11", put(made))


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_the_contracting_path_begins_with_the_weights(
    depth: int, put: Callable[..., Path]
) -> None:
    made = vgg("vgg11")
    put(made)
    table = ternaus(depth=depth)
    torch.manual_seed(1)
    module = LayeredNetwork(table)
    before = {name: w.clone() for name, w in module.state_dict().items()}
    take_encoder(module)
    after = module.state_dict()
    taken = set()
    for conv in convolutions("vgg11", depth):
        for part in ("weight", "bias"):
            taken.add(f"{conv.name}.{part}")
            assert torch.equal(
                after[f"{conv.name}.{part}"], made[f"{conv.feature}.{part}"]
            )
    changed = {n for n in after if not torch.equal(before[n], after[n])}
    # the scores begin at 0: their bias does so anyway
    assert changed == taken | {"score.weight"}
    assert not after["score.weight"].any()


def test_an_fcn_takes_all_of_vgg16(put: Callable[..., Path]) -> None:
    made = vgg("vgg16")
    put(made, "vgg16")
    module = LayeredNetwork(FCN8(channels=3, head=8))
    take_encoder(module)
    last = module.get_submodule("down.4.4")
    assert torch.equal(last.weight, made["features.28.weight"])
    assert not any(
        layer.weight.any() for layer in module.get_submodule("score").values()
    )


def test_a_grey_image_is_seen_as_an_rgb_image_of_this_grey(
    put: Callable[..., Path],
) -> None:
    put(vgg("vgg11"))
    found = []
    image = torch.randn(1, 1, 24, 24)
    for channels in (1, 3):
        torch.manual_seed(2)
        module = LayeredNetwork(ternaus(channels=channels, depth=1))
        take_encoder(module)
        found.append(
            module.get_submodule("down.0.0")(image.expand(-1, channels, -1, -1))
        )
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_without_a_file_there_are_no_random_weights() -> None:
    with pytest.raises(FileNotFoundError, match="not on this computer"):
        take_encoder(LayeredNetwork(ternaus(depth=1)))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (paper(), "choose the network ternaus or fcn8"),
        (ternaus(width=32), "choose the network ternaus or fcn8"),
        (ternaus(channels=2), "1 or 3 channels, these have 2"),
    ],
)
def test_what_has_no_weights_is_told(table: Layered, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encoder_note(table)


def test_the_note_names_the_encoder() -> None:
    assert encoder_note(ternaus()) == "encoder: VGG11 ImageNet"
    assert encoder_note(ternaus("vgg16", channels=1)) == "encoder: VGG16 ImageNet"
    assert encoder_note(FCN8(channels=3)) == "encoder: VGG16 ImageNet"


def test_what_is_learnt_already_changes_more_slowly() -> None:
    module = LayeredNetwork(ternaus(depth=2))
    slow, full = learning_groups(module, pretrained=True)
    names = {id(p): n for n, p in module.named_parameters()}
    path = [
        f"{conv.name}.{part}"
        for conv in convolutions("vgg11", 2)
        for part in ("weight", "bias")
    ]
    assert [names[id(p)] for p in slow["params"]] == path
    # a checkpoint numbers them in this order
    assert [*slow["params"], *full["params"]] == list(module.parameters())
    assert 0 < slow["share"] < full["share"] == 1
    (only,) = learning_groups(module, pretrained=False)
    assert (only["params"], only["share"]) == (list(module.parameters()), 1)


SETTINGS = Training(
    network="ternaus",
    encoder="imagenet",
    depth=1,
    batch=1,
    patch=8,
    steps=2,
    minutes=0,
    validation=0,
    averaging=0,
    precision="fp32",
)


def trained(settings: Training = SETTINGS, channels: int = 1, **options: Any) -> Model:
    rng = np.random.default_rng(0)
    labels = np.zeros((24, 24), np.uint8)
    labels[4:12, 4:12] = 1
    axes = "yx" if channels == 1 else "yxc"
    pixels = rng.normal(size=(24, 24, channels)).astype(np.float32).squeeze()
    image = Image.from_array(pixels, axes, name="a")
    *_, last = train(
        [image], [labels], settings, kind="instances", device="cpu", **options
    )
    assert isinstance(last, TrainingFinished)
    return last.model


@pytest.mark.parametrize("channels", [1, 3])
def test_a_training_begins_with_the_encoder_and_its_model_says_so(
    channels: int, put: Callable[..., Path]
) -> None:
    made = vgg("vgg11")
    put(made)
    settings = SETTINGS.replace(learning_rate=1e-7, steps=1)
    model = trained(settings, channels)
    table = model.card.architecture
    assert (table.channels, table.levels[0].down) == (channels, (64,))
    assert model.card.notes[-1] == "encoder: VGG11 ImageNet"
    expected = made["features.0.weight"].numpy()
    if channels == 1:
        expected = expected.sum(axis=1, keepdims=True)
    found = model.weights["down.0.0.weight"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_training_without_the_weights_does_not_begin() -> None:
    with pytest.raises(FileNotFoundError, match="not on this computer"):
        trained()


@pytest.mark.parametrize(
    ("changes", "channels", "message"),
    [
        ({"network": "unet"}, 1, "no ImageNet weights for U-Net"),
        ({}, 4, "1 or 3 channels, these have 4"),
    ],
)
def test_a_training_that_can_have_no_encoder_does_not_begin(
    changes: dict[str, object], channels: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trained(SETTINGS.replace(**changes), channels)


def test_what_goes_on_needs_the_weights_no_more(
    put: Callable[..., Path], tmp_path: Path
) -> None:
    file = put(vgg("vgg11"))
    checkpoint = tmp_path / "a.checkpoint.safetensors"
    first = trained(checkpoint=checkpoint)
    file.unlink()
    resumed = trained(SETTINGS.replace(steps=4), resume=checkpoint)
    assert resumed.card.steps == 4
    started = trained(start=first)
    random = trained(SETTINGS.replace(encoder="none", width=64, norm="none"))
    for model, note in ((resumed, True), (started, True), (random, False)):
        assert ("encoder: VGG11 ImageNet" in model.card.notes) is note


def test_a_model_of_an_encoder_goes_on_with_other_channels(
    put: Callable[..., Path],
) -> None:
    put(vgg("vgg11"))
    first = trained()
    more = trained(SETTINGS.replace(encoder="none"), channels=4, start=first)
    assert more.card.architecture.channels == 4
    assert more.card.notes[-1] == "encoder: VGG11 ImageNet"


def test_a_resumed_training_is_that_which_never_stopped(
    put: Callable[..., Path], tmp_path: Path
) -> None:
    put(vgg("vgg11"))
    checkpoint = tmp_path / "a.checkpoint.safetensors"
    settings = SETTINGS.replace(schedule="constant")
    trained(settings, checkpoint=checkpoint)
    whole = trained(settings.replace(steps=4))
    resumed = trained(settings.replace(steps=4), resume=checkpoint)
    for name, weight in whole.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], weight)


@pytest.mark.parametrize("network", ["ternaus", "fcn8"])
def test_a_model_file_predicts_as_the_model(network: str, tmp_path: Path) -> None:
    settings = SETTINGS.replace(
        network=network, encoder="none", width=2, dropout=0.5, steps=1
    )
    model = trained(settings)
    save_model(model, tmp_path / "a.safetensors")
    loaded = load_model(tmp_path / "a.safetensors")
    assert loaded.card.architecture == model.card.architecture
    image = np.random.default_rng(1).normal(size=(50, 40)).astype(np.float32)
    found = []
    for one in (model, loaded):
        *_, last = predict(one, image, settings=Prediction(device="cpu"))
        assert isinstance(last, PredictionFinished)
        found.append(last.probabilities)
    np.testing.assert_array_equal(*found)
