"""Cells of dense tissue by watershed and by multicut, of the same probabilities.

``python -m benchmarks.tissue --minutes 5`` trains a network on each set as
`benchmarks.accuracy` does, and finds cells in what it says of the tested part:
membranes in electron microscopy (ISBI 2012, planes) and walls of a plant (PlantSeg, a
volume). The watershed has the settings that the held-out part chose, and once more the
threshold that is best for the tested part, which nobody knows beforehand. The multicut
has the first, too, and `membrane`, by default 0.5. The adapted Rand error counts pixels
of true cells alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import label
from skimage.metrics import adapted_rand_error

from benchmarks.accuracy.export import read_planes
from benchmarks.accuracy.tasks import TASKS
from napari_unet.core.cells.instances import segment_image
from napari_unet.core.events import PredictionFinished, TrainingFinished
from napari_unet.core.images.image import Image
from napari_unet.core.metrics.objects import average_precision
from napari_unet.core.settings import Prediction
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.training.train import train
from napari_unet.io.model_file import load_model, save_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from benchmarks.accuracy.task import Sample, Task
    from napari_unet.core.model import Model
    from napari_unet.core.settings import Segmentation

_SETS = ("isbi2012", "plantseg")
_THRESHOLDS = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
_MEMBRANES = [0.3, 0.4, 0.5, 0.6, 0.7]
_BEST = "watershed, best threshold"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, or read what was trained, and print a row for each way to cells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=_SETS, metavar="SET")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=0, help="in place of minutes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--models", type=Path, help="folder to keep models in, and to find them again"
    )
    options = parser.parse_args(arguments)
    print("| set | seed | cells by | Rand error | AP@0.5 | cells | true | seconds |")
    print("|---|--:|---|--:|--:|--:|--:|--:|")
    for name in options.sets:
        task = TASKS[name]
        true = [_labels(task, sample, options.data) for sample in task.tested]
        for seed in options.seeds:
            model = _model(task, seed, options)
            found = list(_predicted(task, model, options))
            for title, settings in _ways(model.card.segmentation):
                row = _judged(found, true, model, settings)
                print(f"| {name} | {seed} | {title} | {row} |", flush=True)
    return 0


def _ways(chosen: Segmentation) -> Iterator[tuple[str, list[Segmentation]]]:
    """Yield each way to cells: its name, and the settings to take the best of."""
    yield f"watershed, threshold {chosen.threshold:g}", [chosen]
    yield _BEST, [chosen.replace(threshold=t) for t in _THRESHOLDS]
    for membrane in _MEMBRANES:
        changes = {"cells_by": "multicut", "membrane": membrane}
        yield f"multicut, membrane {membrane:g}", [chosen.replace(**changes)]


def _judged(
    found: list[Image],
    true: list[NDArray[np.int32]],
    model: Model,
    settings: list[Segmentation],
) -> str:
    """Return the figures of a row, of the settings with the least error."""
    rows = []
    for each in settings:
        began = perf_counter()
        cells = [segment_image(image, _ndim(model), each) for image in found]
        seconds = perf_counter() - began
        errors = [
            adapted_rand_error(t, c, ignore_labels=[0])[0]
            for t, c in zip(true, cells, strict=True)
        ]
        (precision,) = average_precision(cells, true, [0.5])
        count = sum(int(c.max()) for c in cells)
        rows.append((float(np.mean(errors)), precision, count, seconds))
    error, precision, count, seconds = min(rows)
    known = sum(len(np.unique(t[t > 0])) for t in true)
    return f"{error:.4f} | {precision:.4f} | {count} | {known} | {seconds:.1f}"


def _model(task: Task, seed: int, options: argparse.Namespace) -> Model:
    """Train a model, or read it where it was kept."""
    kept = options.models and options.models / f"{task.name}-{seed}.safetensors"
    if kept and kept.exists():
        return load_model(kept)
    usual = Training.quick(3 if "--3d" in task.training else 2)
    recipe = usual.replace(
        minutes=0 if options.steps else options.minutes, steps=options.steps, seed=seed
    )
    samples = task.learnt
    images = [_read(task, s.image, s, options.data) for s in samples]
    labels = [_read(task, s.labels, s, options.data) for s in samples]
    *_, last = train(images, labels, recipe, kind=task.labels, device=options.device)
    if not isinstance(last, TrainingFinished):
        raise RuntimeError("training ended without a model")
    if kept:
        options.models.mkdir(parents=True, exist_ok=True)
        save_model(last.model, kept)
    return last.model


def _predicted(
    task: Task, model: Model, options: argparse.Namespace
) -> Iterator[Image]:
    """Yield the probabilities of each image of the tested part."""
    settings = Prediction(device=options.device)
    for sample in task.tested:
        image = _read(task, sample.image, sample, options.data)
        *_, last = predict(model, image, settings=settings)
        if not isinstance(last, PredictionFinished):
            raise RuntimeError("prediction ended without a result")
        yield Image(last.probabilities, last.axes)


def _labels(task: Task, sample: Sample, data: Path) -> NDArray[np.int32]:
    """Read true cells; of a mask of two values each connected area is one."""
    values = _read(task, sample.labels, sample, data)
    cells = label(values)[0] if task.labels == "binary" else values
    return np.asarray(cells, np.int32)


def _read(task: Task, file: str, sample: Sample, data: Path) -> NDArray[Any]:
    if sample.planes is None:
        raise ValueError(f"{task.name} is no set of planes of a stack.")
    return read_planes(data / task.folder / file, sample.planes)


def _ndim(model: Model) -> int:
    return model.card.architecture.ndim


if __name__ == "__main__":
    raise SystemExit(main())
