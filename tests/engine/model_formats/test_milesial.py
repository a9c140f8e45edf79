"""milesial's models against a drawing of its padded network in plain operations."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import torch
from torch.nn import functional as F

from napari_unet.cli.main import main
from napari_unet.core.events import PredictionFinished, TrainingFinished
from napari_unet.core.images.image import Image
from napari_unet.core.settings import Prediction
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.model_formats.catalogue import format_of, read_model
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import prepare, to_tensors
from napari_unet.engine.training.train import train
from napari_unet.io.model_file import load_model, save_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.core.model import Model

DEEPEST = "down2.maxpool_conv.1.double_conv"
FP32 = Prediction(device="cpu", precision="fp32")


def state(
    widths: tuple[int, ...] = (3, 5, 6),
    *,
    channels: int = 1,
    classes: int = 2,
    transposed: bool = True,
    bias: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Random weights of its widths, under its names."""
    torch.manual_seed(seed)
    found: dict[str, Tensor] = {}

    def convolution(name: str, into: int, out: int, size: int = 3) -> None:
        found[f"{name}.weight"] = (
            torch.randn(out, into, size, size) * (2 / (into * size**2)) ** 0.5
        )

    def double(name: str, into: int, middle: int, out: int) -> None:
        for first, a, b in ((0, into, middle), (3, middle, out)):
            convolution(f"{name}.{first}", a, b)
            if bias:
                found[f"{name}.{first}.bias"] = torch.randn(b) * 0.3
            norm = f"{name}.{first + 1}"
            found[f"{norm}.weight"] = torch.rand(b) + 0.5
            found[f"{norm}.bias"] = torch.randn(b) * 0.3
            found[f"{norm}.running_mean"] = torch.randn(b) * 0.3
            found[f"{norm}.running_var"] = torch.rand(b) + 0.5
            found[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    bottom = len(widths) - 1
    less = 1 if transposed else 2
    double("inc.double_conv", channels, widths[0], widths[0])
    for d in range(1, bottom + 1):
        out = widths[d] // less if d == bottom else widths[d]
        double(f"down{d}.maxpool_conv.1.double_conv", widths[d - 1], out, out)
    below = widths[bottom] // less
    for number in range(1, bottom + 1):
        skip = widths[bottom - number]
        if transposed:
            found[f"up{number}.up.weight"] = torch.randn(below, skip, 2, 2) * 0.5
            found[f"up{number}.up.bias"] = torch.randn(skip) * 0.3
        into = skip + (skip if transposed else below)
        middle = skip if transposed else into // 2
        out = skip if transposed or number == bottom else skip // 2
        double(f"up{number}.conv.double_conv", into, middle, out)
        below = out
    convolution("outc.conv", below, classes, 1)
    found["outc.conv.bias"] = torch.randn(classes) * 0.3
    return found


def drawn(weights: dict[str, Any], image: Tensor) -> Tensor:
    """The network: it pads with zeros and sees all of an image."""

    def double(x: Tensor, name: str) -> Tensor:
        for first in (0, 3):
            conv, norm = f"{name}.{first}", f"{name}.{first + 1}"
            x = F.conv2d(
                x, weights[f"{conv}.weight"], weights.get(f"{conv}.bias"), padding=1
            )
            x = F.relu(
                F.batch_norm(
                    x,
                    weights[f"{norm}.running_mean"],
                    weights[f"{norm}.running_var"],
                    weights[f"{norm}.weight"],
                    weights[f"{norm}.bias"],
                    eps=1e-5,
                )
            )
        return x

    maps, depth = [double(image, "inc.double_conv")], 1
    while f"down{depth}.maxpool_conv.1.double_conv.0.weight" in weights:
        name = f"down{depth}.maxpool_conv.1.double_conv"
        maps.append(double(F.max_pool2d(maps[-1], 2), name))
        depth += 1
    x = maps.pop()
    for number in range(1, depth):
        skip, up = maps.pop(), f"up{number}.up"
        if f"{up}.weight" in weights:
            x = F.conv_transpose2d(
                x, weights[f"{up}.weight"], weights[f"{up}.bias"], stride=2
            )
        else:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        rows, columns = (skip.shape[a] - x.shape[a] for a in (2, 3))
        pads = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        x = double(torch.cat((skip, F.pad(x, pads)), 1), f"up{number}.conv.double_conv")
    return F.conv2d(x, weights["outc.conv.weight"], weights["outc.conv.bias"])


def saved(path: Path, weights: dict[str, Any], **options: Any) -> Path:
    torch.save(weights, path, **options)
    return path


def scores(model: Model, window: NDArray[np.float32]) -> Tensor:
    module = LayeredNetwork(model.card.architecture)
    module.load_state_dict(to_tensors(model.weights))
    with torch.no_grad():
        return module.eval()(torch.from_numpy(window))


def predicted(model: Model, image: NDArray[Any], axes: str, **tile: Any) -> Any:
    settings = FP32.replace(**tile)
    last = list(predict(model, Image(image, axes), settings=settings))[-1]
    assert isinstance(last, PredictionFinished)
    return last.probabilities


GREY = np.random.default_rng(0).integers(0, 256, (149, 170), dtype=np.uint8)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bias", [False, True])
def test_the_transposed_network_is_exact_where_it_sees_no_edge(
    tmp_path: Path, bias: bool, seed: int
) -> None:
    weights = state(bias=bias, classes=3, seed=seed)
    model = read_model(saved(tmp_path / "net.pth", weights))
    image = torch.from_numpy(GREY)[None, None] / 255
    expected = torch.softmax(drawn(weights, image), dim=1)[0].numpy()
    found = predicted(model, GREY, "yx")
    assert model.card.architecture.halo == (22, 22)
    # of odd maps the program's poolings leave out a row or column
    inner = (slice(None), *(slice(22, -22 - n % 4) for n in GREY.shape))
    assert np.abs(found - expected)[inner].max() <= 1e-5
    assert np.abs(predicted(model, GREY, "yx", tile=40) - found).max() <= 1e-5


def test_of_four_poolings_too(tmp_path: Path) -> None:
    weights = state((4, 5, 6, 7, 8), channels=3)
    model = read_model(saved(tmp_path / "net.pth", weights))
    assert model.card.architecture.halo == (94, 94)
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (3, 223, 230), dtype=np.uint8)
    seen = drawn(weights, torch.from_numpy(image)[None] / 255)
    inner = (slice(None), slice(94, -94 - 15), slice(94, -94 - 6))
    expected = torch.softmax(seen, dim=1)[0].numpy()[inner]
    found = predicted(model, image, "cyx")[inner]
    assert np.abs(found - expected).max() <= 1e-5
    assert expected.std() > 0.01


@pytest.mark.parametrize("bias", [False, True])
def test_the_interpolating_network_is_exact_in_its_window(
    tmp_path: Path, bias: bool
) -> None:
    weights = state((4, 6, 8), transposed=False, bias=bias)
    model = read_model(saved(tmp_path / "net.pth", weights))
    table = model.card.architecture
    assert (table.padded, table.window) == (True, (512, 512))
    image = np.random.default_rng(0).random((1, 1, 512, 512), np.float32)
    expected = drawn(weights, torch.from_numpy(image))
    assert (scores(model, image) - expected).abs().max() <= 1e-5
    network = prepare(model, "cpu", "fp32")
    probabilities = torch.softmax(expected, dim=1)[0].numpy()
    assert np.abs(network.of_patch(image[0]) - probabilities).max() <= 1e-5


def test_a_single_score_is_the_foreground_by_its_sigmoid(tmp_path: Path) -> None:
    weights = state(classes=1)
    model = read_model(saved(tmp_path / "net.pth", weights))
    assert [(c.name, c.kind) for c in model.card.classes] == [("class 1", "cells")]
    seen = drawn(weights, torch.from_numpy(GREY)[None, None] / 255)
    expected = torch.sigmoid(seen)[0, 0, 22:-25, 22:-25].numpy()
    found = predicted(model, GREY, "yx")[1, 22:-25, 22:-25]
    assert np.abs(found - expected).max() <= 1e-5


def test_values_up_to_1_are_not_divided(tmp_path: Path) -> None:
    model = read_model(saved(tmp_path / "net.pth", state()))
    same = predicted(model, (GREY / np.float32(255)), "yx")
    assert np.abs(predicted(model, GREY, "yx") - same).max() <= 1e-6
    # as in the original program 16 bits are divided by 255, too
    wide = GREY.astype(np.uint16) * 257
    assert np.abs(predicted(model, wide, "yx") - same).max() > 1e-3


@pytest.mark.parametrize(
    ("greys", "names"),
    [
        ([0, 127, 255], ["value 127", "value 255"]),
        ([[0, 0, 0], [255, 0, 0], [0, 0, 9]], ["value [255, 0, 0]", "value [0, 0, 9]"]),
        # of another number of classes than the network has
        ([0, 255], ["class 1", "class 2"]),
        (None, ["class 1", "class 2"]),
    ],
)
def test_classes_are_named_by_their_values_in_masks(
    tmp_path: Path, greys: Any, names: list[str]
) -> None:
    weights = state(classes=3)
    if greys is not None:
        weights["mask_values"] = greys
    card = read_model(saved(tmp_path / "net.pth", weights)).card
    assert [c.name for c in card.classes] == names
    assert {c.kind for c in card.classes} == {"regions"}


def test_what_differs_from_the_program_is_said(tmp_path: Path) -> None:
    card = read_model(saved(tmp_path / "net.pth", state())).card
    notes = " ".join(card.notes)
    assert "unpadded: from 25 pixels off an image's edge on" in notes
    assert "--scale" in notes
    other = state((4, 6, 8), transposed=False)
    card = read_model(saved(tmp_path / "other.pth", other)).card
    assert "padded in windows of 512 pixels" in " ".join(card.notes)


@pytest.mark.parametrize("front", ["", "module.", "net.model."])
@pytest.mark.parametrize("key", ["", "state_dict", "model_state_dict"])
def test_checkpoints_of_other_scripts_are_read(
    tmp_path: Path, front: str, key: str
) -> None:
    weights = state()
    within: dict[str, Any] = {front + name: value for name, value in weights.items()}
    greys = {"mask_values": [0, 7]}
    whole = {key: within, "epoch": 3, **greys} if key else within | greys
    torch.save(whole, tmp_path / "net.pth")
    torch.save(weights | greys, tmp_path / "plain.pth")
    model, plain = (read_model(tmp_path / f"{n}.pth") for n in ("net", "plain"))
    assert model.card.replace(name="plain") == plain.card
    assert [one.name for one in model.card.classes] == ["value 7"]
    for name, values in plain.weights.items():
        np.testing.assert_array_equal(model.weights[name], values)


def test_files_of_before_torch_1_6_are_read(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    saved(path, state(), _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(path)
    assert read_model(path).card.architecture.channels == 1


def test_it_is_kept_in_a_file_of_ours(tmp_path: Path) -> None:
    model = read_model(saved(tmp_path / "net.pth", state(bias=True)))
    save_model(model, tmp_path / "ours.safetensors")
    again = load_model(tmp_path / "ours.safetensors")
    assert again.card.architecture == model.card.architecture
    found = predicted(again, GREY, "yx")
    assert np.array_equal(found, predicted(model, GREY, "yx"))


@pytest.mark.parametrize("transposed", [True, False])
def test_training_goes_on_from_it(
    tmp_path: Path, transposed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_unet.engine.model_formats.milesial._WINDOW", 32)
    weights = state((4, 6, 8), transposed=transposed)
    model = read_model(saved(tmp_path / "net.pth", weights))
    labels = np.zeros((149, 170), np.uint16)
    labels[40:80, 50:90], labels[100:130, 20:60] = 1, 2
    settings = Training(patch=32, steps=2, minutes=0, batch=1, precision="fp32")
    job = train([GREY], [labels], settings, kind="instances", start=model, device="cpu")
    last = list(job)[-1]
    assert isinstance(last, TrainingFinished)
    made = last.model.card
    assert made.architecture == model.card.architecture.replace(classes=2)
    assert made.normalisation == model.card.normalisation


def test_it_is_told_about_and_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / "net.pth", state())
    assert main(["info", str(path)]) == 0
    told = capsys.readouterr().out
    assert "divide by 255 if any is above 1" in told
    assert "--scale" in told
    tifffile.imwrite(tmp_path / "image.tif", GREY)
    command = ["predict", str(path), str(tmp_path / "image.tif"), "--device", "cpu"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 0
    assert "--scale" in capsys.readouterr().err
    assert main(["convert", str(path), str(tmp_path / "ours.safetensors")]) == 0
    assert "a model of milesial/Pytorch-UNet" in capsys.readouterr().out
    assert load_model(tmp_path / "ours.safetensors").card.classes[0].name == "class 1"


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda w: w | {"more": Evil()}, "nothing of it is run"),
        (lambda w: w | {"more.weight": torch.zeros(1)}, "has more.weight, which"),
        (lambda w: {n: t for n, t in w.items() if n != "up1.up.bias"}, "up1.up.bias"),
        (lambda w: w | {"outc.conv.weight": torch.zeros(2, 9, 1, 1)}, "of 2 × 9 × 1 ×"),
        (lambda w: w | {"outc.conv.weight": torch.zeros(())}, "outc.conv"),
        (
            lambda w: w | {"outc.conv.bias": torch.tensor([1, 2])},
            "outc.conv.bias holds int64, not real numbers",
        ),
        (
            lambda w: w | {f"{DEEPEST}.1.running_var": -torch.ones(6)},
            "running_var hold values below 0",
        ),
        (
            lambda w: w | {"outc.conv.bias": torch.tensor([1.0, np.nan])},
            "that are not finite",
        ),
        (
            lambda w: w | {f"{DEEPEST}.3.weight": torch.zeros(1).expand(6, 6, 3, 3)},
            "claim more values than it holds",
        ),
        (
            lambda w: (
                w
                | {
                    f"down{d}.maxpool_conv.1.double_conv.{n}.weight": torch.zeros(
                        1, 1, 3, 3
                    )
                    for d in range(3, 20)
                    for n in (0, 3)
                }
            ),
            "up16",
        ),
        (
            lambda w: w | {"inc.double_conv.0.weight": [1]},
            "no tensor inc.double_conv.0",
        ),
    ],
)
def test_broken_and_hostile_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "net.pth", broken(state()))
    with pytest.raises(ValueError, match=r"net\.pth") as error:
        read_model(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == ["net.pth"]


def test_files_that_are_cut_off_packed_or_changed_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", state())
    whole = path.read_bytes()
    packed = tmp_path / "packed.pth"
    with (
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(ValueError, match="is packed, and such files are not read"):
        read_model(packed)
    for size in (0, 100, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"net\.pth"):
            read_model(path)
    changed = bytearray(whole)
    changed[whole.index(state()["outc.conv.bias"].numpy().tobytes())] ^= 1
    path.write_bytes(changed)
    with pytest.raises(ValueError, match="is damaged, the checksum of"):
        read_model(path)


def test_other_files_of_torch_are_not_taken_for_it(tmp_path: Path) -> None:
    path = saved(tmp_path / "other.pth", {"layer.weight": torch.zeros(3)})
    assert format_of(path) is None
    with pytest.raises(ValueError, match="is no model that is read here"):
        read_model(path)


def test_whatever_is_changed_in_a_file_is_one_sentence(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", state())
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    directory = bytes(whole).index(b"PK\x01\x02")
    rng, said = np.random.default_rng(0), []
    for trial in range(60):
        changed = whole.copy()
        places = rng.integers(directory * (trial % 2), len(whole), 3)
        changed[places] = rng.integers(0, 256, 3)
        path.write_bytes(changed.tobytes())
        try:
            read_model(path)
        except ValueError as error:
            said.append(str(error))
    assert len(said) > 50
    assert all(str(path) in text and "\n" not in text for text in said)
