from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from example_jobs import train_job
from napari_unet.cli.main import main
from napari_unet.core.annotation.annotations import Annotation, ClassInfo
from napari_unet.core.events import ModelSaved, StepDone, TrainingFinished
from napari_unet.core.images.image import Field, Image, ImageFile
from napari_unet.core.training.methods import methods
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.replay import replay
from napari_unet.engine.training.preparation import RunOptions
from napari_unet.engine.training.run import TrainingRun
from napari_unet.engine.training.train import train
from napari_unet.engine.worker import training_job
from napari_unet.engine.worker.inbox import Task
from napari_unet.engine.worker.model_cache import Context, ModelCache
from napari_unet.io.model_file import load_model, save_model
from napari_unet.io.run_folder import save_run
from napari_unet.io.trained_run import read_run, run_folder_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Machine
    from napari_unet.core.events import Event

SMALL = ["--width", "4", "--depth", "2", "--patch", "36", "--batch", "2"]
SMALL += ["--device", "cpu"]


def discs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:90, :80]
    labels = np.zeros(y.shape, np.uint8)
    for number in range(1, 8):
        cy, cx = rng.uniform(8, 72, 2)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 49] = number
    image = 1000 + 500 * (labels > 0) + rng.normal(0, 100, labels.shape)
    return image.astype(np.uint16), labels


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for number in range(3):
        image, labels = discs(number)
        tifffile.imwrite(tmp_path / "images" / f"field{number}.tif", image)
        tifffile.imwrite(tmp_path / "labels" / f"field{number}.tif", labels)
    return tmp_path


def small(**changes: object) -> Training:
    settings = Training.quick().replace(
        width=4, depth=2, patch=36, batch=2, steps=40, minutes=0.0
    )
    return settings.replace(**changes)


def last(events: Iterator[Event]) -> TrainingFinished:
    *_, finished = events
    assert isinstance(finished, TrainingFinished)
    return finished


def trained(data: Path, *more: str) -> Path:
    model = data / "cells.safetensors"
    command = ["train", str(data / "images"), str(data / "labels")]
    command += ["--labels", "instances", *SMALL, *more, "--output", str(model)]
    assert main(command) == 0
    return model


def failing(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 1
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_a_run_from_files_is_repeated_to_the_last_byte(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, output = trained(data, "--steps", "40"), data / "results"
    predict = ["predict", str(model), str(data / "images"), "--output", str(output)]
    assert main([*predict, "--save", "probabilities,instances,table"]) == 0
    # what was annotated is in the folder, not where it was
    shutil.rmtree(data / "labels")
    command = ["replay", str(data / "cells.run"), "--output", str(data / "again")]
    assert main([*command, "--json", str(data / "r.json")]) == 0
    assert (data / "again" / model.name).read_bytes() == model.read_bytes()
    report = json.loads((data / "r.json").read_text())
    assert report["same"]
    assert len(report["results"]) == 9
    assert all(result["same"] for result in report["results"])
    for kind, suffix in (("probabilities", "tif"), ("table", "csv")):
        name = f"{kind}/field1.{suffix}"
        again = data / "again" / "predicted-1" / name
        assert again.read_bytes() == (output / name).read_bytes()


def test_a_budget_in_minutes_is_repeated_at_another_speed(
    data: Path, machine: Machine
) -> None:
    images = [tifffile.imread(data / "images" / f"field{n}.tif") for n in range(2)]
    labels = [tifffile.imread(data / "labels" / f"field{n}.tif") for n in range(2)]
    machine.step = 0.9
    settings = small(steps=0, minutes=1.0)
    finished = last(train(images, labels, settings, kind="instances", device="cpu"))
    model = data / "cells.safetensors"
    save_model(finished.model, model)
    save_run(finished, model)
    machine.step = 0.2
    again = last(replay(run_folder_of(model)))
    save_model(again.model, data / "again.safetensors")
    assert finished.steps == again.steps > 50
    assert (data / "again.safetensors").read_bytes() == model.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="has no such names")
def test_a_name_that_no_record_takes_is_told_in_a_sentence(tmp_path: Path) -> None:
    image, labels = discs(0)
    settings = small(steps=1)
    finished = last(train([image], [labels], settings, kind="instances", device="cpu"))
    model = tmp_path / "12:30.safetensors"
    save_model(finished.model, model)
    with pytest.raises(ValueError, match="model should be the plain name") as told:
        save_run(finished, model)
    assert str(told.value).startswith(f"{tmp_path / '12:30.run'}: cannot be written: ")
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == [model]


def test_corrections_are_repeated_at_their_steps(data: Path) -> None:
    image, labels = discs(0)
    known = np.where(labels > 0, labels + 1, 1).astype(np.int32)
    painted = np.where(np.arange(80) < 50, known, 0).astype(np.int32)
    classes = (ClassInfo(name="nuclei"), ClassInfo(name="debris", kind="regions"))
    class_of = {3: 2}
    field = Field(Image(image, "yx", name="well"))
    # later strokes must not reach what was learnt from before
    run = TrainingRun(
        [(field, Annotation(painted, classes, class_of))],
        small(),
        RunOptions(device="cpu"),
    )
    for event in run.events():
        if isinstance(event, StepDone) and event.step == 15:
            painted[:] = known
            run.correct(field, Annotation(painted, classes, class_of))
        if isinstance(event, StepDone) and event.step == 22:
            painted[:20] = 1
            box = (slice(0, 20), slice(0, 80))
            run.correct(field, Annotation(painted, classes, class_of), box)
    assert isinstance(event, TrainingFinished)
    model = data / "cells.safetensors"
    save_model(event.model, model)
    record = read_run(save_run(event, model))
    assert [c.step for c in record.corrections] == [15, 22]
    assert record.images[0].kept == "image-1.npy"
    save_model(last(replay(run_folder_of(model))).model, data / "a.safetensors")
    assert (data / "a.safetensors").read_bytes() == model.read_bytes()


def test_several_networks_and_a_start_are_repeated(data: Path) -> None:
    first = trained(data, "--steps", "30")
    start = first.rename(data / "start.safetensors")
    model = trained(data, "--steps", "30", "--init", str(start))
    start.unlink()
    assert main(["replay", str(model), "--output", str(data / "again")]) == 0
    assert (data / "again" / model.name).read_bytes() == model.read_bytes()
    model = trained(data, "--steps", "9", "--folds", "3")
    assert len(read_run(run_folder_of(model)).timetables) == 3
    assert main(["replay", str(model), "--output", str(data / "folds")]) == 0
    assert (data / "folds" / model.name).read_bytes() == model.read_bytes()


@pytest.mark.parametrize("task", ["regress", "denoise"])
def test_images_in_place_of_masks_are_repeated(data: Path, task: str) -> None:
    model = data / "made.safetensors"
    targets = [str(data / "labels")] if task == "regress" else []
    command = ["train", str(data / "images"), *targets, "--task", task, *SMALL]
    assert main([*command, "--steps", "20", "--output", str(model)]) == 0
    assert main(["replay", str(model), "--output", str(data / "again")]) == 0
    assert (data / "again" / model.name).read_bytes() == model.read_bytes()


def test_a_run_that_was_interrupted_is_repeated_as_a_whole(data: Path) -> None:
    images = [discs(n)[0] for n in range(2)]
    labels = [discs(n)[1] for n in range(2)]
    checkpoint, model = data / "c.safetensors", data / "cells.safetensors"
    job = train(
        images,
        labels,
        small(),
        kind="instances",
        checkpoint=checkpoint,
        device="cpu",
    )
    for event in job:
        if isinstance(event, StepDone) and event.step == 17:
            break
    job.close()
    resumed = train(
        images, labels, small(), kind="instances", resume=checkpoint, device="cpu"
    )
    finished = last(resumed)
    save_model(finished.model, model)
    record = read_run(save_run(finished, model))
    assert record.problem is None
    assert len(record.timetables[0].progress) == 40
    again = last(replay(run_folder_of(model))).model
    for name, weight in load_model(model).weights.items():
        np.testing.assert_array_equal(again.weights[name], weight)
    # other annotation than it began with: the steps before are not known
    labels[0] = np.zeros_like(labels[0])
    labels[0][5:15, 5:15] = 1
    job = train(
        images,
        labels,
        small(steps=50),
        kind="instances",
        resume=checkpoint,
        device="cpu",
    )
    save_run(last(job), model)
    with pytest.raises(ValueError, match="after step 17 with other annotation"):
        last(replay(run_folder_of(model)))


def test_what_is_missing_or_changed_is_told(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(data, "--steps", "3")
    run, again = data / "cells.run", data / "again"
    told = failing(capsys, "replay", data / "images", "--output", again)
    assert told.endswith("is not the folder of a run, which has a run.json in it.")
    told = failing(capsys, "replay", run, "--output", data)
    assert "the model of the run is there and would be replaced" in told
    moved = data / "moved"
    (data / "images").rename(moved)
    told = failing(capsys, "replay", run, "--output", again)
    assert "field0.tif: the run learnt from it" in told
    assert told.endswith("name the folder where it is now with --images.")
    assert (
        main(["replay", str(run), "--images", str(moved), "--output", str(again)]) == 0
    )
    image = tifffile.imread(moved / "field1.tif")
    image[40, 40] += 1
    tifffile.imwrite(moved / "field1.tif", image)
    told = failing(capsys, "replay", run, "--images", moved, "--output", again)
    assert told == "napari-unet: field1: changed since the run learnt from it."
    tifffile.imwrite(moved / "field1.tif", np.stack([image, image]))
    told = failing(capsys, "replay", run, "--images", moved, "--output", again)
    assert "its axes are zyx, then they were yx" in told
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"version": 2}))
    told = failing(capsys, "replay", run, "--output", again)
    assert "is damaged, or of a newer napari-unet: version" in told


@pytest.mark.parametrize(
    ("name", "text"), [("mine.txt", "mine"), ("run.json", '{"format": "marathon"}')]
)
def test_a_folder_of_something_else_is_left_alone(
    data: Path, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    (data / "cells.run").mkdir()
    (data / "cells.run" / name).write_text(text)
    trained(data, "--steps", "3")
    told = capsys.readouterr().err
    assert "how it was trained is not kept" in told
    (left,) = (data / "cells.run").iterdir()
    assert (left.name, left.read_text()) == (name, text)


def test_the_methods_have_the_figures_of_the_run(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = trained(data, "--steps", "40", "--seed", "7")
    capsys.readouterr()
    assert main(["methods", str(model)]) == 0
    text = capsys.readouterr().out
    card = load_model(model).card
    assert card.score is not None
    objects = sum(len(np.unique(discs(n)[1])) - 1 for n in range(3))
    for part in (
        "a 2-D U-Net (Ronneberger et al. 2015; Çiçek et al. 2016)",
        "3 planes (field0, field1, field2)",
        f"21600 pixels and {objects} objects were annotated",
        "random weights and took 40 steps in ",
        "seed 7), each with 2 patches of 36 × 36 pixels",
        f"On {card.score.pixels} pixels held out of the annotated pixels",
        f"reached IoU {card.score.iou:.3f}.",
    ):
        assert part in text
    assert main(["methods", str(data / "cells.run")]) == 0
    assert capsys.readouterr().out == text
    # of the model file alone, what is only in the folder is left out
    shutil.rmtree(data / "cells.run")
    assert main(["methods", str(model)]) == 0
    assert "21600 pixels were annotated" in capsys.readouterr().out


@pytest.mark.parametrize("task", ["regress", "denoise"])
def test_the_methods_of_image_tasks_speak_of_no_cells(data: Path, task: str) -> None:
    targets = (lambda n: discs(n)[1]) if task == "regress" else None
    images = [discs(n)[0] for n in range(2)]
    known = [targets(n) for n in range(2)] if targets else []
    settings = small(steps=2).with_task(task)
    card = last(train(images, known, settings, device="cpu")).model.card
    text = methods(card)
    assert "cell" not in text
    assert "annotated" not in text
    assert "began with random weights and took 2 steps on cpu" in text


@pytest.mark.parametrize("holds", ["the pixels", "others", "nothing"])
def test_what_napari_trains_is_repeated_from_its_file_or_from_kept_pixels(
    tmp_path: Path, holds: str
) -> None:
    job = train_job(tmp_path / "job")
    pixels, file = job.images[0].open().read(), tmp_path / "stack.tif"
    if holds != "nothing":
        shown = pixels if holds == "the pixels" else pixels + 1
        tifffile.imwrite(file, shown, metadata={"axes": "ZYX"}, imagej=True)
    image = dataclasses.replace(job.images[0], file=ImageFile(str(file)))
    job = dataclasses.replace(job, images=(image,))
    *_, saved = training_job.run(job, Context(Task(1, job), ModelCache()))
    assert isinstance(saved, ModelSaved)
    assert saved.problem is None or "too few" in saved.problem
    model = Path(saved.path)
    record = read_run(run_folder_of(model))
    if holds == "the pixels":
        assert (record.images[0].file, record.images[0].kept) == (str(file), None)
    else:
        assert (record.images[0].file, record.images[0].kept) == (None, "image-1.npy")
    # pixels that napari and the worker share are gone when napari is closed
    for reference in (image.channels[0], job.annotations[0].labels):
        reference.remove()
    again = tmp_path / "again.safetensors"
    save_model(last(replay(run_folder_of(model))).model, again)
    assert again.read_bytes() == model.read_bytes()


def test_folds_of_a_budget_in_minutes_are_repeated_at_another_speed(
    data: Path, machine: Machine
) -> None:
    images = [discs(n)[0] for n in range(2)]
    labels = [discs(n)[1] for n in range(2)]
    machine.step = 0.9
    settings = small(steps=0, minutes=1.0, folds=2, scale=0.8)
    finished = last(train(images, labels, settings, kind="instances", device="cpu"))
    model = data / "cells.safetensors"
    save_model(finished.model, model)
    save_run(finished, model)
    machine.step = 0.2
    again = last(replay(run_folder_of(model)))
    save_model(again.model, data / "again.safetensors")
    assert (data / "again.safetensors").read_bytes() == model.read_bytes()


@pytest.mark.parametrize("shape", [(12, 40, 40), (1, 40, 40)])
def test_the_best_of_several_that_were_tried_is_not_repeated(
    data: Path, shape: tuple[int, ...]
) -> None:
    images, labels = [], []
    for seed in range(3):
        z, y, x = np.indices(shape)
        cells = np.zeros(shape, np.uint16)
        for number, (cy, cx) in enumerate(np.ndindex(2, 2), 1):
            far = (z - shape[0] // 2) ** 2 + (y - 20 * cy - 10) ** 2
            cells[far + (x - 20 * cx - 10) ** 2 < 25] = number
        noise = np.random.default_rng(seed).normal(0, 0.3, shape)
        pixels = ((cells > 0) + noise).astype(np.float32)
        images.append(Image(pixels, "zyx", (1.0, 1.0, 1.0), f"{seed}"))
        labels.append(cells)
    settings = Training.automatic(
        try_both=True, scale=1.0, patch=12, width=2, depth=1, batch=1, steps=12
    )
    finished = last(train(images, labels, settings, kind="instances", device="cpu"))
    model = data / "cells.safetensors"
    save_model(finished.model, model)
    save_run(finished, model)
    if shape[0] > 1:
        with pytest.raises(ValueError, match="the best of several networks that"):
            last(replay(run_folder_of(model)))
    else:  # there was nothing else to try
        save_model(last(replay(run_folder_of(model))).model, data / "a.safetensors")
        assert (data / "a.safetensors").read_bytes() == model.read_bytes()


def test_labels_in_the_folder_of_a_run_are_not_replaced(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = trained(data, "--steps", "3")
    labels = data / "cells.run" / "annotation-1.tif"
    image = data / "images" / "field0.tif"
    told = failing(capsys, "train", image, labels, "--output", model, *SMALL)
    assert "cells.run: is, or holds, what is read" in told
    assert labels.exists()
