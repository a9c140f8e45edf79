"""Predictions against labels of every meaning."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_unet.cli.evaluation import Evaluation, evaluate
from napari_unet.cli.main import main
from napari_unet.core.cells.objects import Objects
from napari_unet.core.images.image import Image
from napari_unet.io.export import write_labels, write_probabilities
from napari_unet.io.objects.catalogue import FORMATS
from napari_unet.io.provenance import Provenance

if TYPE_CHECKING:
    from napari_unet.core.annotation.annotations import Kind

# Six cells of 4 x 4 in two rows, four pixels apart.
CELLS = np.zeros((20, 28), np.uint16)
for number in range(6):
    row, column = 2 + 8 * (number // 3), 2 + 8 * (number % 3)
    CELLS[row : row + 4, column : column + 4] = number + 1
OTHER_IDS = np.array([0, 4, 6, 1, 2, 5, 3], np.uint16)[CELLS]
# one cell lost, and one shifted by a pixel: 12 of 20 pixels shared
FOUND = np.where(CELLS == 6, 0, CELLS)
FOUND[FOUND == 1] = 0
FOUND[2:6, 3:7] = 1
IOU = (4 * 16 + 12) / (4 * 16 + 20 + 16)


def save(folder: Path, **files: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in files.items():
        tifffile.imwrite(folder / f"{name}.tif", values, photometric="minisblack")
    return folder


def binary(mask: np.ndarray) -> np.ndarray:
    return (mask > 0).astype(np.uint8) * 255


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    """What predict writes, of `FOUND`."""
    folder = tmp_path / "o"
    for kind in ("probabilities", "classes", "instances"):
        (folder / kind).mkdir(parents=True)
    cell = np.where(FOUND > 0, 0.9, 0.1).astype(np.float32)
    both = np.stack([1 - cell, cell])
    write_probabilities(folder / "probabilities" / "a.tif", both, "cyx")
    write_labels(folder / "classes" / "a.tif", (FOUND > 0).astype(np.uint8), "yx")
    write_labels(folder / "instances" / "a.tif", FOUND.astype(np.int32), "yx")
    return folder


@pytest.mark.parametrize(
    "truth",
    [CELLS, CELLS.astype(np.uint32) * 5003, binary(CELLS), CELLS.astype(np.float32)],
)
@pytest.mark.parametrize("found", [CELLS, OTHER_IDS, OTHER_IDS * 900, binary(CELLS)])
def test_perfect_masks_are_perfect_whatever_their_values(
    tmp_path: Path, found: np.ndarray, truth: np.ndarray
) -> None:
    p, t = save(tmp_path / "p", a=found), save(tmp_path / "t", a=truth)
    scores = evaluate(p, [t], ["iou", "dice", "ap", "seg", "pixel_error@0.5"])
    wanted = ("iou", "dice", "ap@0.5", "ap@0.9", "seg")
    assert [scores[name] for name in wanted] == [1.0] * 5
    assert scores["pixel_error@0.5"] == 0.0
    assert not [name for name in scores if name.startswith("iou_")]


def test_a_prediction_is_the_same_by_whatever_it_is_named(
    tmp_path: Path, predicted: Path
) -> None:
    truth = [save(tmp_path / "t", a=CELLS)]
    kinds = ("probabilities", "classes", "instances")
    places = [predicted, *(predicted / kind for kind in kinds)]
    places += [predicted / "instances" / "a.tif"]
    copy = tmp_path / "o[1]"  # which is no pattern
    copytree(predicted, copy)
    places += [copy, *(copy / kind for kind in kinds)]
    for place in places:
        assert evaluate(place, truth, ["iou"])["iou"] == IOU
        assert evaluate(place, truth, ["pixel_error@0.5"]) == {
            "pixel_error@0.5": (8 + 16) / CELLS.size
        }
    for place in (predicted, predicted / "instances", predicted / "classes"):
        # the shifted cell has 12 of 20 pixels: matched at 0.5
        assert evaluate(place, truth, ["ap"])["ap@0.5"] == 5 / 6
        assert evaluate(place, truth, ["ap"])["ap@0.75"] == 4 / 7


def test_what_is_not_there_is_made_of_what_is_or_refused(
    tmp_path: Path, predicted: Path
) -> None:
    from shutil import rmtree

    truth = [save(tmp_path / "t", a=CELLS)]
    with pytest.raises(ValueError, match="holds probabilities, but cells"):
        evaluate(predicted / "probabilities", truth, ["ap"])
    rmtree(predicted / "classes")
    assert evaluate(predicted, truth, ["iou"])["iou"] == IOU
    rmtree(predicted / "probabilities")
    found = evaluate(predicted, truth, ["iou", "ap"])
    assert (found["iou"], found["ap@0.5"]) == (IOU, 5 / 6)
    (predicted / "instances").rename(predicted / "probabilities")
    with pytest.raises(ValueError, match="probabilities are real numbers, found"):
        evaluate(predicted, truth, ["iou"])


def test_pixels_that_are_not_annotated_do_not_count(
    tmp_path: Path, predicted: Path
) -> None:
    # background everywhere but in the right third, where nothing is annotated
    truth = CELLS + 1
    truth[:, 18:] = 0
    t = save(tmp_path / "t", a=truth)
    with pytest.raises(ValueError, match="--labels instances, semantic, annotation or"):
        evaluate(predicted, [t], ["iou"])
    scores = evaluate(
        predicted, [t], ["iou", "ap", "pixel_error@0.5"], kind="annotation"
    )
    # of the four cells that are annotated one is shifted, and none is lost
    assert scores["iou"] == (3 * 16 + 12) / (3 * 16 + 20)
    assert scores["pixel_error@0.5"] == 8 / (20 * 18)
    assert (scores["ap@0.5"], scores["ap@0.75"]) == (1.0, 3 / 5)
    with pytest.raises(
        ValueError, match="adapted_rand_error needs to know every pixel"
    ):
        evaluate(predicted, [t], ["adapted_rand_error"], kind="annotation")


def test_a_cell_mostly_outside_what_is_annotated_does_not_count(tmp_path: Path) -> None:
    truth = CELLS + 1
    truth[:, 19:] = 0  # one of four columns of cells 3 and 6 is annotated
    truth[:, 18:19] = 1
    p, t = save(tmp_path / "p", a=OTHER_IDS), save(tmp_path / "t", a=truth)
    assert evaluate(p, [t], ["ap"], kind="annotation")["ap@0.9"] == 1.0


def test_classes_are_compared_one_by_one(tmp_path: Path) -> None:
    truth = np.where(CELLS > 3, 2, np.minimum(CELLS, 1)).astype(np.uint8)
    found = truth.copy()
    found[2:6, 2:6] = 2  # one of three cells of class 1 is taken for class 2
    p, t = save(tmp_path / "p", a=found), save(tmp_path / "t", a=truth)
    expected = {"iou": (2 / 3 + 3 / 4) / 2, "iou_class_1": 2 / 3, "iou_class_2": 3 / 4}
    assert evaluate(p, [t], ["iou"], kind="semantic") == expected
    with pytest.raises(ValueError, match="2 values in 6 connected areas may be"):
        evaluate(p, [t], ["iou"])
    # predict names what it writes: then the truth has these classes too
    classes = save(tmp_path / "o" / "classes", a=found)
    assert evaluate(classes, [t], ["iou"]) == expected
    # objects are areas of one class
    assert evaluate(classes, [t], ["ap"])["ap@0.9"] == 1.0


def test_many_ids_are_no_classes_of_a_model(tmp_path: Path) -> None:
    two = np.where(CELLS > 3, 2, np.minimum(CELLS, 1)).astype(np.uint8)
    classes = save(tmp_path / "o" / "classes", a=two)
    t = save(tmp_path / "t", a=CELLS)
    assert evaluate(classes, [t], ["iou"]) == {"iou": 1.0}


def test_frames_are_read_together(tmp_path: Path) -> None:
    movie = np.stack([np.where(n >= CELLS, CELLS, 0) for n in (0, 1, 2, 6)])
    p, t = save(tmp_path / "p", a=movie), save(tmp_path / "t", a=movie)
    assert evaluate(p, [t], ["iou", "ap"], axes="tyx")["ap@0.9"] == 1.0


def test_areas_of_a_volume_are_connected_through_it(tmp_path: Path) -> None:
    stack = np.stack([CELLS, np.where(CELLS == 2, 2, 0), CELLS])
    p, t = save(tmp_path / "p", a=stack), save(tmp_path / "t", a=binary(stack))
    assert evaluate(p, [t], ["ap"])["ap@0.9"] == 1.0
    # five cells are in two pieces each that no slice joins
    in_3d = evaluate(p, [t], ["ap"], volumes=True)
    assert in_3d["ap@0.9"] == pytest.approx(1 / (1 + 5 + 10))


@pytest.mark.parametrize("where", ["p", "t"])
def test_grey_levels_are_refused(tmp_path: Path, where: str) -> None:
    from scipy.ndimage import zoom

    mask = np.kron(CELLS, np.ones((4, 4), np.uint16))
    grey = np.clip(zoom(zoom(binary(mask) / 1.0, 0.5, order=1), 2, order=3), 0, 255)
    folders = {name: save(tmp_path / name, a=mask) for name in "pt"}
    save(tmp_path / where, a=grey.astype(np.uint8))
    told = rf"{where}/a\.tif: \d+ values above 0 run into each other"
    for kind in (None, "instances"):
        for metric in ("iou", "ap"):
            with pytest.raises(ValueError, match=told):
                evaluate(folders["p"], [folders["t"]], [metric], kind=kind)


def test_the_report_tells_pairs_and_meanings(
    tmp_path: Path, predicted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = save(tmp_path / "t", a_mask=CELLS)
    assert main(["evaluate", str(predicted), str(truth), "--json", "-"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["iou"], report["ap@0.5"]) == (IOU, 5 / 6)
    assert report["labels"] == "instances"
    assert report["pairs"] == [
        {
            "prediction": str(predicted / kind / "a.tif"),
            "truth": str(truth / "a_mask.tif"),
        }
        for kind in ("classes", "instances")
    ]
    assert err.splitlines() == report["notes"]
    assert "1 pair: a.tif with a_mask.tif." in report["notes"]
    assert any("each value is a cell" in note for note in report["notes"])


def test_the_report_destroys_nothing_that_is_read(
    tmp_path: Path, predicted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = save(tmp_path / "t", a=CELLS)
    (predicted / "prediction.json").write_text("{}")
    for file in (
        truth / "a.tif",
        predicted / "instances" / "a.tif",
        predicted / "prediction.json",
    ):
        before = file.read_bytes()
        command = ["evaluate", str(predicted), str(truth), "--json", str(file)]
        assert main(command) == 1
        assert "replaced" in capsys.readouterr().err
        assert file.read_bytes() == before


def test_sizes_that_differ_are_told_with_the_file(
    tmp_path: Path, predicted: Path
) -> None:
    truth = save(tmp_path / "t", a=CELLS[:-1])
    with pytest.raises(
        ValueError, match=r"a\.tif: .*equal sizes, found 20 and 19 along"
    ):
        evaluate(predicted, [truth], ["iou"])


@pytest.mark.parametrize("first", [3, 300, 2**31 - 9, 2**32 - 9])
def test_ids_are_no_classes_of_a_truth_in_classes(tmp_path: Path, first: int) -> None:
    ids = np.where(CELLS > 0, CELLS.astype(np.int64) % 6 + first, 0).astype(np.uint32)
    predicted = save(tmp_path / "p", a=ids)
    truth = save(tmp_path / "t", a=np.where(CELLS > 0, 1 + CELLS % 2, 0).astype("u1"))
    scores = evaluate(predicted, [truth], ["iou"], kind="semantic")
    assert scores == {"iou": 1.0}


@pytest.mark.parametrize("kind", [None, "instances", "semantic"])
def test_files_agree_with_themselves(tmp_path: Path, kind: Kind | None) -> None:
    folder = save(tmp_path / "t", a=CELLS, b=CELLS.T)
    scores = evaluate(folder, [folder], ["iou", "ap"], kind=kind)
    assert scores["iou"] == scores["ap@0.5"] == 1.0


def test_a_mask_of_booleans_is_a_mask(tmp_path: Path) -> None:
    predicted = save(tmp_path / "p", a=CELLS)
    (tmp_path / "t").mkdir()
    tifffile.imwrite(tmp_path / "t" / "a.tif", CELLS > 0)
    scores = evaluate(predicted, [tmp_path / "t"], ["iou", "ap"])
    assert scores["iou"] == scores["ap@0.5"] == 1.0


@pytest.mark.parametrize("names", ["a b", "a b.zarr", "a a"])
def test_predictions_of_several_models_are_told(
    tmp_path: Path, names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An interrupted --overwrite with another model leaves such a folder."""
    truth = save(tmp_path / "t", a=CELLS, b=CELLS)
    (tmp_path / "p").mkdir()
    for k, name in enumerate(names.split()):
        made = Provenance("a.tif", "1", f"model{k}", str(k), {})
        folder = tmp_path / "p" / ("classes" if names == "a a" and k else "instances")
        folder.mkdir(exist_ok=True)
        file = folder / (name if "." in name else f"{name}.tif")
        write_labels(file, CELLS, "yx", made=made)
    if names == "a a":
        (truth / "b.tif").unlink()
    assert main(["evaluate", str(tmp_path / "p"), str(truth)]) == 0
    assert "they are of 2 models, model0 and model1." in capsys.readouterr().err


def test_specks_can_be_left_out_of_a_second_score(
    tmp_path: Path, predicted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speck = CELLS.copy()
    speck[18, 26] = 9
    truth, report = save(tmp_path / "t", a=speck), tmp_path / "scores.json"
    command = ["evaluate", str(predicted), str(truth), "--metric", "ap", "--json"]
    assert main([*command, str(report), "--ignore-below", "2"]) == 0
    scores = json.loads(report.read_text())
    assert scores["ap@0.5"] == 5 / 7
    assert scores["ap@0.5_ignore_below_2"] == 5 / 6
    assert "ap@0.5_ignore_below_2" in capsys.readouterr().out

    assert main([*command, str(report), "--ignore-below", "0"]) == 1
    assert "at least 1 pixel, found 0" in capsys.readouterr().err
    assert main([*command, str(report), "--ignore-below", "2", "--metric", "iou"]) == 1
    assert "--ignore-below is for ap, the metrics are iou" in capsys.readouterr().err


def test_that_there_is_no_object_at_all_is_said(tmp_path: Path) -> None:
    p, t = (save(tmp_path / n, a=np.zeros((9, 9), np.uint8)) for n in "pt")
    evaluation = Evaluation(p, [t])
    assert evaluation.scores(["ap"])["ap@0.5"] == 0.0
    assert any("there is no object" in note for note in evaluation.notes)
    evaluation = Evaluation(p, [save(tmp_path / "u", a=np.eye(9, dtype=np.uint8))])
    evaluation.scores(["ap"])
    assert not any("there is no object" in note for note in evaluation.notes)


@pytest.mark.parametrize("metric", ["iou", "ap", "adapted_rand_error"])
def test_pairs_that_cannot_be_compared_end_no_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], metric: str
) -> None:
    """The others are, all failures are listed, and the status is 1."""
    from scipy.ndimage import zoom

    large = np.kron(CELLS, np.ones((4, 4), np.uint16))
    grey = np.clip(zoom(zoom(binary(large) / 1.0, 0.5, order=1), 2, order=3), 0, 255)
    found = {"a": FOUND, "b": CELLS, "c": CELLS, "d": CELLS, "e": large, "f": large}
    known = {"a": CELLS, "b": CELLS, "c": CELLS[1:], "d": CELLS, "e": large, "f": large}
    p, t = save(tmp_path / "p", **found), save(tmp_path / "t", **known)
    (p / "b.tif").write_bytes((p / "b.tif").read_bytes()[:300])
    (t / "d.tif").write_bytes(b"")
    save(p, e=grey.astype(np.uint8))
    save(t, f=grey.astype(np.uint8))
    report = tmp_path / "r.json"
    command = ["evaluate", str(p), str(t), "--metric", metric, "--json", str(report)]
    assert main(command) == 1
    told = capsys.readouterr().err.splitlines()
    scores = json.loads(report.read_text())
    only = evaluate(p / "a.tif", [t / "a.tif"], [metric])
    assert {name: scores[name] for name in only} == only
    assert [row["truth"] for row in scores["pairs"]] == [str(t / "a.tif")]
    assert told[-6] == "5 pairs are not compared:"
    assert told[-5:] == [f"napari-unet: {problem}" for problem in scores["problems"]]
    for name, words in {
        f"{p / 'b.tif'}: cannot be read as an image": "",
        f"{p / 'c.tif'}: prediction and truth must have equal sizes": "",
        f"{t / 'd.tif'}: cannot be read as an image: it is empty": "",
        f"{p / 'e.tif'}: ": "like grey levels",
        f"{t / 'f.tif'}: ": "like grey levels",
    }.items():
        assert sum(name in line and words in line for line in told[-5:]) == 1
    with pytest.raises(ValueError, match=r"(?s)b\.tif: .*d\.tif: "):
        evaluate(p, [t], [metric])


def test_values_that_do_not_mean_what_is_said_are_told_of_each_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = {"a": binary(CELLS), "b": CELLS, "c": binary(CELLS), "d": CELLS}
    p, t = save(tmp_path / "p", **masks), save(tmp_path / "t", **masks)
    command = ["evaluate", str(p), str(t), "--labels", "binary", "--json", "-"]
    assert main(command) == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (len(report["pairs"]), report["iou"]) == (2, 1.0)
    for name in ("b", "d"):
        assert f"{t / name}.tif: a binary mask has 0 and one other value" in err


def test_an_evaluation_of_which_nothing_is_left_has_no_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    p, t = (save(tmp_path / n, a=CELLS, b=CELLS) for n in "pt")
    for name in "ab":
        (t / f"{name}.tif").write_bytes(b"no")
    assert main(["evaluate", str(p), str(t), "--json", "-"]) == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert "iou" not in report
    assert report["pairs"] == []
    assert len(report["problems"]) == len(err.splitlines()) == 2


@pytest.mark.parametrize("truth", ["a", "a_mask", "gt_a"])
@pytest.mark.parametrize(
    "kind", ["rois", "geojson", "coco", "ilastik", "cellpose", "ome-zarr"]
)
def test_what_predict_saves_for_other_programs_pairs_with_any_truth(
    tmp_path: Path, kind: str, truth: str
) -> None:
    """Both names have words beside the image's: a_RoiSet.zip and a_mask.tif."""
    written = FORMATS[kind]
    folder = tmp_path / kind
    folder.mkdir()
    for name in ("a", "a_b"):
        objects = Objects(Image(CELLS.astype(np.int32), "yx"))
        written.write(folder / f"{name}{written.suffixes[0]}", objects)
    names = {name: truth.replace("a", name, 1) for name in ("a", "a_b")}
    save(tmp_path / "t", **dict.fromkeys(names.values(), CELLS))
    evaluation = Evaluation(folder, [tmp_path / "t"])
    assert evaluation.scores(["ap"])["ap@0.9"] == 1
    ends = [
        (Path(r["prediction"]).name, Path(r["truth"]).name) for r in evaluation.pairs
    ]
    assert sorted(ends) == sorted(
        (f"{name}{written.suffixes[0]}", f"{known}.tif")
        for name, known in names.items()
    )


def test_slices_of_times_are_compared_in_one_order_only(tmp_path: Path) -> None:
    pages = np.stack([np.roll(CELLS, 2 * k, axis=1) for k in range(6)])
    (tmp_path / "p").mkdir()
    write_labels(tmp_path / "p" / "a.tif", pages.reshape(2, 3, *CELLS.shape), "tzyx")
    alike = save(tmp_path / "t", a=pages)  # slices or times: one after the other
    assert evaluate(tmp_path / "p", [alike], ["iou"]) == {"iou": 1.0}
    (tmp_path / "u").mkdir()
    write_labels(tmp_path / "u" / "a.tif", pages.reshape(3, 2, *CELLS.shape), "tzyx")
    with pytest.raises(ValueError, match="equal sizes, found 2 and 3 along t"):
        evaluate(tmp_path / "p", [tmp_path / "u"], ["iou"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5, 1.5, 255.5])
@pytest.mark.parametrize("folder", ["probabilities", "mine"])
def test_real_numbers_that_are_no_probabilities_are_refused(
    tmp_path: Path, value: float, folder: str
) -> None:
    cell = np.where(FOUND > 0, 0.9, 0.1).astype(np.float32)
    truth = save(tmp_path / "t", a=CELLS)
    good = save(tmp_path / "good" / folder, a=cell)
    assert evaluate(good, [truth], ["iou"])["iou"] == pytest.approx(IOU)
    cell[3, 4] = value
    with pytest.raises(ValueError, match=r"a\.tif: has real numbers, which are prob"):
        evaluate(save(tmp_path / folder, a=cell), [truth], ["iou"])


def test_files_that_are_compared_with_themselves_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[2:9, 2:9] = 1
    tifffile.imwrite(tmp_path / "a.tif", labels)
    assert main(["evaluate", str(tmp_path), str(tmp_path / "a.tif")]) == 0
    told = "1 file is compared with itself, which says nothing: a.tif."
    assert told in capsys.readouterr().err
    command = ["evaluate", str(tmp_path), str(tmp_path), "--metric", "psnr"]
    assert main(command) == 0
    assert told in capsys.readouterr().err
