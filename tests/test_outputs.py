"""Commands never replace what they did not make."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
import zarr
from safetensors.numpy import save_file

from napari_unet.cli.demo import check_folder, choose_images
from napari_unet.cli.main import main
from napari_unet.io.export import write_labels
from napari_unet.io.images import read_image
from napari_unet.io.model_file import check_replaceable, read_card
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
