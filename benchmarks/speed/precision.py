"""What bf16 changes of the result of trained models."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.accuracy.export import export
from benchmarks.accuracy.tasks import TASKS
from benchmarks.speed.row import Row
from napari_unet.core.settings import Prediction
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.network.network import prepare
from napari_unet.io.images import read_image
from napari_unet.io.model_file import load_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.core.images.image import Image
    from napari_unet.engine.network.network import Network

# The preset, and the paper's width and depth trained fast enough to be waited for.
_NETWORKS = {
    "quick": ("--minutes", "1"),
    "paper-width": (
        *("--width", "64", "--depth", "4", "--batch", "1", "--patch", "180"),
        *("--minutes", "2"),
    ),
}
_IMAGES = 4


def half_precision(data: Path, folder: Path) -> list[Row]:
    """Compare the probabilities in bf16 with those in fp32.

    Parameters
    ----------
    data : Path
        Folder of all datasets.
    folder : Path
        Keeps images and models; a model that is there is not trained again.
    """
    rows = []
    for name in ("isbi2012", "bbbc039"):
        images = _exported(name, data, folder)
        for kind, options in _NETWORKS.items():
            model = folder / name / f"{kind}.safetensors"
            if not model.exists():
                _train(folder / name, TASKS[name].labels, model, options)
            rows += _compare(f"{name}, {kind}", model, images)
    return rows


def _exported(name: str, data: Path, folder: Path) -> list[Image]:
    task = TASKS[name]
    for part, samples in (("learnt", task.learnt), ("tested", task.tested)):
        if not (folder / name / part).exists():
            export(samples, data / task.folder, folder / name / part)
    files = sorted((folder / name / "tested" / "images").iterdir())
    return [read_image(file) for file in files[:_IMAGES]]


def _train(folder: Path, labels: str, model: Path, options: tuple[str, ...]) -> None:
    learnt = folder / "learnt"
    command = [sys.executable, "-m", "napari_unet.cli.main", "train"]
    command += [str(learnt / "images"), str(learnt / "labels"), "--labels", labels]
    command += ["--output", str(model), *options]
    subprocess.run(command, check=True, capture_output=True)


def _compare(name: str, file: Path, images: list[Image]) -> list[Row]:
    model = load_model(file)
    exact, fast = (prepare(model, "cpu", p) for p in ("fp32", "bf16"))
    changed, difference = [], []
    for image in images:
        a, b = _probabilities(exact, image), _probabilities(fast, image)
        changed.append(np.mean(a.argmax(axis=0) != b.argmax(axis=0)))
        difference.append(np.abs(a - b).mean())
    against = f"the same in fp32, {len(images)} test images"
    steps = f"{model.card.steps} steps of training"
    return [
        Row(
            f"bf16, {name}: pixels of another class",
            against,
            100 * float(np.mean(changed)),
            "≤",
            0.1,
            " %",
            steps,
        ),
        Row(
            f"bf16, {name}: mean difference of a probability",
            against,
            float(np.mean(difference)),
            "≤",
            0.003,
            "",
            steps,
        ),
    ]


def _probabilities(network: Network, image: Image) -> NDArray[np.float32]:
    *_, last = predict(network, image, settings=Prediction(rescale=False))
    found: NDArray[np.float32] = np.asarray(last.probabilities)  # type: ignore[attr-defined]
    return found
