from __future__ import annotations

import os
import shutil
from contextlib import ExitStack

import numpy as np
import pytest
import tifffile

from example_models import cropping_model
from napari_unet.core.events import FilePredicted, FileWaits, TileDone
from napari_unet.core.model import Model
from napari_unet.core.settings import Prediction, Segmentation
from napari_unet.engine.batch_prediction import predict_files
from napari_unet.engine.file_prediction import FilePredictor
from napari_unet.engine.network.network import prepare
from napari_unet.io.export import write_weights
from napari_unet.io.model_file import save_model
from napari_unet.io.prediction_folder import KINDS, PredictionFolder
from napari_unet.io.provenance import read_provenance

CPU = Prediction(device="cpu", precision="fp32", tile=32)


def write_image(file, seed=0):
    values = np.random.default_rng(seed).random((2, 40, 50), np.float32)
    write_weights(file, values, "cyx")
    return file


@pytest.fixture
def files(tmp_path):
    (tmp_path / "in").mkdir()
    return [write_image(tmp_path / "in" / f"{n}.tif", k) for k, n in enumerate("abc")]


def predictor(tmp_path, kinds=("classes",), bias=0.0, threshold=0.5):
    model = cropping_model(2)
    changed = {"score.bias": model.weights["score.bias"] + np.float32(bias)}
    model = Model(model.card, {**model.weights, **changed})
    path = tmp_path / f"bias{bias}.safetensors"
    if not path.exists():  # it would be the same model in another file
        save_model(model, path)
    folder = PredictionFolder(tmp_path / "out", kinds)
    network = prepare(model, "cpu", "fp32")
    segmentation = Segmentation(threshold=threshold)
    return FilePredictor(network, model.card, CPU, segmentation, folder, path)


def told(running):
    return [e for e in running if isinstance(e, FilePredicted)]


def listing(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def broken(file):
    file.write_bytes(b"no image")


def one_channel(file):
    tifffile.imwrite(file, np.zeros((40, 50), "u1"))


def not_finite(file):
    write_weights(file, np.full((2, 40, 50), np.nan), "cyx")


def gone(file):
    file.unlink()


def damaged_zarr(file):
    file.unlink()
    write_image(file.with_suffix(".zarr"))
    for chunk in (file.with_suffix(".zarr") / "0" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"garbage")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (broken, "cannot be read as an image"),
        (one_channel, "trained on 2 channel"),
        (not_finite, "found nan at"),
        (gone, "cannot be read, No such file"),
        (damaged_zarr, "is damaged and cannot be read"),
    ],
)
def test_one_bad_file_costs_only_itself(tmp_path, files, spoil, sentence):
    spoil(files[1])
    if not files[1].exists() and files[1].with_suffix(".zarr").exists():
        files[1] = files[1].with_suffix(".zarr")
    first, second, third = told(predict_files(predictor(tmp_path), files))
    assert (first.problem, third.problem) == (None, None)
    assert sentence in second.problem
    assert "b" in second.problem.split(":")[0]
    assert [e.progress for e in (first, second, third)] == [
        pytest.approx(k / 3) for k in (1, 2, 3)
    ]
    assert listing(tmp_path / "out") == ["classes/a.tif", "classes/c.tif"]


def test_a_run_of_bad_files_leaves_nothing(tmp_path, files):
    for file in files:
        broken(file)
    assert all(e.problem for e in told(predict_files(predictor(tmp_path), files)))
    assert not (tmp_path / "out").exists()


def test_what_lies_there_of_another_image_or_model_is_no_result(tmp_path, files):
    list(predict_files(predictor(tmp_path), files))
    before = {f: (tmp_path / "out" / f).read_bytes() for f in listing(tmp_path / "out")}
    again = told(predict_files(predictor(tmp_path), files))
    assert [(e.there, e.problem) for e in again] == [(True, None)] * 3
    write_image(files[1], seed=9)  # exported again
    first, second, _ = told(predict_files(predictor(tmp_path), files))
    assert first.there
    assert "of another image, or of this one before it was changed" in second.problem
    for change in ({"bias": 1.0}, {"threshold": 0.7}):
        made = told(predict_files(predictor(tmp_path, **change), files))
        assert all("is there already and is a result of" in e.problem for e in made)
    for name, content in before.items():
        assert (tmp_path / "out" / name).read_bytes() == content


def test_overwriting_a_part_leaves_the_others_what_they_are(tmp_path, files):
    list(predict_files(predictor(tmp_path, KINDS), files))
    other = predictor(tmp_path, ("classes",), bias=1.0)
    assert not told(predict_files(other, files[:1], overwrite=True))[0].problem
    out = tmp_path / "out"
    made = {f: read_provenance(out / f) for f in listing(out) if f.endswith("tif")}
    assert {f: one.model for f, one in made.items()} == {
        f: "bias1.0.safetensors" if f == "classes/a.tif" else "bias0.0.safetensors"
        for f in made
    }
    assert len(made) == 9
    _, *rest = told(predict_files(predictor(tmp_path, ("classes",)), files))
    assert [e.there for e in rest] == [True, True]


def test_an_interrupted_overwrite_is_found_out(tmp_path, files):
    list(predict_files(predictor(tmp_path), files))
    running = predict_files(predictor(tmp_path, bias=1.0), files, overwrite=True)
    next(e for e in running if isinstance(e, FilePredicted))
    running.close()
    first, *rest = told(predict_files(predictor(tmp_path, bias=1.0), files))
    assert first.there
    assert all("is a result of bias0.0.safetensors" in e.problem for e in rest)


def test_what_a_killed_run_left_half_written_is_removed_a_day_later(tmp_path, files):
    folder = tmp_path / "out" / "classes"
    folder.mkdir(parents=True)
    old, new = (folder / f".napari-unet-{c * 32}.part" for c in "ab")
    for stray in (old, new):
        stray.write_bytes(b"half")
    os.utime(old, (0, 0))
    list(predict_files(predictor(tmp_path), files))
    assert not old.exists()
    assert new.exists()


def test_an_image_that_another_run_is_at_work_on_comes_last(tmp_path, files):
    made = predictor(tmp_path)
    with ExitStack() as another:
        another.enter_context(made.folder.at_work(files[0]))
        paths = []
        for event in predict_files(made, files):
            if isinstance(event, FileWaits):
                another.close()
            if isinstance(event, FilePredicted):
                assert event.problem is None
                paths.append(event.path)
    assert paths == [str(files[1]), str(files[2]), str(files[0])]
    assert listing(tmp_path / "out") == [
        *(f"classes/{n}.tif" for n in "abc"),
        "prediction.json",
    ]


def test_runs_with_other_settings_do_not_work_in_one_folder_at_once(tmp_path, files):
    running = predict_files(predictor(tmp_path), files)
    next(e for e in running if isinstance(e, TileDone))
    with pytest.raises(OSError, match="another run is at work in this folder now"):
        next(predict_files(predictor(tmp_path, threshold=0.7), files))
    with pytest.raises(OSError, match="another run"):
        next(predict_files(predictor(tmp_path, threshold=0.7), files, overwrite=True))
    same = predict_files(predictor(tmp_path), files[1:])
    assert not [e.problem for e in told(same) if e.problem]
    assert [e.there for e in told(running)] == [False, True, True]
    assert not (tmp_path / "out" / "unfinished").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_people_keep_in_the_folder_stays(tmp_path, files, overwrite):
    out = tmp_path / "out"
    (out / "unfinished" / "a").mkdir(parents=True)
    (out / "unfinished" / "a" / "mine.txt").write_text("mine")
    (out / "classes").mkdir()
    shutil.copy(files[2], out / "classes" / "b.tif")
    write_image(tmp_path / "in" / "z.zarr")
    (out / "unfinished" / "z").mkdir()
    before = listing(out)
    files.append(tmp_path / "in" / "z.zarr")
    made = predict_files(predictor(tmp_path), files, overwrite=overwrite)
    first, second, third, fourth = told(made)
    assert (first.problem, third.problem) == (None, None)
    assert "does not tell that napari-unet made it" in second.problem
    assert "is no unfinished work of napari-unet" in fourth.problem
    assert (out / "classes" / "b.tif").read_bytes() == files[2].read_bytes()
    assert (out / "unfinished" / "z").is_dir()
    assert set(listing(out)) - set(before) == {"classes/a.tif", "classes/c.tif"}


def test_the_summary_has_no_row_of_an_image_whose_table_is_of_an_earlier_one(
    files, tmp_path
):
    told(predict_files(predictor(tmp_path, ("table",)), files))
    summary = tmp_path / "out" / "summary.csv"
    rows = summary.read_text("utf-8").splitlines()
    assert [row.split(",")[0] for row in rows] == ["image", "a", "b", "c"]
    write_image(files[1], seed=9)
    made = told(predict_files(predictor(tmp_path, ("table",)), files))
    assert [event.problem is None for event in made] == [True, False, True]
    assert summary.read_text("utf-8").splitlines() == [rows[0], rows[1], rows[3]]
