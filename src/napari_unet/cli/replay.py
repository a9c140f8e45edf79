"""`napari-unet replay`: repeat a training and its predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.cli.options import json_option, output_option, write_json
from napari_unet.cli.prediction_progress import Batch
from napari_unet.cli.progress import ProgressLine
from napari_unet.cli.stopping import Stopped
from napari_unet.cli.training_progress import follow
from napari_unet.io.atomic import check_writable, make_folder
from napari_unet.io.model_file import check_replaceable, save_model
from napari_unet.io.replayed import compare_model, compare_results
from napari_unet.io.run_folder import read_predictions
from napari_unet.io.trained_run import read_run, run_folder_of

if TYPE_CHECKING:
    import argparse

    from napari_unet.io.replayed import Compared


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="RUN",
        help="folder of the run, such as cells.run, or the model file beside it",
    )
    output_option(parser, "DIR", "folder to write the model and the predictions to")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder with the images, if they are no longer where they were",
    )
    parser.add_argument(
        "--device", help="auto, cpu, cuda, cuda:N or mps (default: that of the run)"
    )
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    given: Path = options.folder
    folder = given if given.is_dir() else run_folder_of(given)
    record, predictions = read_run(folder), read_predictions(folder)
    model = options.output / record.model
    if model.resolve() == (folder.parent / record.model).resolve():
        raise ValueError(
            f"{options.output}: the model of the run is there and would be replaced; "
            "name another folder."
        )
    make_folder(options.output)
    check_writable(model)
    check_replaceable(model)
    line = ProgressLine()
    # torch takes a second to load: only now that the run is known to be readable
    from napari_unet.engine.replay import predict_again, replay

    job = replay(folder, images=options.images, device=options.device)
    try:
        finished = follow(job, line)
        save_model(finished.model, model)
        difference = compare_model(folder, record, model)
        line.say(f"{model}: {difference or 'byte for byte the same'}.")
        found: list[Compared] = []
        for number, predicted in enumerate(predictions, start=1):
            output = options.output / f"predicted-{number}"
            again = predict_again(
                predicted, model, output, options.images, options.device
            )
            _follow(again, line)
            compared = compare_results(predicted, output)
            for result in compared:
                line.say(f"{output.name}/{result}.")
            found += compared
    except KeyboardInterrupt as interrupt:
        line.say("interrupted; a replay always begins anew.")
        raise Stopped.after(interrupt) from None
    if not predictions:
        line.say(f"{folder}: no prediction with this model is noted.")
    write_json(_report(model, difference, found), options.json)
    return 0 if all(result.enough for result in found) else 1


def _follow(job: Any, line: ProgressLine) -> None:
    """Predict, and show how it goes."""
    batch = Batch(line, cells=False)
    batch.follow(job)
    if batch.report_end():
        raise ValueError("what was predicted then cannot be predicted again.")


def _report(
    model: Path, difference: str | None, found: list[Compared]
) -> dict[str, Any]:
    """Return the outcome as JSON can hold it."""
    return {
        "model": str(model),
        "same": difference is None,
        "difference": difference,
        "results": [
            {"name": r.name, "same": r.same, "equal_pixels": r.equal} for r in found
        ],
    }
