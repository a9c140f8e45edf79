"""Commands never replace what they did not make."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
import zarr
from safetensors.numpy import save_file

from example_models import random_model
from napari_unet.cli.demo import check_folder, choose_images
from napari_unet.cli.main import main
from napari_unet.core.network.architecture import u_shape
from napari_unet.io.atomic import atomic
from napari_unet.io.export import write_labels
from napari_unet.io.images import read_image
from napari_unet.io.model_file import check_replaceable, read_card, save_model
from napari_unet.io.pretrained import model_path
from napari_unet.io.provenance import read_provenance

if TYPE_CHECKING:
    from pathlib import Path

CELLS = np.zeros((48, 48), np.uint16)
CELLS[5:15, 5:15], CELLS[20:30, 20:30], CELLS[35:45, 5:15] = 1, 2, 3
SMALL = [
    "--steps",
    "2",
    "--width",
    "4",
    "--depth",
    "2",
    "--patch",
    "32",
    "--batch",
    "1",
    "--validation",
    "none",
]


def things(folder: Path) -> list[Path]:
    """Write files as people have them."""
    tifffile.imwrite(folder / "image.tif", CELLS * 99)
    tifffile.imwrite(folder / "float.tif", CELLS.astype(np.float32))
    (folder / "notes.txt").write_text("mine")
    (folder / "labels.json").write_text("{}")
    save_file({"a": np.zeros(3, np.float32)}, folder / "other.safetensors")
    (folder / "folder").mkdir()
    return sorted(folder.iterdir())


def test_training_replaces_models_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", CELLS * 99)
    tifffile.imwrite(tmp_path / "in" / "a_mask.tif", CELLS)
    (tmp_path / "there").mkdir()
    pair = [str(tmp_path / "in" / name) for name in ("a.tif", "a_mask.tif")]
    for file in things(tmp_path / "there"):
        before = file.read_bytes() if file.is_file() else b""
        assert main(["train", *pair, "--output", str(file), *SMALL]) == 1
        assert f"{file}: is there already and is no" in capsys.readouterr().err
        assert before == (file.read_bytes() if file.is_file() else b"")
    model = tmp_path / "m.safetensors"
    other = tmp_path / "m.checkpoint.safetensors"  # where one of this model will be
    save_file({"a": np.zeros(3, np.float32)}, other)
    assert main(["train", *pair, "--output", str(model), *SMALL]) == 1
    assert f"{other}: is there already and is no model" in capsys.readouterr().err
    other.unlink()
    model.touch()  # nothing to lose
    for steps in (2, 3):
        command = ["train", *pair, "--output", str(model), *SMALL]
        command[command.index("--steps") + 1] = str(steps)
        assert main(command) == 0
        assert read_card(model).steps == steps


def test_training_refuses_images_for_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", CELLS)
    output = tmp_path / "m.safetensors"
    command = ["train", str(tmp_path), str(tmp_path), "--output", str(output)]
    assert main(command) == 1
    assert "a.tif: is named as image and as labels" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".zarr"])
def test_weights_replace_weights_only(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.tif"
    tifffile.imwrite(labels, CELLS)
    mine = tmp_path / f"mine{suffix}"
    write_labels(mine, CELLS, "yx")  # of no command: perhaps annotation
    command = ["weights", str(labels), "--output"]
    assert main([*command, str(mine)]) == 1
    assert "does not tell that napari-unet made it" in capsys.readouterr().err
    np.testing.assert_array_equal(read_image(mine).data[...], CELLS)
    if suffix == ".zarr":
        zarr.create_group(tmp_path / "group.zarr")
        assert main([*command, str(tmp_path / "group.zarr")]) == 1
    weights = tmp_path / f"w{suffix}"
    for sigma in ("5", "9"):
        assert main([*command, str(weights), "--sigma", sigma]) == 0
        made = read_provenance(weights)
        assert made is not None
        assert (made.input, made.settings["sigma"]) == ("labels.tif", float(sigma))


@pytest.mark.parametrize("name", ["nuclei.safetensors", "metrics.json", "overview.png"])
def test_the_demo_replaces_a_demo_only(tmp_path: Path, name: str) -> None:
    learnt, _ = choose_images()
    check_folder(tmp_path, learnt)
    check_folder(tmp_path / "not there", learnt)
    model = model_path("nuclei").read_bytes()  # one, but of other images
    for content in (b"", b"[1]", model):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileExistsError, match=f"{name}: is there already and not"):
            check_folder(tmp_path, learnt)
    (tmp_path / "metrics.json").write_text('{"trained_on": []}')
    if name == "overview.png":
        check_folder(tmp_path, learnt)


def test_a_model_of_a_newer_format_is_not_replaced(tmp_path: Path) -> None:
    newer = {"format": "napari-unet model", "version": "99"}
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "m.safetensors", newer)
    with pytest.raises(FileExistsError, match="is no model that"):
        check_replaceable(tmp_path / "m.safetensors")


@pytest.mark.parametrize("name", ["m.pt", "m.modeldef.h5", "m.caffemodel.h5"])
def test_exports_replace_exports_only(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "own.safetensors"
    save_model(
        random_model(u_shape(ndim=2, channels=1, classes=2, width=2, depth=1)), model
    )
    wanted = "torchscript" if name.endswith(".pt") else "fiji"
    command = ["export-model", str(model), str(tmp_path / name), "--format", wanted]
    other = tmp_path / name.replace("caffemodel", "modeldef")  # of the two of Fiji
    other.write_bytes(b"mine")
    assert main(command) == 1
    assert f"{other}: is there already and is no model that napari-unet wrote" in (
        capsys.readouterr().err
    )
    assert other.read_bytes() == b"mine"
    other.unlink()
    for _ in range(2):
        assert main(command) == 0


def test_bundles_replace_bundles_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = [tmp_path / "a.tif", tmp_path / "b.tif"]
    for file in pair:
        tifffile.imwrite(file, CELLS)
    output = tmp_path / "all.zip"
    command = ["bundle", *map(str, pair), "--output", str(output)]
    output.write_bytes(b"mine")
    assert main(command) == 1
    assert f"{output}: is there already and is no bundle" in capsys.readouterr().err
    assert output.read_bytes() == b"mine"
    output.unlink()
    for _ in range(2):
        assert main(command) == 0


def test_events_are_appended_to_no_file_of_another_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "a.tif"
    tifffile.imwrite(image, CELLS)
    before = image.read_bytes()
    command = ["predict", "nuclei", str(image), "--output", str(tmp_path / "o")]
    assert main([*command, "--events", str(image)]) == 1
    assert f"--events {image}: is there already and is no report" in (
        capsys.readouterr().err
    )
    assert image.read_bytes() == before


@pytest.mark.parametrize("mine", ['{"type": "FeatureCollection"}', "[]", "text"])
def test_reports_replace_reports_only(
    tmp_path: Path, mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "r.json"
    report.write_text(mine)
    assert main(["networks", "--json", str(report)]) == 1
    assert f"--json {report}: is there already and is no report" in (
        capsys.readouterr().err
    )
    assert report.read_text() == mine
    report.write_text("")
    for _ in range(2):
        assert main(["networks", "--json", str(report)]) == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_pipes_are_neither_read_nor_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / "a.tif"
    os.mkfifo(pipe)
    assert main(["networks", "--json", str(pipe)]) == 1
    assert "is no report" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"a\.tif: is no file that could be an image"):
        read_image(pipe)
    with pytest.raises(OSError, match=r"a\.tif: is no file"), atomic(pipe):
        pass
    assert pipe.is_fifo()
