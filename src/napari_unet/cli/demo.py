"""`napari-unet demo`: the main job on images that come with the package."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.cli.evaluation import evaluate
from napari_unet.cli.overview import Panel, draw_overview
from napari_unet.cli.prediction_progress import Batch
from napari_unet.cli.progress import ProgressLine
from napari_unet.cli.training_progress import follow
from napari_unet.core.settings import Prediction
from napari_unet.core.training.loss_weights import border_weights
from napari_unet.core.training.training_settings import Training
from napari_unet.io import samples
from napari_unet.io.atomic import check_writable, write_text
from napari_unet.io.images import find, read_image, read_labels
from napari_unet.io.model_file import read_card, save_model
from napari_unet.io.prediction_folder import PredictionFolder

if TYPE_CHECKING:
    import argparse

    from napari_unet.core.model import Model

_LEARNT, _SEED = 3, 2
_MINUTES = 1.75
_MODEL, _METRICS, _OVERVIEW = "nuclei.safetensors", "metrics.json", "overview.png"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("demo-output"),
        help="folder to write to (default: demo-output)",
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--minutes",
        type=float,
        default=_MINUTES,
        metavar="M",
        help=f"budget of the training (default: {_MINUTES})",
    )
    budget.add_argument(
        "--steps", type=int, default=0, metavar="N", help="budget in steps instead"
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:N or mps"
    )


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    began = perf_counter()
    learnt, tested = choose_images()
    recipe = Training.quick().replace(
        steps=options.steps,
        minutes=0 if options.steps else options.minutes,
        seed=_SEED,
        validation=0,
    )
    model_file = options.output / _MODEL
    check_folder(options.output, learnt)
    options.output.mkdir(parents=True, exist_ok=True)
    check_writable(model_file)
    line = ProgressLine()
    line.say(f"training on {', '.join(path.stem for path in learnt)}")
    from napari_unet.engine.training.train import train

    finished = follow(
        train(
            [read_image(path) for path in learnt],
            [read_labels(_labels(path)) for path in learnt],
            recipe,
            kind="instances",
            device=options.device,
        ),
        line,
    )
    save_model(finished.model, model_file)
    if _predict(finished.model, model_file, tested, options.device, line):
        return 1
    scores = evaluate(options.output, [_labels(file) for file in tested], ["ap", "iou"])
    results = {
        "ap50": scores["ap@0.5"],
        "iou": scores["iou"],
        "seconds": round(perf_counter() - began, 1),
        "steps": finished.steps,
        "trained_on": [path.name for path in learnt],
        "predicted": [path.name for path in tested],
    }
    write_text(options.output / _METRICS, json.dumps(results, indent=2) + "\n")
    draw_overview(panels(options.output, tested[:3]), options.output / _OVERVIEW)
    print(f"AP@0.5  {results['ap50']:.3f}   tp/(tp+fp+fn) over {len(tested)} images")
    print(f"IoU     {results['iou']:.3f}   of all nuclei against background")
    print(f"written to {options.output} in {results['seconds']:.0f} s")
    if finished.problem:
        line.say(finished.problem)
    return 0 if finished.problem is None else 1


def _predict(
    model: Model, file: Path, images: list[Path], device: str, line: ProgressLine
) -> int:
    """Predict images into the folder of the model file; return the exit status."""
    from napari_unet.engine.batch_prediction import predict_files
    from napari_unet.engine.file_prediction import FilePredictor
    from napari_unet.engine.network.network import prepare

    predictor = FilePredictor(
        prepare(model, device),
        model.card,
        Prediction(device=device),
        model.card.segmentation,
        PredictionFolder(file.parent),
        file,
    )
    batch = Batch(line, cells=True)
    batch.follow(predict_files(predictor, images, overwrite=True))
    return batch.report_end()


def check_folder(folder: Path, learnt: list[Path]) -> None:
    """Refuse to replace files of another origin than an earlier demo.

    Raises
    ------
    FileExistsError
        One of those that would be written is there, and not of a demo.
    """
    try:
        images = {record.name for record in read_card(folder / _MODEL).images}
        model_ours = images == {path.stem for path in learnt}
    except (ValueError, OSError):
        model_ours = False
    try:
        metrics = json.loads((folder / _METRICS).read_text(encoding="utf-8"))
        others_ours = "trained_on" in metrics
    except (ValueError, OSError, TypeError):
        others_ours = False
    ours = {_MODEL: model_ours, _METRICS: others_ours, _OVERVIEW: others_ours}
    for name, known in ours.items():
        if (folder / name).exists() and not known:
            raise FileExistsError(
                f"{folder / name}: is there already and not of an earlier demo, so it "
                "is not replaced; write to another folder with --output."
            )


def choose_images() -> tuple[list[Path], list[Path]]:
    """Part the nuclei images into those to learn from and those of other wells."""
    images = find([samples.folder("nuclei") / "images"])
    order = np.random.default_rng(_SEED).permutation(len(images))
    chosen = [images[k] for k in order]
    return chosen[:_LEARNT], chosen[_LEARNT:]


def panels(output: Path, images: list[Path]) -> list[Panel]:
    """Gather the pictures of the overview."""
    rows = []
    for path in images:
        probability = read_image(output / "probabilities" / path.name)
        cells = read_labels(output / "instances" / path.name)
        truth = np.asarray(read_labels(_labels(path)).data)
        rows.append(
            Panel(
                name=path.stem,
                image=np.asarray(read_image(path).data),
                probability=np.asarray(probability.data)[1],
                weights=border_weights(truth),
                cells=np.asarray(cells.data),
                truth=truth,
            )
        )
    return rows


def _labels(image: Path) -> Path:
    return image.parent.parent / "labels" / image.name
