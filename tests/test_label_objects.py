"""Objects in other programs' files are labels wherever labels are read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_unet.cli.evaluate import evaluate
from napari_unet.cli.main import main
from napari_unet.core.cells.objects import ObjectClass, Objects
from napari_unet.core.images.image import Image
from napari_unet.io.label_files import find_labels, is_objects, read_label_file
from napari_unet.io.model_file import read_card
from napari_unet.io.objects.catalogue import FORMATS

if TYPE_CHECKING:
    from pathlib import Path

CELLS = np.zeros((48, 50), np.uint16)
CELLS[5:15, 5:15], CELLS[20:30, 20:30], CELLS[35:45, 5:15] = 1, 2, 3
CELLS[7:9, 7:9] = 0  # a hole
IMAGE = Image(CELLS * 99, "yx", (0.5, 0.5), "a")
NAMES = ("geojson", "coco", "rois")


def written(path: Path, cells: np.ndarray = CELLS, **rest: object) -> Path:
    """Write cells as the format of a file's name, and return the file."""
    (found,) = [f for f in FORMATS.values() if path.name.endswith(f.suffixes[0])]
    if found.package is not None:
        pytest.importorskip(found.package)
    path.parent.mkdir(exist_ok=True)
    found.write(path, Objects(Image(cells, "yx", name="a"), **rest))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_objects_are_labels_of_their_image(tmp_path: Path, name: str) -> None:
    file = written(tmp_path / f"a{FORMATS[name].suffixes[0]}")
    assert is_objects(file)
    labels = read_label_file(file, like=IMAGE)
    np.testing.assert_array_equal(labels.data, CELLS)
    assert (labels.axes, labels.spacing_um) == ("yx", (0.5, 0.5))
    assert labels.notes == ()


def test_label_images_are_read_as_ever(tmp_path: Path) -> None:
    for name in ("a.tif", "a_cp_masks.tif"):
        tifffile.imwrite(tmp_path / name, CELLS)
        assert not is_objects(tmp_path / name)
        np.testing.assert_array_equal(read_label_file(tmp_path / name).data, CELLS)


def test_that_classes_are_not_used_is_said(tmp_path: Path) -> None:
    classes = (ObjectClass("nuclei"), ObjectClass("mitosis"))
    file = written(tmp_path / "a.geojson", classes=classes, class_of={1: 1, 2: 2, 3: 1})
    labels = read_label_file(file, like=IMAGE)
    assert labels.notes == (
        "its classes (nuclei, mitosis) are not used: all objects are of one.",
    )


def test_in_folders_only_names_that_say_so_are_of_objects(tmp_path: Path) -> None:
    ours = ["b2.geojson", "b10.geojson", "c_coco.json", "d_RoiSet.zip", "e_seg.npy"]
    for name in (*ours, "prediction.json", "pack.zip", ".hidden.geojson", "f.txt"):
        (tmp_path / name).touch()
    (tmp_path / "a.tif").touch()

    def names(*given: str) -> list[str]:
        return [path.name for path in find_labels([tmp_path / g for g in given])]

    assert sorted(names("")) == sorted(["a.tif", *ours[:4]])
    assert names("*.geojson") == ["b2.geojson", "b10.geojson"]
    assert names("*.zip") == ["d_RoiSet.zip", "pack.zip"]
    assert names("pack.zip", "e_seg.npy") == ["pack.zip", "e_seg.npy"]
    with pytest.raises(
        FileNotFoundError,
        match=r"no image matches .*; _RoiSet\.zip, \.geojson, _coco\.json\)\.$",
    ):
        names("*.gif")
    with pytest.raises(FileNotFoundError, match=r"there is no such file\.$"):
        names("gone.geojson")


SMALL = ["--steps", "2", "--width", "4", "--depth", "2", "--patch", "32"]
SMALL += ["--batch", "1", "--validation", "none"]


def test_a_network_learns_objects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", CELLS * 99)
    written(tmp_path / "labels" / "a.geojson")
    written(tmp_path / "labels" / "b_coco.json", CELLS > 0)  # one cell, not a mask
    folders = [str(tmp_path / "images"), str(tmp_path / "labels")]
    command = ["train", *folders, "--output", str(tmp_path / "m.safetensors")]
    assert main([*command, *SMALL, "--json", str(tmp_path / "report.json")]) == 0
    said = capsys.readouterr().err
    assert "2 pairs: a.tif with a.geojson, b.tif with b_coco.json." in said
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["labels"] == "instances"
    assert read_card(tmp_path / "m.safetensors").steps == 2


def test_objects_beside_the_images_are_no_images(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", CELLS * 99)
    written(tmp_path / "a.geojson")
    output = str(tmp_path / "m.safetensors")
    pair = [str(tmp_path), str(tmp_path / "*.geojson")]
    assert main(["train", *pair, "--output", output, *SMALL]) == 0


def test_objects_are_evaluated_as_label_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = np.roll(CELLS, 1, axis=1)
    for folder, cells in (("p", moved), ("t", CELLS)):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", cells)
        written(tmp_path / f"{folder}o" / "a.geojson", cells)

    def score(predicted: str, truth: str) -> dict[str, float]:
        return evaluate(tmp_path / predicted, [tmp_path / truth], ["iou", "ap"])

    wanted = score("p", "t")
    assert 0.5 < wanted["iou"] < 1
    assert score("p", "to") == wanted
    assert score("po", "t") == wanted
    with pytest.raises(ValueError, match=r"a\.geojson: outlines do not tell the size"):
        score("po", "to")


def test_border_weights_need_a_label_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "a.geojson")
    assert main(["weights", str(file), "--output", str(tmp_path / "w.tif")]) == 1
    assert "outlines do not tell the size" in capsys.readouterr().err
    assert not (tmp_path / "w.tif").exists()
