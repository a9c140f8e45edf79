"""Models of other programs from the command line."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from example_models import random_model
from fiji_pairs import caffe_scores, make_pair
from napari_unet.cli.main import main
from napari_unet.core.network.architecture import u_shape
from napari_unet.engine.model_formats.catalogue import card_of
from napari_unet.io.images import read_image
from napari_unet.io.model_file import load_model, read_card, save_model

if TYPE_CHECKING:
    from pathlib import Path

MINMAX = {"normalization_type": np.int32(1)}


def image_file(folder: Path, shape: tuple[int, ...] = (2, 40, 44)) -> Path:
    data = np.random.default_rng(3).integers(50, 3000, shape).astype(np.uint16)
    path = folder / "image.tif"
    tifffile.imwrite(path, data, metadata={"axes": "ZCYX"[4 - len(shape) :]})
    return path


def test_a_foreign_model_predicts_as_caffe_does(tmp_path: Path) -> None:
    model = make_pair(tmp_path, **MINMAX)
    path = image_file(tmp_path, (3, 2, 40, 44))
    command = ["predict", str(model), str(path), "--output", str(tmp_path / "out")]
    options = ["--save", "probabilities", "--device", "cpu", "--precision", "fp32"]
    assert main([*command, *options]) == 0
    found = read_image(tmp_path / "out" / "probabilities" / "image.tif")
    for z, plane in enumerate(tifffile.imread(path).astype(np.float32)):
        # all channels of a slice as one, and mirrored at the edges
        grey = (plane - plane.min()) / (plane.max() - plane.min())
        window = np.pad(grey, [(0, 0), (5, 5), (5, 5)], mode="reflect")
        scores = caffe_scores(model, window)
        expected = np.exp(scores) / np.exp(scores).sum(axis=0)
        np.testing.assert_allclose(np.asarray(found.data)[z], expected, atol=1e-5)


def test_results_of_a_foreign_model_are_known_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_pair(tmp_path, **MINMAX)
    command = ["predict", str(model), str(image_file(tmp_path)), "--output"]
    assert main([*command, str(tmp_path / "out")]) == 0
    assert main([*command, str(tmp_path / "out")]) == 0
    assert "is there already" in capsys.readouterr().err
    make_pair(tmp_path)
    assert main([*command, str(tmp_path / "out")]) == 1
    assert "model" in capsys.readouterr().err


def test_a_foreign_model_is_told_about_and_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = make_pair(tmp_path), tmp_path / "mine.safetensors"
    assert main(["info", str(model)]) == 0
    told = capsys.readouterr().out
    assert "by another program" in told
    assert "mean 0, sd 1, all channels as one, then subtract 0.5" in told
    assert main(["convert", str(model), str(out)]) == 0
    assert "where it is small net" in capsys.readouterr().out
    card = read_card(out)
    assert card.replace(name="small") == card_of(model)
    assert main(["convert", str(out), str(tmp_path / "other.safetensors")]) == 1
    assert "is a model of this program already" in capsys.readouterr().err
    (tmp_path / "text.safetensors").write_text("mine")
    assert main(["convert", str(model), str(tmp_path / "text.safetensors")]) == 1
    assert (tmp_path / "text.safetensors").read_text() == "mine"


def test_a_model_is_exported_and_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=2, depth=1, norm="batch")
    save_model(random_model(table), tmp_path / "a.safetensors")
    out = tmp_path / "b.modeldef.h5"
    command = ["export-model", str(tmp_path / "a.safetensors"), str(out)]
    assert main([*command, "--format", "fiji"]) == 0
    assert "learnt another rule" in capsys.readouterr().out
    assert main(["info", str(tmp_path / "b.caffemodel.h5")]) == 0
    with pytest.raises(SystemExit):
        main([*command, "--format", "paper"])
    assert "fiji" in capsys.readouterr().err


def test_what_is_no_model_of_the_kind_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_pair(tmp_path)
    weights = model.with_name(model.name.replace("modeldef", "caffemodel"))
    before = model.read_bytes(), weights.read_bytes()
    image = image_file(tmp_path)
    pixels = image.read_bytes()
    for given in (model, weights):
        for out in (model, weights):
            command = ["export-model", str(given), str(out), "--format", "fiji"]
            assert main(command) == 1
            assert "what is read" in capsys.readouterr().err
    assert (model.read_bytes(), weights.read_bytes()) == before
    assert main(["export-model", str(model), str(image), "--format", "torchscript"])
    assert "ends in .pt." in capsys.readouterr().err
    assert image.read_bytes() == pixels


def test_what_is_of_no_format_is_told_the_same_by_all_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, out = str(image_file(tmp_path)), str(tmp_path / "out")
    (tmp_path / "empty").mkdir()
    given_ones = [image, str(tmp_path / "empty")]
    if hasattr(os, "mkfifo"):
        # nobody will ever write to it
        os.mkfifo(tmp_path / "pipe.pth")
        given_ones.append(str(tmp_path / "pipe.pth"))
    for given in given_ones:
        for command in (
            ["info", given],
            ["convert", given, f"{out}.safetensors"],
            ["predict", given, image, "--output", out],
            ["export-model", given, f"{out}.pt", "--format", "torchscript"],
        ):
            assert main(command) == 1
            assert "is no model that is read here" in capsys.readouterr().err


def test_a_model_of_any_name_is_read_but_not_written_as_that_of_another_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, mine = make_pair(tmp_path), tmp_path / "mine"
    assert main(["convert", str(model), str(mine)]) == 0
    for name in ("mine.h5", "mine.pt", "mine.onnx", "mine.zip", "mine.pth"):
        assert main(["convert", str(model), str(tmp_path / name)]) == 1
        assert "which export-model writes" in capsys.readouterr().err
        assert not (tmp_path / name).exists()
        (tmp_path / name).write_bytes(mine.read_bytes())
        assert main(["info", str(tmp_path / name)]) == 0


def test_training_goes_on_by_the_recipe_of_the_plugin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_pair(tmp_path, element_size_um=np.array([1.0, 1.0]), **MINMAX)
    image = image_file(tmp_path, (2, 60, 60))
    labels = np.zeros((60, 60), np.uint8)
    labels[10:20, 10:20], labels[22:30, 10:20], labels[40:50, 35:48] = 1, 2, 3
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    out = tmp_path / "mine.safetensors"
    command = ["train", str(image), str(tmp_path / "labels.tif"), "--axes", "cyx"]
    options = ["--init", str(model), "--output", str(out), "--steps", "2"]
    small = ["--patch", "20", "--validation", "none", "--labels", "instances"]
    assert main([*command, *options, *small, "--device", "cpu"]) in (0, 1)
    assert "as the Fiji plugin does it" in capsys.readouterr().err
    card, before = read_card(out), card_of(model)
    training = card.training
    assert card.parent == "small"
    assert card.normalisation == before.normalisation
    assert (training.preset, training.steps, training.batch) == ("fiji", 2, 1)
    assert (training.optimiser, training.weight_decay) == ("adamw", 0)
    assert training.learning_rate == 1e-4
    assert training.border == before.training.border
    assert main([*command, *options, *small, "--preset", "quick"]) in (0, 1)
    assert "the Fiji plugin" not in capsys.readouterr().err
    assert read_card(out).training.border.scheme == "paper"
    assert load_model(out).card.architecture.levels == before.architecture.levels
