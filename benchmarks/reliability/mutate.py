"""Damaged models, checkpoints, images, projects and records, under limits.

Each is refused in a sentence, or gives a whole result; what is beside it still works.
"""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from benchmarks.reliability import kill
from benchmarks.reliability.kill import compare_weights
from benchmarks.reliability.material import discs
from benchmarks.reliability.mutations import (
    damaged_copy,
    mutate_bytes,
    mutate_file,
    mutate_folder,
)
from benchmarks.reliability.session import Session, squares
from benchmarks.reliability.trial import command, report, tree

if TYPE_CHECKING:
    import random

    from benchmarks.reliability.material import Material
    from benchmarks.reliability.trial import Fuse, Trial

# What microscopes and programs write.
_TIFFS: tuple[dict[str, Any], ...] = (
    {},
    {"imagej": True, "metadata": {"axes": "ZYX", "spacing": 0.5, "unit": "um"}},
    {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.2}},
    {"tile": (32, 32)},
    {"compression": "zlib", "rowsperstrip": 16},
    {"compression": "lzw", "predictor": True},
    {"bigtiff": True, "byteorder": ">"},
)


def prepare(material: Material) -> None:
    """Make what comes out without damage."""
    kill.prepare(material)
    tifffile.imwrite(material.folder / "one.tif", discs(50, 96)[0])

    def work(output: Path, _: Fuse) -> int:
        return _predict(material.model, material.folder / "one.tif", output)

    material.reference("one", work)
    folder = material.folder / "tiffs"
    folder.mkdir(exist_ok=True)
    stack = np.stack([discs(60 + z, 64)[0] for z in range(3)])
    for number, options in enumerate(_TIFFS):
        tifffile.imwrite(
            folder / f"{number}.tif", stack, **{"photometric": "minisblack", **options}
        )


def model(trial: Trial) -> None:
    """Predict with a damaged model; flipped weights are never used."""
    file = trial.work / "model.safetensors"
    only_bytes = trial.rng.random() < 0.5
    damage = _flip if only_bytes else mutate_file
    how = damaged_copy(trial.material.model, file, trial.rng, damage)
    trial.command("info", file)
    ended = trial.command(
        *("predict", file, trial.material.folder / "one.tif"),
        *("--output", trial.work / "out", "--device", "cpu"),
    )
    wanted = tree(trial.material.folder / "reference" / "one")
    found = tree(trial.work / "out") if (trial.work / "out").exists() else {}
    if ended.code == 0:
        _whole(trial, trial.work / "out")
        del found["prediction.json"], wanted["prediction.json"]
        same = found == wanted or not only_bytes
        trial.expect(same, "wrong", "other results with flipped bytes")
    else:
        half = [name for name in found if "prediction.json" not in name]
        trial.expect(not half, "half", f"left: {', '.join(half)}")
    _tell(trial, how)


def checkpoint(trial: Trial) -> None:
    """Go on from a damaged checkpoint."""
    file = trial.work / "model.checkpoint.safetensors"
    how = damaged_copy(trial.material.checkpoint, file, trial.rng, _flip_or_change)
    output = trial.work / "model.safetensors"
    arguments = (*trial.material.train, "--output", output, "--resume")
    ended = trial.command(*arguments)
    if ended.code == 0 and "bytes" in how:
        reference = trial.material.folder / "reference" / "train"
        compare_weights(trial, output, reference)
    trial.expect(
        ended.code == 0 or not output.exists(), "half", "a model in spite of it"
    )
    _tell(trial, how)


def tiff(trial: Trial) -> None:
    """Predict a damaged TIFF."""
    source = trial.rng.choice(sorted((trial.material.folder / "tiffs").iterdir()))
    _image(trial, source, trial.work / "image.tif", mutate_file)


def wild(trial: Trial) -> None:
    """Predict a TIFF in which some numbers are none, or as large as can be."""
    _image(trial, trial.material.folder / "one.tif", trial.work / "image.tif", _wild)


def zarr(trial: Trial) -> None:
    """Predict an OME-Zarr with damaged metadata or chunks."""
    source, target = trial.material.stack, trial.work / "image.zarr"
    _image(trial, source, target, mutate_folder)


def project(trial: Trial) -> None:
    """Open a damaged project; and an image of a healthy one that lies beside it."""
    _opened(trial, _lead_out if trial.rng.random() < 0.2 else mutate_folder)


def run(trial: Trial) -> None:
    """Open a project whose record of an interrupted run is damaged, and train."""
    _opened(trial, _damage_run)


def _image(trial: Trial, source: Path, target: Path, damage: Any) -> None:
    how = damaged_copy(source, target, trial.rng, damage)
    output = trial.work / "out"
    ended = trial.run(partial(_predict, trial.material.model, target, output))
    trial.judge(ended)
    if ended.code == 0:
        _whole(trial, output)
    elif output.exists():
        half = [n for n in tree(output) if n.endswith(".tif")]
        trial.expect(not half, "half", f"left: {', '.join(half)}")
    _tell(trial, how)


def _predict(model_file: Path, image: Path, output: Path) -> int:
    return command(
        "predict", model_file, image, "--output", output, "--device", "cpu"
    )()


def _whole(trial: Trial, output: Path) -> None:
    """Expect all kinds of result, to be read and finite."""
    for kind in ("probabilities", "classes", "instances"):
        files = list((output / kind).glob("*")) if (output / kind).is_dir() else []
        trial.expect(files, "half", f"exit 0 without {kind}")
        for file in (f for f in files if f.suffix == ".tif"):
            finite = np.isfinite(tifffile.imread(file)).all()
            trial.expect(finite, "wrong", f"{file.name}: not all numbers are finite")


def _tell(trial: Trial, how: str) -> None:
    """Add what was done to what went wrong."""
    trial.faults = [(kind, f"{how}: {text}") for kind, text in trial.faults]


def _flip(file: Path, rng: random.Random) -> str:
    changed, how = mutate_bytes(file.read_bytes(), rng)
    file.write_bytes(changed)
    return f"bytes: {how}"


def _flip_or_change(file: Path, rng: random.Random) -> str:
    return (_flip if rng.random() < 0.5 else mutate_file)(file, rng)


def _wild(file: Path, rng: random.Random) -> str:
    kind = rng.choice(("f4", "f8", "f2"))
    pixels = tifffile.imread(file).astype(kind)
    value = rng.choice((np.nan, np.inf, -np.inf, float(np.finfo(kind).max)))
    for _ in range(rng.choice((1, 50))):
        pixels[rng.randrange(96), rng.randrange(96)] = value
    if rng.random() < 0.1:
        pixels[:] = value
    tifffile.imwrite(file, pixels)
    return f"{value} in {kind}"


def _lead_out(folder: Path, rng: random.Random) -> str:
    """Have a name in a project be a path to somebody's file."""
    canary = Path("../" * 4) / "canary"
    if rng.random() < 0.5:
        canary = folder.parents[3] / "canary"
    field = rng.choice(("files", "name", "start", "models"))
    file = folder / ("models/run.json" if field == "name" else "project.json")
    record = json.loads(file.read_text())
    if field == "files":
        record["files"] = dict.fromkeys(record["files"], str(canary / "notes.raw"))
    elif field == "name":
        record["name"] = str("../" / canary / "thesis")
    else:
        path = str(canary / "thesis.safetensors")
        record["project"][field] = path if field == "start" else [path]
    file.write_text(json.dumps(record))
    return f"{field} leads to {canary}"


def _damage_run(folder: Path, rng: random.Random) -> str:
    files = sorted(f for f in (folder / "models").iterdir() if f.is_file())
    return mutate_file(rng.choice(files), rng)


def _opened(trial: Trial, damage: Any) -> None:
    projects = trial.home / "data" / "projects"
    projects.mkdir(parents=True)
    bad, healthy = projects / "bad", projects / "healthy"
    how = damaged_copy(trial.material.project, bad, trial.rng, damage)
    shutil.copytree(trial.material.project, healthy)
    before = tree(healthy)
    trial.judge(trial.run(partial(_open, bad, healthy, trial.work / "saved")))
    after = tree(healthy)
    # its log of slices is written anew whenever it is opened
    kept = [name for name in before if not name.endswith(".places")]
    changed = [name for name in kept if after.get(name) != before[name]]
    for file in (trial.work / "saved").rglob("*"):
        if file.is_file() and b"of somebody" in file.read_bytes():
            trial.fault("outside", f"a private file was copied into {file.name}")
    told = f"changed in the healthy project: {', '.join(changed)}"
    trial.expect(not changed, "outside", told)
    _tell(trial, how)


def _open(bad: Path, healthy: Path, saved: Path) -> None:
    """Work beside a damaged project, then in it; save it elsewhere."""
    session = Session()
    workspace = session.workspace
    workspace.viewer.add_image(squares(), name="plate")
    workspace.begin()
    (image,) = workspace.store.project.images
    earlier = workspace.annotating.earlier_work
    session.until(lambda: earlier.of(image.id) is not None)
    offers = {offer.folder: offer for offer in earlier.of(image.id) or ()}
    if healthy not in offers:
        report("lost", "the healthy project is no longer offered")
    else:
        workspace.annotating.importer.other_project(image.id, offers[healthy])
        labels = workspace.images.annotation_layer(image.id)
        if labels is None or set(np.unique(labels.data)) != {0, 1, 2, 3}:
            report("lost", "the annotation of the healthy project is not restored")
    try:
        workspace.open_project(bad)
    except (ValueError, OSError, RuntimeError) as error:
        _check_sentence(error)
    else:
        for known in workspace.store.project.images:
            labels = workspace.annotating.layers.show(known.id)
            labels.data_setitem(tuple(np.array([0]) for _ in labels.data.shape), 3)
        session.until(lambda: False, 0.2)
        workspace.store.flush()
        try:
            workspace.store.save_as(saved)
        except (ValueError, OSError) as error:
            _check_sentence(error)
        workspace.training.forget_interrupted()
    workspace.close()


def _check_sentence(error: Exception) -> None:
    """Expect what the button shows."""
    if len(str(error).strip()) < 10:
        report("words", f"no sentence: {error!r}")


KINDS = {
    "model": (model, 200),
    "checkpoint": (checkpoint, 80),
    "tiff": (tiff, 280),
    "wild": (wild, 20),
    "zarr": (zarr, 200),
    "project": (project, 200),
    "run": (run, 60),
}
"""Each with the number of its trials."""
