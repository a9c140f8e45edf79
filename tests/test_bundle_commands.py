"""Bundles on the command line: what comes out is what comes of the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import team_runs
from example_models import random_model
from napari_unet.cli.main import main
from napari_unet.core.network.architecture import u_shape
from napari_unet.io.images import read_image
from napari_unet.io.model_file import load_model, save_model

SMALL = [
    "--steps",
    "3",
    "--width",
    "4",
    "--depth",
    "1",
    "--patch",
    "36",
    "--batch",
    "1",
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    images, labels = team_runs.data((56, 56))
    for number, (image, known) in enumerate(zip(images, labels, strict=True)):
        stack = np.stack([image, image + 50])
        strokes = np.stack([known, 0 * known])
        tifffile.imwrite(
            tmp_path / f"image-{number}.tif", stack, metadata={"axes": "ZYX"}
        )
        tifffile.imwrite(
            tmp_path / f"label-{number}.tif", strokes, metadata={"axes": "ZYX"}
        )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_bundle_trains_the_model_of_its_files(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["image-*.tif", "label-*.tif", "--labels", "sparse", *SMALL]
    given += ["--validation", "none"]
    assert main(["bundle", *given, "--output", "b.zip"]) == 0
    # of each stack the slice with annotation alone
    assert "b.zip: 3 planes of 3 images" in capsys.readouterr().err
    assert main(["train", *given, "--output", "f.safetensors"]) == 0
    for file in Path().glob("*.tif"):
        file.unlink()
    assert main(["train", "b.zip", "--output", "b.safetensors"]) == 0
    bundled, files = (load_model(Path(f"{n}.safetensors")) for n in "bf")
    assert bundled.card.images == files.card.images
    for name, weight in files.weights.items():
        np.testing.assert_array_equal(bundled.weights[name], weight)
    assert main(["replay", "b.run", "--output", "again"]) == 1
    assert "it learnt from a bundle" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--width", "8"],
        ["--preset", "paper"],
        ["--border-scheme", "fiji"],
        ["label-*.tif"],
    ],
)
def test_what_a_bundle_has_itself_cannot_be_given(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["image-*.tif", "label-*.tif", "--labels", "sparse", *SMALL]
    assert main(["bundle", *given, "--output", "b.zip"]) == 0
    capsys.readouterr()
    assert main(["train", "b.zip", *options, "--output", "b.safetensors"]) == 1
    assert "a bundle has its own images, labels and settings" in capsys.readouterr().err
    assert main(["predict", "b.zip", "--output", "out"]) == 1
    assert "is for a training" in capsys.readouterr().err


def test_a_bundle_predicts_what_its_files_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=4, depth=1)
    save_model(random_model(table), Path("m.safetensors"))
    assert main(["predict", "m.safetensors", "image-*.tif", "--output", "here"]) == 0
    bundle = ["bundle", "image-*.tif", "--model", "m.safetensors", "--output", "b.zip"]
    assert main(bundle) == 0
    for file in (*Path().glob("image-*.tif"), Path("m.safetensors")):
        file.unlink()
    assert main(["predict", "b.zip", "--output", "there"]) == 0
    for kind in ("probabilities", "classes", "instances"):
        names = sorted(f.name for f in (Path("here") / kind).iterdir())
        assert names == sorted(f.name for f in (Path("there") / kind).iterdir())
        assert len(names) == 3
        for name in names:
            one, other = (read_image(Path(at, kind, name)) for at in ("here", "there"))
            np.testing.assert_array_equal(one.read(), other.read())
    # once more, all of it is there
    times = {file: file.stat().st_mtime_ns for file in Path("there").rglob("*.tif")}
    assert main(["predict", "b.zip", "--output", "there"]) == 0
    assert times == {file: file.stat().st_mtime_ns for file in times}
    capsys.readouterr()
    assert main(["train", "b.zip", "--output", "b.safetensors"]) == 1
    assert "is for a prediction" in capsys.readouterr().err


def test_a_bundle_has_grey_for_a_model_of_colours() -> None:
    table = u_shape(ndim=2, channels=3, classes=2, width=4, depth=1)
    save_model(random_model(table), Path("m.safetensors"))
    grey = np.stack([tifffile.imread("image-0.tif")[0]] * 3, axis=-1)
    tifffile.imwrite("grey.tif", grey, photometric="rgb")
    assert main(["predict", "m.safetensors", "grey.tif", "--output", "here"]) == 0
    bundle = ["bundle", "grey.tif", "--model", "m.safetensors", "--output", "b.zip"]
    assert main(bundle) == 0
    assert main(["predict", "b.zip", "--output", "there"]) == 0
    one, other = (
        read_image(Path(at, "probabilities", "grey.tif")) for at in ("here", "there")
    )
    np.testing.assert_array_equal(one.read(), other.read())
