"""Objects in other programs' files are labels wherever labels are read."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_unet.cli.evaluation import evaluate
from napari_unet.cli.main import main
from napari_unet.cli.pairing import pair_files
from napari_unet.cli.training_inputs import find_inputs, read_inputs
from napari_unet.core.annotation.pairing import annotated_fields
from napari_unet.core.cells.objects import ObjectClass, Objects
from napari_unet.core.images.image import Image
from napari_unet.core.training.training_settings import Training
from napari_unet.io.label_files import (
    find_labels,
    is_objects,
    read_label_objects,
    without_classes,
)
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
    labels = without_classes(read_label_objects(file, like=IMAGE))
    np.testing.assert_array_equal(labels.data, CELLS)
    assert (labels.axes, labels.spacing_um) == ("yx", (0.5, 0.5))
    assert labels.notes == ()


def test_label_images_are_read_as_ever(tmp_path: Path) -> None:
    for name in ("a.tif", "a_cp_masks.tif"):
        tifffile.imwrite(tmp_path / name, CELLS)
        assert not is_objects(tmp_path / name)
        labels = read_label_objects(tmp_path / name).labels
        np.testing.assert_array_equal(labels.data, CELLS)


def drawn_on(path: Path, pixels: np.ndarray, *named: str) -> Path:
    """Write a TIFF with squares in its overlay, of these names, as ImageJ does."""
    roifile = pytest.importorskip("roifile")
    kept = []
    for k, name in enumerate(named):
        left = 2 + 12 * k
        corners = [(left, 2), (left + 8, 2), (left + 8, 10), (left, 10)]
        roi = roifile.ImagejRoi.frompoints(np.array(corners), name=name)
        roi.roitype = roifile.ROI_TYPE.POLYGON
        kept.append(roi.tobytes())
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, pixels, imagej=True, metadata={"Overlays": kept})
    return path


GREY = np.random.default_rng(0).integers(40, 200, (48, 50)).astype(np.uint8)


def test_the_overlay_of_an_image_is_its_annotation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("nuclei#1", "mitosis#1", "nuclei#2", "ignore")
    file = drawn_on(tmp_path / "in" / "a.tif", GREY, *names)
    drawn_on(tmp_path / "in" / "b.tif", GREY, "mitosis#4")
    drawn_on(tmp_path / "in" / "none.tif", GREY)
    assert [is_objects(file), is_objects(f"{file}#1")] == [True, False]
    objects = read_label_objects(file)
    expected = np.zeros((48, 50))
    for k in range(3):
        expected[2:10, 2 + 12 * k : 10 + 12 * k] = k + 1
    np.testing.assert_array_equal(objects.labels.data, expected)
    assert objects.unknown is not None
    assert objects.unknown[2:10, 38:46].all()
    assert objects.unknown.sum() == 64
    command = ["train", str(tmp_path / "in"), str(tmp_path / "in"), *SMALL]
    output = tmp_path / "m.safetensors"
    assert main([*command, "--output", str(output)]) == 0
    told = capsys.readouterr().err
    assert "a.tif with a.tif, b.tif with b.tif; 1 without labels left out: none" in told
    assert [c.name for c in read_card(output).classes] == ["nuclei", "mitosis"]
    assert main([*command, "--output", str(output), "--task", "regress"]) == 1
    assert "is named as image and as target" in capsys.readouterr().err
    (tmp_path / "in" / "a.tif").unlink()
    (tmp_path / "in" / "b.tif").unlink()
    assert main([*command, "--output", str(output)]) == 1
    assert "is named as image and as label" in capsys.readouterr().err


def test_labels_with_an_overlay_are_labels(tmp_path: Path) -> None:
    file = drawn_on(tmp_path / "a.tif", CELLS, "|SB|")
    objects = read_label_objects(file, like=IMAGE)
    np.testing.assert_array_equal(objects.labels.data, CELLS)
    note = "its pixels are the labels; 1 ROI that ImageJ keeps in it is not used."
    assert objects.labels.notes == (note,)


def test_that_classes_are_not_used_is_said(tmp_path: Path) -> None:
    classes = (ObjectClass("nuclei"), ObjectClass("mitosis"))
    file = written(tmp_path / "a.geojson", classes=classes, class_of={1: 1, 2: 2, 3: 1})
    labels = without_classes(read_label_objects(file, like=IMAGE))
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


@pytest.mark.parametrize("name", ["b.geojson", "b_coco.json", "b_labels.ome.zarr"])
def test_a_network_learns_the_classes_of_objects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    kinds = (ObjectClass("nuclei"), ObjectClass("mitosis"))
    (tmp_path / "images").mkdir()
    for image in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / "images" / image, CELLS * 99)
    labels = tmp_path / "labels"
    written(labels / "a.geojson", classes=kinds, class_of={1: 1, 2: 2, 3: 1})
    written(labels / name, classes=kinds, class_of={1: 2})
    output = tmp_path / "m.safetensors"
    command = ["train", str(tmp_path / "images"), str(labels), "--output", str(output)]
    assert main([*command, *SMALL]) == 0
    told = capsys.readouterr().err
    assert "labels: each object is a cell of its class: nuclei, mitosis." in told
    assert "mitosis. 2 objects have none: not annotated." in told
    assert [c.name for c in read_card(output).classes] == ["nuclei", "mitosis"]
    # said to be cells alone, they are of one class
    assert main([*command, *SMALL, "--labels", "instances"]) == 0
    assert "its classes (nuclei, mitosis) are not used" in capsys.readouterr().err
    assert [c.name for c in read_card(output).classes] == ["cells"]


def test_what_a_file_leaves_open_is_not_annotated(tmp_path: Path) -> None:
    roifile = pytest.importorskip("roifile")
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    tifffile.imwrite(tmp_path / "images" / "a.tif", CELLS * 99)
    areas = {"1": (5, 5, 15, 15), "ignore": (30, 0, 50, 48)}
    rois = [
        roifile.ImagejRoi.frompoints([(x, y), (u, y), (u, v), (x, v)], name=name)
        for name, (x, y, u, v) in areas.items()
    ]
    roifile.roiwrite(tmp_path / "labels" / "a_RoiSet.zip", rois)
    options = argparse.Namespace(
        images=str(tmp_path / "images"),
        labels=str(tmp_path / "labels"),
        pair_by="name",
        axes=None,
        kind=None,
        channel=None,
    )
    settings = Training.quick()
    inputs = read_inputs(options, settings, find_inputs(options, settings))
    ((_, known),) = annotated_fields(inputs.images, inputs.known, 2, inputs.kind)
    wanted = np.zeros((48, 50), int)
    wanted[5:15, 5:15], wanted[:, 30:] = 1, 255
    np.testing.assert_array_equal(known.class_image(), wanted)


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


def several(path: Path, names: list[str]) -> Path:
    """Write a COCO file of several images, the k-th with its first k cells."""
    content: dict[str, list] = {"images": [], "annotations": [], "categories": []}
    for number, name in enumerate(names, start=1):
        one = path.with_name("one_coco.json")
        written(one, np.where(number >= CELLS, CELLS, 0))
        found = json.loads(one.read_text())
        one.unlink()
        (picture,), places = found["images"], found["annotations"]
        content["images"].append(picture | {"id": number, "file_name": name})
        content["annotations"] += [a | {"image_id": number} for a in places]
    path.write_text(json.dumps(content | {"categories": found["categories"]}))
    return path


def test_a_coco_file_of_many_images_goes_with_a_folder_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["c.jpg", "day 1/b.png", "gone.tif", "v1.2"]
    truth = several(tmp_path / "all.json", names)
    (tmp_path / "images").mkdir()
    for name in ("b", "c", "d", "v1.2"):
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", CELLS * 99)
    found = pair_files([tmp_path / "images"], [truth])
    assert [(a.name, b.name) for a, b in found.pairs] == [
        ("c.tif", "all.json#1"),
        ("b.tif", "all.json#2"),
        ("v1.2.tif", "all.json#4"),
    ]
    assert found.sentence == (
        "3 pairs: c.tif with all.json#1 (c), b.tif with all.json#2 (b), v1.2.tif with "
        "all.json#4 (v1.2); 1 without labels left out: d.tif; 1 of an image that is "
        "not there left out: all.json#3 (gone)."
    )
    assert set(found.files) == {*(tmp_path / "images").iterdir(), truth}
    (tmp_path / "images" / "d.tif").unlink()
    output = tmp_path / "m.safetensors"
    command = ["train", str(tmp_path / "images"), str(truth), "--output", str(output)]
    assert main([*command, *SMALL]) == 0
    assert "3 pairs: c.tif" in capsys.readouterr().err
    alone = [tmp_path / "images" / "c.tif"]
    assert pair_files(alone, [f"{truth}#2"]).pairs[0][1].name == "all.json#2"
    with pytest.raises(ValueError, match="1 of 1 label files are without a partner"):
        pair_files([tmp_path / "images"], [f"{truth}#3"])
    (tmp_path / "images" / "c.png").touch()
    with pytest.raises(ValueError, match=r"all\.json#1 \(c\): may belong to c"):
        pair_files([tmp_path / "images"], [truth])


def test_predictions_of_many_images_in_one_file_are_evaluated(tmp_path: Path) -> None:
    truth = several(tmp_path / "truth.json", ["a.tif", "b.tif", "c.tif"])
    found = several(tmp_path / "found.json", ["b.tif", "c.tif"])
    for number, name in enumerate("abc", start=1):
        file = tmp_path / "p" / f"{name}.tif"
        file.parent.mkdir(exist_ok=True)
        tifffile.imwrite(file, np.where(number >= CELLS, CELLS, 0))
    assert evaluate(tmp_path / "p", [truth], ["iou"]) == {"iou": 1}
    assert evaluate(truth, [tmp_path / "p"], ["iou"]) == {"iou": 1}
    # b has one cell of two, c two of three
    score = evaluate(found, [truth], ["ap"])
    assert score["recall@0.5"] == pytest.approx(3 / 5)
    assert score["precision@0.5"] == 1


def movie_of(path: Path) -> np.ndarray:
    """Write a movie of three times into one file, and return its cells."""
    cells = np.stack([np.where(n >= CELLS, CELLS, 0) for n in (3, 2, 1)])
    path.parent.mkdir(exist_ok=True)
    grey = (cells * 99).astype(np.uint16)
    tifffile.imwrite(path, grey, metadata={"axes": "TYX"}, imagej=True)
    return cells


def test_a_folder_of_the_challenge_is_the_labels_of_a_movie_in_one_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = movie_of(tmp_path / "movies" / "01.tif")
    movie_of(tmp_path / "movies" / "02.tif")
    written_movie(tmp_path / "results" / "01_RES", cells)
    written_movie(tmp_path / "truth" / "01_GT" / "TRA", cells)
    for labels, shown in (
        (tmp_path / "results" / "01_RES", "01_RES"),
        (tmp_path / "results", "01_RES"),
        (tmp_path / "truth" / "*_GT" / "TRA", "01_GT/TRA"),
        (tmp_path / "truth" / "01_GT" / "TRA", "TRA"),
    ):
        found = pair_files([tmp_path / "movies"], [labels])
        assert [a.name for a, _ in found.pairs] == ["01.tif"], labels
        assert f"01.tif with {shown}; 1 without labels" in found.sentence
    any_name = tmp_path / "movies" / "any name.tif"
    (tmp_path / "movies" / "02.tif").rename(any_name)
    pair = [str(any_name), str(tmp_path / "results" / "01_RES")]
    output = str(tmp_path / "m.safetensors")
    assert main(["train", *pair, "--output", output, *SMALL]) == 0
    assert "1 pair: any name.tif with 01_RES." in capsys.readouterr().err
    for one in (tmp_path / "results", tmp_path / "results" / "01_RES"):
        assert evaluate(one, [tmp_path / "truth" / "*_GT" / "TRA"], ["iou"])["iou"] == 1


def written_movie(path: Path, cells: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    FORMATS["ctc"].write(path, Objects(Image(cells, "tyx")))


def test_movies_and_label_images_lie_in_one_folder(tmp_path: Path) -> None:
    cells = movie_of(tmp_path / "movies" / "a.tif")
    movie_of(tmp_path / "movies" / "b.tif")
    written_movie(tmp_path / "labels" / "a_res", cells)
    movie_of(tmp_path / "labels" / "b.tif")
    (tmp_path / "labels" / "other_RES").mkdir()  # without masks it is no movie
    found = pair_files([tmp_path / "movies"], [tmp_path / "labels"])
    names = {(image.name, label.name) for image, label in found.pairs}
    assert names == {("a.tif", "a_res"), ("b.tif", "b.tif")}
    for movies in (True, False):
        given = find_labels([tmp_path / "labels"], movies=movies)
        assert {path.name for path in given} == {"a_res", "b.tif"}


def test_masks_of_time_points_are_those_of_images_of_time_points(
    tmp_path: Path,
) -> None:
    cells = movie_of(tmp_path / "01.tif")
    written_movie(tmp_path / "01_RES", cells)
    (tmp_path / "01").mkdir()
    for time in range(3):
        tifffile.imwrite(tmp_path / "01" / f"t{time:03}.tif", cells[time])
    found = pair_files([tmp_path / "01"], [tmp_path / "01_RES"])
    assert [(a.name, b.name) for a, b in found.pairs] == [
        (f"t{time:03}.tif", f"mask{time:03}.tif") for time in range(3)
    ]


def test_border_weights_need_a_label_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "a.geojson")
    assert main(["weights", str(file), "--output", str(tmp_path / "w.tif")]) == 1
    assert "outlines do not tell the size" in capsys.readouterr().err
    assert not (tmp_path / "w.tif").exists()


def test_an_object_in_two_pieces_is_one_for_every_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = np.zeros((48, 50), np.uint8)
    cells[5:20, 5:20] = cells[5:20, 22:37] = 1  # a mask of one value it is not
    file = written(tmp_path / "a_coco.json", cells)
    weights = []
    for options in ([], ["--labels", "instances"], ["--labels", "binary"]):
        output = tmp_path / f"{len(weights)}.tif"
        command = ["weights", str(file), "--output", str(output), *options]
        assert main(command) == 0
        weights.append(tifffile.imread(output))
    np.testing.assert_array_equal(weights[0], weights[1])
    assert weights[2][12, 20] > 2 * weights[0][12, 20]  # a border between two cells
    tifffile.imwrite(tmp_path / "a.tif", cells * 99)
    capsys.readouterr()
    assert main(["next", str(tmp_path / "a.tif"), str(file)]) == 0
    assert "guessed" not in capsys.readouterr().err
