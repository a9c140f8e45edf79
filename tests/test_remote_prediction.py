"""Prediction on another computer, which a script in place of ssh leads to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
import pytest
import tifffile

from napari_unet.cli.main import main
from napari_unet.core.event_codec import decode, encode
from napari_unet.core.events import (
    Event,
    FileBegun,
    FilePredicted,
    PredictionFinished,
    TileDone,
)
from napari_unet.core.images.array_reference import ArrayReference, ImageReference
from napari_unet.core.images.image import Image
from napari_unet.core.jobs import PredictJob, RemotePredictJob
from napari_unet.core.remote_messages import File, RemoteRun
from napari_unet.core.settings import Prediction
from napari_unet.engine.served_job import ServedJob
from napari_unet.engine.worker import prediction_job, remote_prediction_job
from napari_unet.engine.worker.inbox import Task
from napari_unet.engine.worker.model_cache import Context, ModelCache
from napari_unet.io.export import write_pixels
from napari_unet.io.prediction_folder import PredictionFolder
from napari_unet.io.pretrained import pretrained_model
from napari_unet.io.remote_results import pack_results, place_results
from remote_ends import FOLDER, answers, heard
from test_remote_jobs import JOB, remote
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.engine.remote_job import RemoteJob

__all__ = ["remote"]


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def predicted(*arguments: str) -> int:
    options = ["--save", "probabilities,instances,table", "--device", "cpu"]
    return main(["predict", "nuclei", *arguments, *options])


def test_the_same_files_come_from_there_as_are_made_here(
    remote: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    near = remote / "near"
    near.mkdir()
    monkeypatch.chdir(near)
    grey = np.random.default_rng(3).poisson(40, (3, 90, 80)).astype(np.uint16)
    grey[:, 20:40, 20:45] += 300
    tifffile.imwrite("a.tif", grey[0])
    tifffile.imwrite("b c.ome.tif", grey[:2], metadata={"axes": "ZYX"})
    write_pixels("d.ome.zarr", Image(grey[2], "yx"))
    Path("e.tif").write_bytes(b"no image")
    images = ["a.tif", "b c.ome.tif", "d.ome.zarr", "e.tif"]
    there = [*images, "--output", "there", "--on", "lab", "--json", "there.json"]
    assert predicted(*there) == 1
    told = capsys.readouterr().err
    assert "GB of disk free" in told
    assert "e.tif" in told
    assert predicted(*images, "--output", "here", "--json", "here.json") == 1
    found, wanted = files_in(Path("there")), files_in(Path("here"))
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []
    rows, same = (
        json.loads(Path(f"{name}.json").read_text())["images"]
        for name in ("there", "here")
    )
    for row in (*rows, *same):
        row.pop("seconds", None)
    assert sorted(rows, key=str) == sorted(same, key=str)
    # nothing is left there, and what is here is not asked for again
    until(lambda: not list((remote / FOLDER / "home").rglob("bundle.zip")))
    (remote / FOLDER / "arguments").unlink()
    assert predicted(*there) == 1
    assert "is there already" in capsys.readouterr().err
    assert not (remote / FOLDER / "arguments").exists()
    assert predicted("a.tif", "--output", "there", "--on", "lab", "--no-rescale") == 1
    assert "of other settings: rescale" in capsys.readouterr().err


def test_the_same_command_looks_again_at_what_goes_on(
    remote: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(remote)
    tifffile.imwrite("a.tif", np.arange(80 * 80, dtype=np.uint16).reshape(80, 80) % 91)
    assert predicted("a.tif", "--output", "here") == 0
    kinds = ("probabilities", "instances", "table")
    pack_results(
        remote / "results.zip", PredictionFolder(Path("here"), kinds), Path("a")
    )
    content = (remote / "results.zip").read_bytes()
    stand_in = "/tmp/remote/a.ome.tif"
    come = [
        {"file": "results", "size": len(content), "image": 0},
        content,
        encode(FilePredicted(stand_in, 0, 1.0)),
        {"ended": "done"},
        {"order": "forget"},
    ]
    cut: Any = {"cut": 1, "then": [{"cut": 1, "then": [{"cut": 1, "then": []}]}]}
    answers(remote, encode(FileBegun(stand_in, 1, 1)), cut)
    there = ["a.tif", "--output", "there", "--on", "light"]
    assert predicted(*there) == 1
    assert "light" in capsys.readouterr().err
    answers(remote, *come)
    begun = heard(remote)
    assert predicted(*there) == 0
    again = [ask for ask in heard(remote)[len(begun) :] if "job" in ask]
    assert [(ask["job"], ask["size"]) for ask in again] == [(begun[0]["job"], None)]
    assert {"order": "forget"} in heard(remote)
    assert files_in(Path("there")) == files_in(Path("here"))
    for option, value in (("--cluster", "local"), ("--upload", "s3://a/b")):
        assert predicted(*there, option, value) == 1
        assert f"{option} is for this computer" in capsys.readouterr().err


def arrays(folder: Path, shape: tuple[int, ...]) -> dict[str, ArrayReference]:
    def one(dtype: str, *sizes: int) -> ArrayReference:
        return ArrayReference.create_in(folder, "array", sizes, dtype)

    classes, entropy = one("uint8", *shape), one("float32", *shape)
    probabilities = one("float32", 2, *shape)
    return {"probabilities": probabilities, "classes": classes, "entropy": entropy}


def test_planes_of_an_open_image_come_back_as_they_are_predicted_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (2, 3, 60, 70)
    pixels = ArrayReference.create_in(tmp_path, "pixels", shape, "uint16")
    grey = pixels.open(writable=True)
    grey[:] = np.random.default_rng(5).poisson(50, shape)
    grey[1, 2, 20:35, 20:40] += 400
    grey[1, 0, 5:25, 40:60] += 200  # the frame's grey values are not the plane's
    image = ImageReference((pixels,), "tzyx", (2.0, 0.4, 0.4), "cells")
    settings = Prediction(device="cpu", tile=32)
    model, places = str(pretrained_model("nuclei")), ((1, 2), (1, 0))
    more: dict[str, Any] = {"places": places, "settings": settings}

    def there(remote: RemoteJob, bundle: Path, *_: object) -> Iterator[Event | None]:
        folder = tmp_path / "there"
        folder.mkdir()
        job = ServedJob(folder)
        shutil.copy(bundle, job.bundle)
        command = ["predict", str(bundle), "--output", str(job.results)]
        assert main([*command, "--events", str(folder / "events.jsonl")]) == 0
        yield None
        for record, content in job.follow(0, lambda: False):
            if "file" in record:
                remote.place(File.model_validate(record)).write_bytes(content)
            elif "event" in record:
                yield decode(record)

    monkeypatch.setattr(remote_prediction_job, "remote_events", there)
    of_remote = arrays(tmp_path / "remote", shape)
    run = RemoteRun(where="lab", job=JOB)
    remote_job = RemotePredictJob(
        model=model, image=image, remote=run, **of_remote, **more
    )
    task = Task(1, remote_job)
    found = [event for event in remote_prediction_job.run(remote_job, task) if event]
    assert [(e.t, e.z, e.field_done) for e in found if isinstance(e, TileDone)] == [
        (1, 2, True),
        (1, 0, True),
    ]
    assert isinstance(found[-1], PredictionFinished)
    of_near = arrays(tmp_path / "near", shape)
    job = PredictJob(model=model, image=image, **of_near, **more)
    list(prediction_job.run(job, Context(Task(2, job), ModelCache())))
    assert of_near["classes"].open()[1, 2].any()
    for name, reference in of_near.items():
        np.testing.assert_allclose(
            of_remote[name].open(), reference.open(), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("../probabilities/a.tif", ZIP_STORED),
        ("/tmp/a.tif", ZIP_STORED),
        ("probabilities/b.tif", ZIP_STORED),
        ("probabilities/a.tif/x", ZIP_STORED),
        ("probabilities/a.zarr/../../x", ZIP_STORED),
        ("classes/a.tif", ZIP_STORED),
        ("probabilities/a.tif", ZIP_DEFLATED),
    ],
)
def test_results_that_were_not_asked_for_are_refused(
    tmp_path: Path, name: str, packed: int
) -> None:
    path = tmp_path / "results.zip"
    with ZipFile(path, "w", packed) as file:
        file.writestr(name, b"x" * 1000)
    folder = PredictionFolder(tmp_path / "near" / "out", ("probabilities",))
    with pytest.raises(ValueError, match=r"was not asked for|compressed"):
        place_results(path, folder, Path("a.tif"), folder.kinds)
    assert not [p for p in (tmp_path / "near").rglob("*") if p.is_file()]
