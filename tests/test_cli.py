from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
import tifffile

from example_models import random_model
from napari_unet.cli.info import summary
from napari_unet.cli.main import main
from napari_unet.core.model import ModelCard
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.training.training_settings import Training
from napari_unet.io.images import read_image
from napari_unet.io.model_file import load_model, read_card, save_model
from napari_unet.io.objects.catalogue import FORMATS
from waiting import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Machine

SMALL = (
    "--width",
    "4",
    "--depth",
    "2",
    "--patch",
    "36",
    "--batch",
    "2",
    "--device",
    "cpu",
)


def discs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:90, :80]
    labels = np.zeros(y.shape, np.uint8)
    for number in range(1, 8):
        cy, cx = rng.uniform(8, 72, 2)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 49] = number
    image = 1000 + 500 * (labels > 0) + rng.normal(0, 100, labels.shape)
    return image.astype(np.uint16), labels


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images with labels, and a model trained on them."""
    folder = tmp_path_factory.mktemp("data")
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for number in range(3):
        image, labels = discs(number)
        tifffile.imwrite(folder / "images" / f"field{number}.tif", image)
        tifffile.imwrite(folder / "labels" / f"field{number}.tif", labels)
    arguments = ["train", str(folder / "images"), str(folder / "labels")]
    model = str(folder / "model.safetensors")
    options = ("--steps", "100", "--validation", "none", "--labels", "instances")
    assert main([*arguments, "--output", model, *options, *SMALL]) == 0
    return folder


def failing(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run a command that has to fail; return its one sentence."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 1
    told = capsys.readouterr().err.strip()
    assert told.startswith("napari-unet: ")
    assert "\n" not in told
    assert told.endswith(".")
    return told


def test_train_predict_evaluate(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, output = data / "model.safetensors", tmp_path / "out"
    report = tmp_path / "report.json"
    command = ["predict", str(model), str(data / "images"), "--output", str(output)]
    assert main([*command, "--device", "cpu", "--json", str(report)]) == 0
    written = sorted(str(p.relative_to(output)) for p in output.rglob("*.tif"))
    names = [f"field{n}.tif" for n in range(3)]
    kinds = ("classes", "instances", "probabilities")
    assert written == [f"{kind}/{name}" for kind in kinds for name in names]
    probabilities = read_image(output / "probabilities" / "field0.tif")
    assert probabilities.axes == "cyx"
    assert probabilities.data.dtype == np.float32
    assert probabilities.data.shape == (2, 90, 80)
    told = json.loads(report.read_text())["images"]
    assert [row["image"].endswith(name) for row, name in zip(told, names, strict=True)]
    assert all(row["device"].startswith("cpu") and row["tile"] for row in told)
    scores = tmp_path / "scores.json"
    command = ["evaluate", str(output), str(data / "labels"), "--json", str(scores)]
    assert main([*command, "--metric", "iou", "ap", "pixel_error@0.5"]) == 0
    result = json.loads(scores.read_text())
    assert result["iou"] > 0.8
    assert result["ap@0.5"] > 0.5
    assert result["pixel_error@0.5"] < 0.1
    assert "iou" in capsys.readouterr().out


def test_one_channel_of_several_is_predicted_and_all_are_measured(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = tifffile.imread(data / "images" / "field0.tif")
    both = np.stack([grey.T[:80, :80], grey[:80]])
    tifffile.imwrite(tmp_path / "both.tif", both, metadata={"axes": "CYX"}, ome=True)
    tifffile.imwrite(tmp_path / "one.tif", grey[:80])
    model, out = data / "model.safetensors", tmp_path / "out"
    command = ("predict", model, tmp_path / "both.tif", "--output", out, "--device")
    saved = ("cpu", "--save", "probabilities,table")
    assert "the image has 2; name the one to be seen (--channel)." in failing(
        capsys, *command, *saved
    )
    assert "no channel 3" in failing(capsys, *command, *saved, "--channel", "3")
    one = [str(tmp_path / "one.tif") if "both" in str(a) else str(a) for a in command]
    assert main([*one, *saved]) == 0
    assert main([*map(str, command), *saved, "--channel", "2"]) == 0
    made = out / "probabilities"
    np.testing.assert_array_equal(
        tifffile.imread(made / "both.tif"), tifffile.imread(made / "one.tif")
    )
    (header, *_) = (out / "table" / "both.csv").read_text().splitlines()
    assert {"channel0_mean", "channel1_mean"} <= set(header.split(","))
    told = failing(capsys, *command, *saved, "--channel", "1")
    assert "of other settings: channel 2 instead of 1" in told


def test_one_channel_of_several_is_learnt(data: Path, tmp_path: Path) -> None:
    grey, labels = discs(0)
    (tmp_path / "i").mkdir()
    both = np.stack([grey, grey])
    tifffile.imwrite(tmp_path / "i" / "a.tif", both, metadata={"axes": "CYX"}, ome=True)
    tifffile.imwrite(tmp_path / "a.tif", labels)
    command = ["train", str(tmp_path / "i"), str(tmp_path / "a.tif"), *SMALL]
    output = tmp_path / "m.safetensors"
    command += ["--output", str(output), "--steps", "1", "--channel", "2"]
    assert main(command) == 0
    assert read_card(output).architecture.channels == 1


def test_a_second_run_skips_what_is_complete(data: Path, tmp_path: Path) -> None:
    command = ["predict", str(data / "model.safetensors"), str(data / "images")]
    command += ["--output", str(tmp_path), "--save", "instances", "--device", "cpu"]
    assert main(command) == 0
    masks = [tmp_path / "instances" / f"field{n}.tif" for n in range(3)]
    masks[1].unlink()
    before = [masks[0].stat().st_mtime_ns, masks[2].stat().st_mtime_ns]
    assert main(command) == 0
    assert masks[1].exists()
    assert [masks[0].stat().st_mtime_ns, masks[2].stat().st_mtime_ns] == before
    assert main([*command, "--overwrite"]) == 0
    assert masks[0].stat().st_mtime_ns > before[0]


def test_cells_are_saved_for_other_programs(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ["predict", data / "model.safetensors", data / "images"]
    command += ["--output", tmp_path / "out", "--device", "cpu", "--json", "-"]
    given = [str(part) for part in command]
    assert main([*given, "--save", "geojson, table,instances"]) == 0
    rows = json.loads(capsys.readouterr().out)["images"]
    scores = []
    for kind in ("instances", "geojson"):
        assert (
            main(["evaluate", str(tmp_path / "out" / kind), str(data / "labels")]) == 0
        )
        scores.append(capsys.readouterr().out)
    assert scores[0] == scores[1]
    for row in rows:
        table = tmp_path / "out" / "table" / f"{Path(row['image']).stem}.csv"
        assert len(table.read_text().splitlines()) == row["cells"] + 1 > 2
    told = failing(capsys, *command, "--save", "roi")
    assert "instances, table, points, rois, geojson, coco" in told
    missing = replace(FORMATS["coco"], package="no_such_package")
    monkeypatch.setitem(FORMATS, "coco", missing)
    told = failing(capsys, *command, "--save", "coco")
    assert "need the package no_such_package, which pip install" in told
    assert not (tmp_path / "out" / "coco").exists()


def test_cells_are_saved_of_results_that_are_there(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(data / "images" / "field0.tif")
    command = ["predict", str(data / "model.safetensors"), image, "--device", "cpu"]
    command += ["--output", str(tmp_path)]
    assert main(command) == 0
    capsys.readouterr()
    report = tmp_path / "report.json"
    assert main([*command, "--save", "geojson", "--json", str(report)]) == 0
    assert "field0.tif: done\n" in capsys.readouterr().err
    (row,) = json.loads(report.read_text())["images"]
    features = json.loads((tmp_path / "geojson" / "field0.geojson").read_text())
    assert row["cells"] == len(features["features"])
    assert "seconds" not in row


def test_predictions_of_other_settings_or_precision_are_not_mixed(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = data / "images" / "field0.tif"
    command = ["predict", data / "model.safetensors", image]
    command += ["--output", tmp_path, "--save", "classes", "--device", "cpu"]
    assert main([str(part) for part in command]) == 0
    noted = json.loads((tmp_path / "prediction.json").read_text())
    other = {"fp32": "bf16", "bf16": "fp32"}[noted["prediction"]["precision"]]
    for name, value in (("threshold", "0.7"), ("precision", other), ("axes", "yx")):
        told = failing(capsys, *command, f"--{name}", value)
        assert "is a result of other settings: " in told
        assert f"instead of {value}; use another folder or --overwrite." in told


def test_settings_that_would_change_nothing_are_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", data / "model.safetensors", data / "images"]
    command += ["--output", tmp_path / "out", "--device", "cpu"]
    told = failing(capsys, *command, "--membrane", "0.3")
    assert "--membrane 0.3 is for --cells-by multicut" in told
    told = failing(capsys, *command, "--edge-smoothing", "3")
    assert "for models of regions alone" in told
    if find_spec("bioimage_cpp") is None:
        told = failing(capsys, *command, "--cells-by", "multicut")
        assert "needs the package bioimage-cpp, which pip install" in told
    assert not (tmp_path / "out").exists()


def test_a_batch_goes_on_behind_bad_files_and_lists_them_at_the_end(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, report = tmp_path / "in", tmp_path / "report.json"
    source.mkdir()
    for number in range(4):
        name = f"field{number}.tif"
        shutil.copy(data / "images" / f"field{number % 3}.tif", source / name)
    (source / "field1.tif").write_bytes(b"no image")
    (source / "field2\n\x1b[2J.tif").write_bytes(b"no image")
    command = ["predict", str(data / "model.safetensors"), str(source), "--save"]
    command += ["instances", "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*command, "--json", str(report)]) == 1
    told = capsys.readouterr().err
    assert "\x1b" not in told
    end = told.splitlines()[-3:]
    assert end[0] == "3 of 5 images are done; not done:"
    assert [line.split(": ")[:3] for line in end[1:]] == [
        ["napari-unet", str(source / name), "cannot be read as an image"]
        for name in ("field1.tif", "field2\\n\\x1b[2J.tif")
    ]
    rows = json.loads(report.read_text())["images"]
    assert [Path(row["image"]).name for row in rows if "cells" in row] == [
        f"field{n}.tif" for n in (0, 2, 3)
    ]
    assert ["cannot be read" in r["problem"] for r in rows if "problem" in r] == [
        True
    ] * 2


def test_ctrl_c_in_a_batch_says_what_was_done(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from napari_unet.cli.progress import ProgressLine

    say, report = ProgressLine.say, tmp_path / "report.json"

    def press(line: ProgressLine, text: str) -> None:
        say(line, text)
        if text.startswith("field1.tif: done"):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ProgressLine, "say", press)
    command = ["predict", str(data / "model.safetensors"), str(data / "images")]
    command += ["--output", str(tmp_path / "out"), "--json", str(report)]
    assert main([*command, "--device", "cpu"]) == 130
    assert "interrupted; 2 of 3 images are done" in capsys.readouterr().err
    assert len(json.loads(report.read_text())["images"]) == 2
    kinds = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert kinds == ["classes", "instances", "probabilities"]


@pytest.mark.parametrize("command", ["predict", "evaluate", "train", "info"])
def test_a_report_that_cannot_be_written_is_found_out_before_the_work(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    images, output = data / "images", ("--output", tmp_path / "out")
    arguments: tuple[str | Path, ...] = {
        "predict": (data / "model.safetensors", images, *output),
        "evaluate": (data / "labels", data / "labels"),
        "train": (images, data / "labels", *output),
        "info": (),
    }[command]
    label = data / "labels" / "field0.tif"
    before = label.read_bytes()
    for report, sentence in (
        (tmp_path / "none" / "r.json", "its folder does not exist"),
        (tmp_path, "found the folder"),
        (label, "is no report of napari-unet, so it is not replaced"),
    ):
        told = failing(capsys, command, *arguments, "--json", report)
        assert sentence in told
    assert label.read_bytes() == before
    assert not list(tmp_path.iterdir())


def test_ctrl_c_before_the_first_step_promises_no_checkpoint(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from napari_unet.cli import train

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "follow", interrupt)
    command = ["train", str(data / "images"), str(data / "labels"), "--steps", "2"]
    command += ["--labels", "instances", "--output", str(tmp_path / "m.safetensors")]
    checkpoint = tmp_path / "m.checkpoint.safetensors"  # of an earlier run
    shutil.copy(data / "model.safetensors", checkpoint)
    assert main([*command, *SMALL]) == 130
    told = capsys.readouterr().err
    assert "nothing is kept of this run" in told
    assert "--resume" not in told


def test_a_training_that_plans_itself_says_why_and_keeps_it(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, report = tmp_path / "auto.safetensors", tmp_path / "report.json"
    command = ["train", str(data / "images"), str(data / "labels"), "--preset", "auto"]
    command += ["--labels", "instances", "--steps", "2", "--device", "cpu"]
    command += ["--width", "4", "--patch", "36", "--json", str(report)]
    assert main([*command, "--output", str(model)]) == 0
    told = capsys.readouterr().err
    reason = "5 % of the 21600 annotated pixels are 0.8 patches; a step takes 4 to 31"
    assert f"batch 4: {reason} on a CPU." in told
    training = read_card(model).training
    assert [d.field for d in training.decisions] == ["depth", "batch"]
    assert training.by_hand == ("minutes", "patch", "steps", "width")
    assert (training.width, training.patch, training.batch) == (4, 36, 4)
    decisions = json.loads(report.read_text())["decisions"]
    assert [d["field"] for d in decisions] == ["depth", "batch"]
    assert main(["info", str(model)]) == 0
    assert f"batch 4: {reason}" in capsys.readouterr().out
    # the budget alone is another: the rest is as it was planned
    command[command.index("2")] = "3"
    del command[command.index("--width") : command.index("--json")]
    assert main([*command, "--output", str(model), "--resume"]) == 0
    assert read_card(model).training == training.replace(steps=3)


def test_several_networks_are_one_model(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "three.safetensors"
    command = ["train", str(data / "images"), str(data / "labels"), "--steps", "6"]
    command += ["--labels", "instances", *SMALL, "--output", str(model)]
    assert main([*command, "--folds", "3", "--json", str(tmp_path / "r.json")]) == 0
    told = capsys.readouterr().err
    assert "network 3 of 3, 1 of 3 slices held out." in told
    assert json.loads((tmp_path / "r.json").read_text())["networks"] == 3
    files = {file.name for file in tmp_path.iterdir()}
    assert files == {
        *("three.safetensors", "three.checkpoint.safetensors", "three.run"),
        "r.json",
    }
    assert main(["info", str(model)]) == 0
    assert "the mean of 3 such networks" in capsys.readouterr().out
    image, output = data / "images" / "field0.tif", tmp_path / "out"
    assert main(["predict", str(model), str(image), "--output", str(output)]) == 0
    told = failing(capsys, *command, "--folds", "11")
    assert told == "napari-unet: folds should be less than or equal to 10, found 11."
    told = failing(capsys, *command, "--init", model)
    assert "is the mean of 3 networks" in told


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_training_resumes_to_the_same_model(data: Path, tmp_path: Path) -> None:
    arguments = ["train", str(data / "images"), str(data / "labels")]
    arguments += ["--labels", "instances", *SMALL, "--precision", "fp32"]
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    assert main([*arguments, "--steps", "60", "--output", str(whole)]) == 0
    command = [*arguments, "--steps", "60", "--output", str(parts)]
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_unet.cli.main", *command],
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in _lines(process):
        if line.startswith("step"):
            break
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130, told
    assert "go on with --resume" in told
    assert not parts.exists()
    stopped = read_card(tmp_path / "parts.checkpoint.safetensors").steps
    assert 0 < stopped < 60
    assert main([*command, "--resume"]) == 0
    first, second = load_model(whole), load_model(parts)
    assert second.card.steps == 60
    for name, weight in first.weights.items():
        np.testing.assert_array_equal(weight, second.weights[name])


def test_what_has_changed_since_the_checkpoint_is_told(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("images", "labels"):
        shutil.copytree(data / kind, tmp_path / kind)
    labels = tmp_path / "labels" / "field0.tif"
    where = [str(tmp_path / "images"), str(tmp_path / "labels")]
    given = [*SMALL, "--labels", "instances", "--validation", "none"]
    output = ["--output", str(tmp_path / "m.safetensors")]

    def told(steps: int, *more: str, packed: bool = False) -> list[str]:
        budget = ["--steps", str(steps)]
        source = [*where, *given]
        if packed:
            bundle = str(tmp_path / "b.zip")
            assert main(["bundle", *source, *more, *budget, "--output", bundle]) == 0
            source, more = [bundle], ()
        capsys.readouterr()
        assert main(["train", *source, *budget, *output, "--resume", *more]) == 0
        lines = capsys.readouterr().err.splitlines()
        return [line for line in lines if line.startswith("it goes on from a check")]

    assert main(["train", *where, *given, "--steps", "1", *output]) == 0
    assert told(1) == []
    (line,) = told(2, "--momentum", "0.8")
    assert line.endswith("settings: momentum 0.8 (before 0.9), steps 2 (before 1).")
    # from a bundle it is the same
    assert told(2, "--momentum", "0.8", packed=True) == []
    swapped = tifffile.imread(labels)[::-1]
    tifffile.imwrite(labels, np.ascontiguousarray(swapped))
    (line,) = told(2, "--momentum", "0.8", packed=True)
    assert line.endswith("the same as before: the annotation.")
    image = tifffile.imread(tmp_path / "images" / "field1.tif")
    tifffile.imwrite(tmp_path / "images" / "field1.tif", image + 1)
    (line,) = told(2, "--momentum", "0.8")
    assert line.endswith("the same as before: images with other pixels: field1.")


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.parametrize("sent", ["SIGTERM", "SIGHUP"])
def test_a_training_that_is_asked_to_end_goes_on_later(
    data: Path, tmp_path: Path, sent: str
) -> None:
    number = getattr(signal, sent)
    model = tmp_path / "m.safetensors"
    arguments = ["train", str(data / "images"), str(data / "labels"), *SMALL]
    arguments += ["--labels", "instances", "--steps", "100000", "--output", str(model)]
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_unet.cli.main", *arguments],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in _lines(process):
            if line.startswith("step"):
                break
        process.send_signal(number)
        _, told = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    assert process.returncode == 128 + number, told
    assert "Traceback" not in told
    checkpoint = tmp_path / "m.checkpoint.safetensors"
    end = f"interrupted; go on with --resume ({checkpoint})."
    assert told.splitlines()[-1] == end
    steps = read_card(checkpoint).steps
    assert steps > 0
    arguments[arguments.index("100000")] = str(steps + 2)
    assert main([*arguments, "--resume"]) == 0
    assert read_card(model).steps == steps + 2


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_a_signal_that_is_ignored_from_the_start_stays_ignored(data: Path) -> None:
    """As those of the terminal are under nohup."""
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from napari_unet.cli import info, main\n"
        "run = info.run\n"
        "def hung_up(options):\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
        "    return run(options)\n"
        "info.run = hung_up\n"
        "sys.exit(main.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "info", str(data / "model.safetensors")]
    assert subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.parametrize("module", ["pydantic", "numpy", "napari_unet.cli.train"])
def test_ctrl_c_during_an_import_is_no_traceback(tmp_path: Path, module: str) -> None:
    """It is pressed when a module begins to be loaded."""
    code = (
        "import signal, sys\n"
        "class Presses:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Presses())\n"
        "from napari_unet.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "train", "a", "b", "--output", "c"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 130
    assert done.stderr == "napari-unet: interrupted.\n"


@pytest.mark.parametrize("error", [ValueError, OSError, RuntimeError, KeyError])
def test_an_error_of_a_running_training_tells_what_is_kept(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    from napari_unet.engine.training.sampling import Sampler

    draw = Sampler.draw

    def broken(self: Sampler, step: int, size: int) -> object:
        if step == 3:
            raise error("the disk is gone.")
        return draw(self, step, size)

    monkeypatch.setattr(Sampler, "draw", broken)
    command = ["train", str(data / "images"), str(data / "labels"), "--steps", "9"]
    command += ["--labels", "instances", "--output", str(tmp_path / "m.safetensors")]
    assert main([*command, *SMALL]) == 1
    checkpoint = tmp_path / "m.checkpoint.safetensors"
    *_, kept, why = capsys.readouterr().err.splitlines()
    assert kept == f"the training broke off; go on with --resume ({checkpoint})."
    assert "the disk is gone" in why
    monkeypatch.undo()
    assert main([*command, *SMALL, "--resume"]) == 0


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stderr is not None
    while line := process.stderr.readline():
        yield line


@pytest.mark.parametrize(
    ("seconds", "steps", "code"), [(0.5, 58, 0), (4.0, 7, 1), (100.0, 1, 1)]
)
def test_a_budget_in_minutes_counts_from_the_start_of_the_process(
    data: Path,
    tmp_path: Path,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    steps: int,
    code: int,
) -> None:
    machine.step = seconds
    # half of the minute is over, and half a second is kept to write the model
    now = psutil.Process().create_time() + 30
    monkeypatch.setattr("napari_unet.cli.train.time.time", lambda: now)
    command = ["train", data / "images", data / "labels", *SMALL, "--minutes", "1"]
    command += ["--labels", "instances", "--validation", "none"]
    command += ["--output", tmp_path / "m.safetensors", "--json", tmp_path / "m.json"]
    assert main([str(part) for part in command]) == code
    report = json.loads((tmp_path / "m.json").read_text())
    assert report["steps"] == steps
    problem = report["problem"] or ""
    assert ("in 1 minute; the computer is busy" in problem) == (code == 1)
    assert report["verdict"] == problem or not problem


def test_weights_are_written_as_an_image(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "weights.tif"
    labels = str(data / "labels" / "field0.tif")
    command = ["weights", labels, "--output", str(target), "--labels", "instances"]
    assert main([*command, "--w0", "7"]) == 0
    weights = read_image(target)
    assert weights.data.dtype == np.float32
    assert 0 < np.asarray(weights.data).max() <= 7


def test_info_tells_of_installation_and_model(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info"]) == 0
    told = capsys.readouterr().out
    assert "torch" in told
    assert "precision" in told
    assert "cuda" in told
    assert main(["info", str(data / "model.safetensors")]) == 0
    told = capsys.readouterr().out
    assert "100 steps" in told
    assert "field0" in told
    assert main(["info", str(data / "model.safetensors"), "--json", "-"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["architecture"]["channels"] == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "18 × 18 pixels and larger by 2 × 2, of which 8 × 8 on each side"),
        ({"padded": True, "window": (32, 32)}, "32 × 32 pixels, one each 16 × 16, ble"),
        # a model of before there were windows
        ({"norm": "instance"}, "256 × 256 pixels, one each 128 × 128, blended"),
    ],
)
def test_info_tells_which_windows_a_network_sees(
    changes: dict[str, object], words: str
) -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=2, depth=1).replace(**changes)
    card = ModelCard(architecture=table, classes=(), training=Training())
    windows = summary(card)["windows"]
    assert windows.startswith(words)
    assert ("The model file records no window" in windows) is ("norm" in changes)


def test_predict_says_that_a_window_is_assumed(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = u_shape(ndim=2, channels=1, classes=2, width=2, depth=1, norm="instance")
    model, image = tmp_path / "old.safetensors", tmp_path / "a.tif"
    tifffile.imwrite(image, np.zeros((30, 40), np.uint8))
    sentence = "old.safetensors: The model file records no window, so that a usual one"
    for window, said in ((None, True), ((32, 32), False)):
        save_model(random_model(table.replace(window=window)), model)
        output = str(tmp_path / str(said))
        command = ["predict", str(model), str(image), "--output", output]
        assert main([*command, "--device", "cpu"]) == 0
        assert (sentence in capsys.readouterr().err) is said


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("unet", "2-D U-Net, 3 poolings, widths 16, 32, 64, 128"),
        ("resunet", "2-D Residual U-Net, 3 strides, widths 16, 32, 64, 128"),
        ("vnet", "2-D V-Net, 3 strides, widths 16, 32, 64, 128"),
    ],
)
def test_info_says_how_a_network_reduces(network: str, words: str) -> None:
    training = Training().with_network(network)
    table = training.architecture(channels=1, classes=2)
    card = ModelCard(architecture=table, classes=(), training=training)
    assert summary(card)["network"] == words


def test_the_networks_are_listed_with_sizes_and_papers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["networks", "--json", "-"]) == 0
    listed = json.loads(capsys.readouterr().out)["networks"]
    kinds = [(name, n) for name, entry in NETWORKS.items() for n in entry.ndims]
    assert [(row["network"], row["axes"]) for row in listed] == kinds
    assert listed[0]["halo"] == [44, 44]
    assert listed[0]["parameters"] == 483_170
    assert main(["networks", "--preset", "paper"]) == 0
    head, first, *rest = capsys.readouterr().out.splitlines()
    assert head.split()[:5] == ["network", "axes", "parameters", "halo", "step"]
    assert first.split()[:6] == ["unet", "2-D", "31,030,658", "92", "16", "188"]
    assert len(rest) == len(kinds) - 1


def test_a_model_keeps_the_network_it_started_with(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = replace(NETWORKS["unet"], title="Other net", recipe={2: {"width": 3}})
    monkeypatch.setitem(NETWORKS, "other", other)  # type: ignore[arg-type]
    output = str(tmp_path / "a.safetensors")
    inputs = ("train", str(data / "images"), str(data / "labels"), "--output", output)
    small = ("--depth", "1", "--patch", "20", "--steps", "2", "--device", "cpu")
    assert main([*inputs, *small, "--network", "other"]) == 0
    card = read_card(output)
    assert (card.training.network, card.training.width) == ("other", 3)
    assert main(["info", output]) == 0
    assert "2-D Other net, 1 pooling, widths 3, 6" in capsys.readouterr().out
    again = (*inputs, *small, "--init", output)
    assert main([*again]) == 0
    assert read_card(output).training.network == "other"
    assert read_card(output).training.width == 3
    for option, own, other in (("network", "other", "unet"), ("width", "3", "8")):
        told = failing(capsys, *again, f"--{option}", other)
        assert f"its {option} is {own}, so training that begins with" in told
        assert told.endswith(f"cannot have --{option} {other}.")
    assert main([*inputs, "--patch", "20", "--steps", "3", "--resume"]) == 0
    told = failing(capsys, *inputs, *small, "--resume", "--norm", "none")
    assert "its norm is batch" in told


def test_a_model_to_start_from_brings_the_recipe_of_its_network(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {2: {"batch": 2, "patch": 24, "depth": 1, "width": 2}}
    other = replace(NETWORKS["unet"], title="Other net", recipe=recipe)
    monkeypatch.setitem(NETWORKS, "other", other)  # type: ignore[arg-type]
    output = str(tmp_path / "a.safetensors")
    inputs = ("train", str(data / "images"), str(data / "labels"), "--output", output)
    usual = ("--steps", "2", "--device", "cpu")
    assert main([*inputs, *usual, "--network", "other"]) == 0
    first = read_card(output).training
    assert main([*inputs, *usual, "--init", output]) == 0
    assert read_card(output).training == first


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("unetr", "--depth", "3"), "--depth cannot be 3: of UNETR it is 4."),
        (("unetr", "--norm", "batch"), "--norm cannot be batch: of UNETR it is inst"),
        (("unetr", "--no-padded"), "--padded cannot be no: of UNETR it is yes."),
        (("fcn8", "--depth", "4"), "--depth cannot be 4: of FCN-8s it is 5."),
        (("ternaus", "--depth", "6"), "has 5 poolings at most, found a depth of 6."),
        (
            ("ternaus", "--encoder", "imagenet", "--width", "16"),
            "--width cannot be 16: of TernausNet with ImageNet's weights it is 64.",
        ),
        (("vnet", "--encoder", "imagenet"), "no ImageNet weights for V-Net."),
        (
            ("unet", "--border-near-sigma", "3"),
            "--border-near-sigma is for --border-scheme fiji, found paper.",
        ),
    ],
)
def test_what_a_network_leaves_no_choice_of_is_refused(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    sentence: str,
) -> None:
    command = ["train", data / "images", data / "labels", "--labels", "instances"]
    output = ("--output", tmp_path / "m.safetensors", "--steps", "2")
    assert sentence in failing(capsys, *command, *output, "--network", *options)
    assert not list(tmp_path.iterdir())


def test_a_network_that_is_for_slices_takes_no_volumes(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flat = replace(NETWORKS["unet"], title="Flat net", ndims=(2,))
    monkeypatch.setitem(NETWORKS, "flat", flat)  # type: ignore[arg-type]
    images, output = str(data / "images"), str(tmp_path / "a.safetensors")
    call = ["train", images, images, "--output", output, "--network", "flat", "--3d"]
    assert main(call) == 1
    told = capsys.readouterr().err
    assert told == "napari-unet: Flat net is for slices (2-D) alone.\n"


def test_a_zarr_is_predicted_to_a_zarr(data: Path, tmp_path: Path) -> None:
    from napari_unet.io.export import write_weights

    stack = np.stack([discs(n)[0] for n in range(2)])
    write_weights(tmp_path / "stack.zarr", stack.astype(np.float32), "zyx")
    tifffile.imwrite(tmp_path / "stack2.tif", stack)
    command = ["predict", str(data / "model.safetensors"), str(tmp_path / "stack.zarr")]
    command += [str(tmp_path / "stack2.tif"), "--output", str(tmp_path / "out")]
    assert main([*command, "--device", "cpu"]) == 0
    folder = tmp_path / "out" / "probabilities"
    zarr, tiff = read_image(folder / "stack.zarr"), read_image(folder / "stack2.tif")
    assert (zarr.axes, tiff.axes) == ("czyx", "zcyx")
    np.testing.assert_allclose(
        np.moveaxis(np.asarray(zarr.data[...]), 0, 1), np.asarray(tiff.data), atol=1e-2
    )
    cells = read_image(tmp_path / "out" / "instances" / "stack.zarr")
    assert cells.data.shape == stack.shape


def test_help_is_quick_and_loads_no_torch() -> None:
    code = (
        "import sys; from napari_unet.cli.main import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for option in ("--output", "--labels", "--resume", "--w0", "--elastic"):
        assert option.strip("-") in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="has no such names")
@pytest.mark.parametrize(
    "name", ["cells_12:30.safetensors", f"{'x' * 230}.safetensors"]
)
def test_a_model_whose_run_could_not_be_kept_is_not_trained(
    data: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    command = ["train", data / "images", data / "labels", "--steps", "1", *SMALL]
    told = failing(capsys, *command, "--output", data / name)
    assert f"{name}: its name should be the plain name of a file, without" in told
    assert not (data / name).exists()


def test_a_model_that_would_take_the_run_of_another_is_refused(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = (data / "model.run" / "run.json").read_bytes()
    command = ["train", data / "images", data / "labels", "--steps", "1", *SMALL]
    told = failing(capsys, *command, "--output", data / "model")
    assert "model.run beside it is the run of model.safetensors" in told
    assert (data / "model.run" / "run.json").read_bytes() == record


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda f: None, "no image is in the folder"),
        (lambda f: (f / "field0.tif").write_bytes(b"no"), "cannot be read as an image"),
        (
            lambda f: tifffile.imwrite(f / "a.tif", np.zeros((9, 9))),
            "without a partner",
        ),
        (
            lambda f: tifffile.imwrite(f / "field0.tif", np.zeros((9, 9), np.uint8)),
            "equal sizes",
        ),
        (
            lambda f: tifffile.imwrite(
                f / "field0.tif", np.full((90, 80), -1, np.int16)
            ),
            "integers from 0 on, found -1",
        ),
        (
            lambda f: tifffile.imwrite(f / "field0.tif", np.full((90, 80), 0.5)),
            "integers from 0 on, found 0.5",
        ),
        (
            lambda f: tifffile.imwrite(f / "field0.tif", np.zeros((90, 80), np.uint8)),
            "only background is annotated",
        ),
    ],
)
def test_bad_labels_give_one_sentence_and_leave_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], make, sentence: str
) -> None:
    labels, output = tmp_path / "labels", tmp_path / "out"
    labels.mkdir()
    output.mkdir()
    make(labels)
    command = ["train", data / "images", labels, "--output", output / "m.safetensors"]
    told = failing(capsys, *command, "--labels", "instances", "--steps", "2", *SMALL)
    assert sentence in told
    assert not list(output.iterdir())


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda f: tifffile.imwrite(f, np.full((90, 80), np.nan)), "found nan at"),
        (lambda f: tifffile.imwrite(f, np.full((90, 80), np.inf)), "found inf at"),
        (lambda f: f.write_bytes(b""), "cannot be read as an image"),
        (lambda f: f.write_bytes(b"II*\0garbage"), "cannot be read as an image"),
        (
            lambda f: tifffile.imwrite(
                f, np.full((20, 20, 3), (9, 6, 3), np.uint8), photometric="rgb"
            ),
            "trained on 1 channel",
        ),
    ],
    ids=["nan", "inf", "empty", "damaged", "colour"],
)
def test_bad_images_give_one_sentence_and_leave_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], make, sentence: str
) -> None:
    image, output = tmp_path / "bad.tif", tmp_path / "out"
    make(image)
    command = ["predict", data / "model.safetensors", image, "--output", output]
    assert sentence in failing(capsys, *command, "--device", "cpu")
    assert not [p for p in output.rglob("*") if p.is_file() and p.suffix != ".json"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--validation", "much"), "share between 0 and 0.5"),
        (
            ("--validation", "0.9"),
            "validation should be less than or equal to 0.5, found 0.9",
        ),
        (("--patch", "1"), "patch should be greater than or equal to 4, found 1"),
        (("--minutes", "-1"), "minutes should be greater than or equal to 0, found -1"),
        (("--device", "tpu"), "device must be"),
        (("--device", "cuda:7"), "is not there"),
        (("--precision", "fp16", "--device", "cpu"), "precision fp16 is for GPUs"),
        (("--init", "nowhere.safetensors"), "there is no model file"),
        (("--resume",), "there is no checkpoint"),
    ],
)
def test_bad_options_give_one_sentence(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    sentence: str,
) -> None:
    command = ["train", data / "images", data / "labels", "--labels", "instances"]
    if "--minutes" not in options:
        command += ["--steps", "2"]
    told = failing(capsys, *command, "--output", tmp_path / "m.safetensors", *options)
    assert sentence in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("axes", ["", "zq", "zzyx", "zx", "\x1b[2J"])
def test_axes_of_no_image_are_refused_at_once(
    capsys: pytest.CaptureFixture[str], axes: str
) -> None:
    with pytest.raises(SystemExit):
        main(["predict", "nuclei", "a.tif", "b.tif", "--output", "out", "--axes", axes])
    (told,) = [n for n in capsys.readouterr().err.splitlines() if "error" in n]
    assert told.endswith(f"any of t, c, z, each once; found {axes!r}.")


def test_a_folder_that_cannot_be_written_is_found_out_before_training(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    command = ["train", data / "images", data / "labels", "--labels", "instances"]
    told = failing(capsys, *command, "--output", tmp_path / "file" / "m.safetensors")
    assert "cannot be written" in told
    told = failing(capsys, *command, "--output", tmp_path / "none" / "m.safetensors")
    assert "its folder does not exist" in told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_and_leaves_nothing(data: Path, tmp_path: Path) -> None:
    # a limit on the size of files is met by the real write, as a full disk is
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "from napari_unet.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "predict", str(data / "model.safetensors")]
    command += [str(data / "images"), "--output", str(tmp_path), "--device", "cpu"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": "0"},
    )
    assert done.returncode == 1, done.stderr
    assert "cannot be written" in done.stderr.splitlines()[-1]
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_a_newer_or_damaged_model_is_told(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes((data / "model.safetensors").read_bytes()[:5000])
    output = tmp_path / "out"
    told = failing(capsys, "predict", damaged, data / "images", "--output", output)
    assert "damaged or incomplete" in told
    assert not output.exists()


def test_classes_are_compared_as_one_where_the_prediction_tells_one(
    tmp_path: Path,
) -> None:
    from napari_unet.cli.evaluation import evaluate

    for kind in ("classes", "truth"):
        (tmp_path / kind).mkdir()
    found, truth = np.zeros((6, 6), np.uint8), np.zeros((6, 6), np.uint8)
    found[:2], truth[:1], truth[1:3] = 255, 1, 2
    tifffile.imwrite(tmp_path / "classes" / "a.tif", found)
    tifffile.imwrite(tmp_path / "truth" / "a.tif", truth)
    one = evaluate(tmp_path, [tmp_path / "truth"], ["iou"])
    assert one["iou"] == pytest.approx(2 / 3)
    found[1:3], found[0] = 2, 1
    tifffile.imwrite(tmp_path / "classes" / "a.tif", found)
    several = evaluate(tmp_path, [tmp_path / "truth"], ["iou"])
    assert several == {"iou": 1.0, "iou_class_1": 1.0, "iou_class_2": 1.0}


def test_stacks_are_compared_page_by_page_or_as_volumes(tmp_path: Path) -> None:
    from napari_unet.cli.evaluation import evaluate

    # one object through two slices, found with another id in the second
    truth = np.ones((2, 6, 6), np.uint8)
    found = truth.copy()
    found[1] = 2
    for name, stack in (("found", found), ("truth", truth)):
        tifffile.imwrite(tmp_path / f"{name}.tif", stack)
    files = tmp_path / "found.tif", [tmp_path / "truth.tif"], ["ap"]
    assert evaluate(*files)["ap@0.5"] == 1.0
    assert evaluate(*files, volumes=True)["ap@0.5"] == pytest.approx(1 / 2)


def test_the_time_left_counts_only_what_this_process_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from napari_unet.cli import progress

    now = [100.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    left = progress.Countdown()
    assert left.seconds(0.5) is None  # half was there from before
    now[0] = 110.0
    assert left.seconds(0.6) == pytest.approx(40)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_is_a_bar_in_a_terminal_and_plain_lines_in_a_log(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    from napari_unet.cli import progress

    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "_SHOWN_AFTER", 0)
    line = progress.ProgressLine()
    line.show("step 1", 0.25, 30)
    line.say("a line that stays \x1b[2J")
    line.show("step 2", 0.5)  # too soon after the other
    written = stream.getvalue()
    assert ("\r" in written) == is_terminal
    assert "step 2" not in written
    assert written.endswith("a line that stays \\x1b[2J\n")
    if not is_terminal:
        assert written.startswith("step 1   25 %, 0:30 left\n")


def test_next_tells_which_tiles_to_annotate(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, report = str(data / "images"), tmp_path / "next.json"
    assert main(["next", images, "--count", "2", "--json", str(report)]) == 0
    told = capsys.readouterr()
    tiles = json.loads(report.read_text())["tiles"]
    assert len(tiles) == 2
    for number, (tile, line) in enumerate(
        zip(tiles, told.out.splitlines(), strict=True), start=1
    ):
        assert (tile["y"], tile["x"]) == ([0, 90], [0, 80])
        reasons = "; ".join(tile["reasons"])
        assert line == f"{number}. {tile['image']}, y 0:90, x 0:80: {reasons}."
    assert "3 images compared by their looks; nothing is annotated" in told.err

    one = tmp_path / "labels"
    one.mkdir()
    shutil.copy(data / "labels" / "field1.tif", one)
    model = str(data / "model.safetensors")
    more = ["--model", model, "--device", "cpu", "--json", "-"]
    assert main(["next", images, str(one), *more]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)["tiles"]
    assert {Path(t["image"]).name for t in found} == {"field0.tif", "field2.tif"}
    assert "1 of 3 images have labels." in told.err
    assert "by what is annotated" in told.err
    assert main(["next", images, "--count", "0"]) == 1
    assert "--count is 1 or more, found 0" in capsys.readouterr().err


def test_next_shows_grey_to_a_network_of_colours_as_it_is_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 255, (64, 64, 1), np.uint8), 3, axis=2)
    images = tmp_path / "images"
    images.mkdir()
    for name, data in (("grey", grey), ("colour", grey // np.array([1, 2, 3], "u1"))):
        tifffile.imwrite(images / f"{name}.tif", data, photometric="rgb")
    model = tmp_path / "m.safetensors"
    table = u_shape(ndim=2, channels=3, classes=2, width=2, depth=1)
    save_model(random_model(table), model)
    options = ["--model", str(model), "--device", "cpu", "--count", "2", "--json", "-"]
    assert main(["next", str(images), *options]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["looked_at"].startswith("2 tiles of 2 images compared")


def test_one_bad_image_is_told_and_tiles_of_the_others_are_suggested(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, report = tmp_path / "images", tmp_path / "r.json"
    shutil.copytree(data / "images", images)
    (images / "field1.tif").write_bytes(b"")
    assert main(["next", str(images), "--json", str(report)]) == 1
    assert f"{images / 'field1.tif'}: cannot be read" in capsys.readouterr().err
    found = json.loads(report.read_text())
    assert {Path(t["image"]).name for t in found["tiles"]} == {
        "field0.tif",
        "field2.tif",
    }
    assert len(found["problems"]) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="names are letters there")
@pytest.mark.parametrize("name", [b"caf\xe9", b"a\nb", b"\xc3\xbc" * 120, b"n" * 240])
def test_everything_is_written_of_a_file_of_any_name(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: bytes
) -> None:
    image = tmp_path / f"{os.fsdecode(name)}.tif"
    try:
        shutil.copy(data / "images" / "field0.tif", image)
    except OSError:
        pytest.skip("this disk takes no such name")
    command = ["predict", str(data / "model.safetensors"), str(image), "--output"]
    command += [str(tmp_path / "o"), "--save", "instances,table,points,geojson"]
    for _ in range(2):
        assert main([*command, "--device", "cpu"]) == 0
    assert "is there already" in capsys.readouterr().err


def test_a_name_too_long_for_a_result_is_told(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / f"{'n' * 245}.tif"
    shutil.copy(data / "images" / "field0.tif", image)
    command = ("predict", data / "model.safetensors", image, "--output", tmp_path / "o")
    capsys.readouterr()
    assert main([*map(str, command), "--save", "ome-zarr", "--device", "cpu"]) == 1
    told = capsys.readouterr().err
    assert "_labels.ome.zarr: file name too long." in told
    assert "Errno" not in told


def test_results_below_the_images_are_not_predicted_when_a_command_is_repeated(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(data / "images", tmp_path / "i")
    command = ["predict", data / "model.safetensors", f"{tmp_path}/i/**/*.tif"]
    command += ["--output", tmp_path / "i" / "out", "--device", "cpu"]
    assert main([*map(str, command), "--save", "classes"]) == 0
    capsys.readouterr()
    assert main([*map(str, command), "--save", "classes"]) == 0
    told = capsys.readouterr().err
    assert "3 results among the images left out" in told
    assert told.count("is there already") == 3


def test_a_table_of_a_person_is_found_before_the_work(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "o"
    output.mkdir()
    (output / "summary.csv").write_text("mine")
    command = (
        "predict",
        data / "model.safetensors",
        data / "images",
        "--save",
        "table",
    )
    told = failing(capsys, *command, "--output", output)
    assert "summary.csv is no summary of this program" in told
    assert [file.name for file in output.iterdir()] == ["summary.csv"]


def test_if_no_image_can_be_looked_at_all_that_is_wrong_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        (tmp_path / f"{name}.tif").write_bytes(b"no")
    assert main(["next", str(tmp_path), "--json", "-"]) == 1
    out, err = capsys.readouterr()
    assert len(json.loads(out)["problems"]) == 2
    for line, name in zip(err.splitlines(), "ab", strict=True):
        assert line.startswith(f"napari-unet: {tmp_path / name}.tif: cannot be read")


def test_files_may_be_named_behind_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as a file whose name begins like an option, behind the usual mark."""
    masks = tmp_path / "masks"
    masks.mkdir()
    tifffile.imwrite(masks / "-a.tif", np.eye(9, dtype=np.uint8))
    scores = ["--json", "-", str(masks)]
    assert main(["evaluate", str(masks), *scores]) == 0
    assert json.loads(capsys.readouterr().out)["iou"] == 1
    out, image = str(tmp_path / "out"), str(masks / "-a.tif")
    for command in (
        ["predict", "nuclei", "--output", out, "--device", "cpu", image],
        ["predict", "--output", out, "nuclei", "--device", "cpu", "--", image],
        ["predict", "nuclei", image, "--output", out, "--device", "cpu", "--", image],
    ):
        assert main(command) == 0
    with pytest.raises(SystemExit) as stopped:
        main(["predict", "nuclei", "--output", out, "--no-such-option", image])
    assert stopped.value.code == 2
    assert "unrecognized arguments: --no-such-option" in capsys.readouterr().err
