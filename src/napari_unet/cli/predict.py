"""`napari-unet predict`: from images and a model to probabilities and cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.cli.options import (
    MODEL_HELP,
    add_settings,
    axes_option,
    given_settings,
    json_option,
    write_json,
)
from napari_unet.cli.progress import Countdown, ProgressLine, clock, interruptible
from napari_unet.core.events import (
    BlockDone,
    FilePredicted,
    PredictionFinished,
    TileDone,
)
from napari_unet.core.settings import Prediction, Segmentation
from napari_unet.io.images import find
from napari_unet.io.model_file import load_model
from napari_unet.io.prediction_folder import KINDS, PredictionFolder, check_names
from napari_unet.io.starters import model_path

if TYPE_CHECKING:
    import argparse

    from napari_unet.core.model import Model


_SHOWN = ("averaging", "rescale", "device", "precision", "memory_gb")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", type=model_path, help=MODEL_HELP)
    parser.add_argument("images", nargs="+", help="image files, folders or patterns")
    parser.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        type=Path,
        help="folder to write to, with a subfolder for each kind",
    )
    parser.add_argument(
        "--save",
        default=",".join(KINDS),
        metavar="KINDS",
        help="what to write, with commas between (default: all)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="predict again what is there already"
    )
    add_settings(parser, Prediction, _SHOWN)
    parser.add_argument(
        "--tile",
        default="auto",
        metavar="N",
        help="output of one tile in pixels, or auto (by free memory)",
    )
    axes_option(parser)
    json_option(parser)
    add_settings(parser.add_argument_group("cells"), Segmentation)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    kinds = saved_kinds(options.save)
    settings = Prediction(
        **{**given_settings(options, Prediction), "tile": _tile(options.tile)}
    )
    model = load_model(options.model)
    segmentation = model.card.segmentation.replace(
        **given_settings(options, Segmentation)
    )
    files = find(options.images)
    check_names(files)
    from napari_unet.engine.network import prepare

    network = prepare(model, settings.device, settings.precision)
    folder = PredictionFolder(options.output, kinds)
    folder.claim(
        options.model,
        settings.replace(precision=network.precision),
        segmentation,
        overwrite=options.overwrite,
    )
    job = PredictionJob(model, network, settings, segmentation, folder)
    line = ProgressLine()
    reports = []
    for number, file in enumerate(files, start=1):
        todo = folder.missing(file) if not options.overwrite else kinds
        if not todo:
            line.say(f"{file.name}: is there already")
            reports.append({"image": str(file), "skipped": True})
            continue
        report = job.one(file, options.axes, todo, line, f"{number}/{len(files)}")
        line.say(f"{file.name}: done in {clock(report['seconds'])}")
        reports.append(report)
    write_json({"output": str(options.output), "images": reports}, options.json)
    return 0


class PredictionJob:
    """Predicts files one by one with one network, and shows how far it is."""

    def __init__(
        self,
        model: Model,
        network: Any,
        settings: Prediction,
        segmentation: Segmentation,
        folder: PredictionFolder,
    ) -> None:
        from napari_unet.engine.file_prediction import FilePredictor

        self._predictor = FilePredictor(
            network, model.card, settings, segmentation, folder
        )

    def one(
        self,
        file: Path,
        axes: str | None,
        kinds: tuple[str, ...],
        line: ProgressLine,
        count: str,
    ) -> dict[str, Any]:
        """Predict one file and write what is asked for."""
        report: dict[str, Any] = {"image": str(file)}
        left = Countdown()
        with interruptible(self._predictor.events(file, axes, kinds)) as running:
            for event in running:
                if isinstance(event, TileDone):
                    seconds = left.seconds(event.progress)
                    line.show(f"{count} {file.name}", event.progress, seconds)
                elif isinstance(event, BlockDone):
                    line.show(f"{count} {file.name}, {event.stage}", event.progress)
                elif isinstance(event, PredictionFinished):
                    report |= {
                        "device": event.device,
                        "precision": event.precision,
                        "tile": list(event.output),
                        "seconds": round(event.seconds, 3),
                    }
                elif isinstance(event, FilePredicted) and "instances" in kinds:
                    report["cells"] = event.cells
        return report


def saved_kinds(text: str) -> tuple[str, ...]:
    """Return the kinds of output named in `--save`."""
    named = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [part for part in named if part not in KINDS]
    if unknown or not named:
        raise ValueError(
            f"--save takes {', '.join(KINDS)} with commas between, found {text!r}."
        )
    return tuple(kind for kind in KINDS if kind in named)


def _tile(text: str) -> int:
    if text == "auto":
        return 0
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"--tile is a number of pixels or auto, found {text!r}.")
    return int(text)
