"""From the command line: pieces of regions, sizes of images, and what is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
import tifffile

from napari_unet.cli.main import main
from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.io.model_file import load_model, read_card, save_model

if TYPE_CHECKING:
    from pathlib import Path

SMALL = ("--width", "2", "--depth", "1", "--batch", "2", "--patch", "30")
CPU = ("--device", "cpu", "--precision", "fp32")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of wide cells, and a model that has seen them shrunk."""
    folder = tmp_path_factory.mktemp("data")
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    y, x = np.mgrid[:140, :280]
    for seed in range(2):
        rng = np.random.default_rng(seed)
        labels = np.zeros(y.shape, np.uint16)
        labels[(y - 70) ** 2 + (x - 70) ** 2 < 2500] = 1
        labels[(y - 70) ** 2 + (x - 210) ** 2 < 2000] = 2
        pixels = (labels > 0) + rng.normal(0, 0.1, labels.shape)
        name = f"{seed}.tif"
        tifffile.imwrite(folder / "images" / name, pixels.astype(np.float32))
        tifffile.imwrite(folder / "labels" / name, labels)
    assert train(folder, "shrunk", "--scale", "0.5", "--steps", "150") == 0
    return folder


def train(folder: Path, name: str, *options: str) -> int:
    command = ["train", str(folder / "images"), str(folder / "labels")]
    command += [
        "--labels",
        "instances",
        "--output",
        str(folder / f"{name}.safetensors"),
    ]
    return main([*command, *SMALL, *CPU, *options])


def test_images_are_seen_at_another_size_and_results_have_their_own(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, image = data / "shrunk.safetensors", data / "images" / "0.tif"
    command = ["predict", str(model), str(image), *CPU, "--save", "classes,instances"]
    assert main([*command, "--output", str(tmp_path)]) == 0
    (file,) = (tmp_path / "classes").iterdir()
    found = tifffile.imread(file)
    assert found.shape == (140, 280)
    truth = tifffile.imread(data / "labels" / "0.tif") > 0
    assert (found == truth).mean() > 0.9
    assert main(["info", str(model)]) == 0
    assert "0.5 of its own" in capsys.readouterr().out
    # goes on with the size it began with
    capsys.readouterr()
    steps = ("--steps", "2", "--init", str(model))
    assert train(data, "on", *steps, "--scale", "1") == 1
    assert "its scale is 0.5" in capsys.readouterr().err
    assert train(data, "on", *steps) == 0
    assert read_card(data / "on.safetensors").training.scale == 0.5


def test_pieces_of_regions_that_are_not_to_be_kept_are_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_model(data / "shrunk.safetensors")
    tissue = (ClassInfo(name="tissue", kind="regions"),)
    kept = model.card.segmentation.replace(largest_only=(1,))
    card = model.card.replace(classes=tissue, segmentation=kept)
    path = tmp_path / "tissue.safetensors"
    save_model(type(model)(card, model.weights), path)
    image = str(data / "images" / "0.tif")
    command = ["predict", str(path), image, *CPU, "--save", "classes", "--output"]

    def right(name: str, *options: str) -> bool:
        """Whether the smaller of both is there."""
        assert main([*command, str(tmp_path / name), *options]) == 0
        (file,) = (tmp_path / name / "classes").iterdir()
        found = tifffile.imread(file)
        assert found[70, 70] == 1
        return bool(found[70, 210])

    assert not right("as the model has it")
    assert right("all", "--largest-only", "none")
    assert not right("large", "--largest-only", "none", "--smallest-piece", "7000")
    assert not right("named", "--largest-only", "tissue")
    capsys.readouterr()
    assert main([*command, str(tmp_path / "no"), "--largest-only", "lumen"]) == 1
    told = capsys.readouterr().err
    assert "has no class of regions lumen; it has tissue." in told


@pytest.mark.parametrize(
    ("kind", "option", "told"),
    [
        ("cells", ("--smallest-piece", "500"), "500 is for classes of regions"),
        ("regions", ("--cells-by", "multicut"), "multicut is for classes of cells"),
        ("regions", ("--threshold", "0.7"), "threshold 0.7 is for classes of cells"),
        ("regions", ("--no-fill-holes",), "--no-fill-holes is for classes of cells"),
        ("regions", ("--track",), "--track is for classes of cells, and a has"),
    ],
)
def test_what_a_model_has_no_classes_for_is_refused(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: Literal["cells", "regions"],
    option: tuple[str, ...],
    told: str,
) -> None:
    model = load_model(data / "shrunk.safetensors")
    card = model.card.replace(classes=(ClassInfo(name="tissue", kind=kind),))
    save_model(type(model)(card, model.weights), tmp_path / "a.safetensors")
    command = ["predict", str(tmp_path / "a.safetensors")]
    command += [str(data / "images" / "0.tif"), "--output", str(tmp_path / "out")]
    assert main([*command, *CPU, *option]) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_why_one_was_kept_of_what_was_tried_is_said(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ("--preset", "auto", "--try-both", "--steps", "8")
    assert train(data, "tried", *both) == 0
    told = capsys.readouterr().err
    assert "scale 0.42 in place of 1 (as they are): Cells are 9" in told
    assert "slices of 0.42 times the size " in told
    assert main(["info", str(data / "tried.safetensors")]) == 0
    assert " are kept by " in capsys.readouterr().out
    assert train(data, "no", "--try-both", "--steps", "8") == 1
    assert "what is tried is chosen by the preset auto" in capsys.readouterr().err


def test_classes_of_regions_are_learnt_from_masks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    y, x = np.mgrid[:60, :60]
    labels = ((y - 30) ** 2 + (x - 30) ** 2 < 400).astype(np.uint8)
    labels[(y - 30) ** 2 + (x - 30) ** 2 < 40] = 2
    for kind, values in (("images", labels.astype(np.float32)), ("labels", labels)):
        (tmp_path / kind).mkdir()
        tifffile.imwrite(tmp_path / kind / "0.tif", values)
    images, masks = str(tmp_path / "images"), str(tmp_path / "labels")
    command = ["train", images, masks, "--labels", "semantic", "--steps", "2"]
    command += [*SMALL, *CPU]

    def kinds(name: str, regions: str) -> list[str]:
        path = tmp_path / f"{name}.safetensors"
        assert main([*command, "--regions", regions, "--output", str(path)]) == 0
        return [c.kind for c in read_card(path).classes]

    assert kinds("one", "1") == ["regions", "cells"]
    assert kinds("all", "all") == ["regions", "regions"]
    for wrong, told in (("3", "classes 1 to 2, found 3"), ("a", "takes all, or num")):
        path = tmp_path / "no.safetensors"
        assert main([*command, "--regions", wrong, "--output", str(path)]) == 1
        assert told in capsys.readouterr().err
        assert not path.exists()
