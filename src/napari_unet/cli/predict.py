"""`napari-unet predict`: from images and a model to probabilities and cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.cli import remote
from napari_unet.cli.cluster import cluster_options, pool_of
from napari_unet.cli.options import (
    MODEL_HELP,
    add_settings,
    axes_option,
    channel_option,
    given_settings,
    json_option,
    output_option,
    remote_options,
)
from napari_unet.cli.prediction_progress import follow_files
from napari_unet.cli.progress import ProgressLine
from napari_unet.cli.reporting import Reporter
from napari_unet.core.events import StarterChosen
from napari_unet.core.network.blended import note_of_window
from napari_unet.core.settings import Prediction, Segmentation
from napari_unet.core.starters import AUTO
from napari_unet.core.text import counted
from napari_unet.io.bundle import Bundle, is_bundle
from napari_unet.io.folder_lock import temporary_folder
from napari_unet.io.images import find, left_out
from napari_unet.io.objects.catalogue import check_installed
from napari_unet.io.prediction_basis import PredictionBasis
from napari_unet.io.prediction_folder import KINDS, OF_CELLS, PredictionFolder
from napari_unet.io.pretrained import is_automatic, model_path, pretrained_model
from napari_unet.io.remote import url_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from napari_unet.core.model import ModelCard
    from napari_unet.engine.file_prediction import FilePredictor

# settings of `Segmentation` for classes of regions; most others are for cells
_OF_REGIONS = frozenset({"smallest_piece", "largest_only"})
_SHOWN = ("averaging", "rescale", "device", "precision", "memory_gb")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "model",
        type=model_path,
        help=f"{MODEL_HELP}; {AUTO} takes that of these which suits the first image; "
        "or a bundle, with its images",
    )
    parser.add_argument("images", nargs="*", help="image files, folders or patterns")
    output_option(parser, "DIR", "folder to write to, with a subfolder for each kind")
    parser.add_argument(
        "--save",
        metavar="KINDS",
        help=f"what to write, with commas between: {', '.join(KINDS)} (default: these) "
        f"and, of the cells, {', '.join(OF_CELLS)}; of a network that makes images the "
        "image",
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
    channel_option(parser)
    parser.add_argument(
        "--upload",
        metavar="URL",
        help="object store (s3://bucket/folder) that results are copied to, too, once "
        "they are complete; needs napari-interactive-unet[remote]",
    )
    json_option(parser)
    remote_options(parser, "predict")
    cluster_options(parser)
    cells = parser.add_argument_group(
        "cells and regions",
        "What is not given is as the model has it; defaults are of one that has none.",
    )
    add_settings(cells, Segmentation)
    cells.add_argument(
        "--largest-only",
        metavar="CLASS",
        help="classes of regions, with commas between, of which only the largest piece "
        "is kept, or none (default: as the model has it)",
    )


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    if options.on is None and options.queue is not None:
        raise ValueError("--queue is the queue of the computer that --on names.")
    reporter = Reporter(options.events, options.orders, options.pulse)
    with reporter.reported():
        if not is_bundle(options.model):
            return _run(options, reporter)
        if options.on is not None:
            raise ValueError(
                f"{options.model}: --on makes a bundle itself, of a model and images."
            )
        if options.images:
            raise ValueError(f"{options.model}: a bundle has its own images.")
        bundle = Bundle(options.model)
        with temporary_folder() as folder:
            if bundle.record.asked is not None:
                return _asked(options, bundle, folder, reporter)
            options.model, options.images = bundle.unpack(folder)
            return _run(options, reporter)


def _asked(
    options: argparse.Namespace, bundle: Bundle, folder: Path, reporter: Reporter
) -> int:
    """Predict the images of a bundle with its settings."""
    from napari_unet.engine.file_prediction import FilePredictor
    from napari_unet.engine.network.network import prepare

    given = given_settings(options, Prediction)
    if (tile := _tile(given.pop("tile", "auto"))) != 0:
        given["tile"] = tile
    others = set(given) - {"device", "memory_gb", "tile"} | set(
        given_settings(options, Segmentation)
    )
    for name in ("save", "axes", "channel", "upload", "cluster"):
        if getattr(options, name) is not None:
            others.add(name)
    if others:
        name = min(others).replace("_", "-")
        raise ValueError(f"{bundle.path}: says itself how to predict, found --{name}.")
    asked, model = bundle.record.asked, bundle.start()
    sent = bundle.sent(folder)
    if asked is None or model is None:
        raise ValueError(f"{bundle.path}: is damaged, it has no model.")
    check_installed(asked.kinds)
    settings = asked.settings.replace(**given)
    predictor = FilePredictor(
        prepare(model, settings.device, settings.precision, file=bundle.path),
        model.card,
        settings,
        asked.segmentation,
        PredictionFolder(options.output, asked.kinds),
        folder / asked.model,
        stamp=asked.sha256,
        channel=asked.channel,
        sent=sent,
    )
    options.axes = asked.axes
    return _predict(options, predictor, list(sent), ProgressLine(), reporter)


def _run(options: argparse.Namespace, reporter: Reporter) -> int:
    if not options.images:
        raise ValueError("name the images to be predicted after the model.")
    settings = Prediction(
        **{**given_settings(options, Prediction), "tile": _tile(options.tile)}
    )
    from napari_unet.engine.cluster.jobs import source_of

    line = ProgressLine()
    files = find(options.images)
    if note := left_out(options.images):
        line.say(note)
    # a pattern such as images/** finds results, too, when the command is repeated
    if others := PredictionFolder(options.output).without_results(files):
        if results := len(files) - len(others):
            found = counted(results, "result")
            line.say(f"{found} among the images left out, found in {options.output}.")
        files = others
    if is_automatic(options.model):
        options.model = _chosen(options, files, settings, line)
    model, source = source_of(options.model)
    kinds = saved_kinds(options.save, model.card.training.objective.kinds)
    check_installed(kinds)
    segmentation = _segmentation(options, model.card)
    if options.upload is not None:
        url_of(options.upload)  # before hours of work
    # how a model of another program differs here
    own = model.card.notes if source.foreign else ()
    for note in filter(None, (note_of_window(model.card.architecture), *own)):
        line.say(f"{options.model}: {note}")
    if options.on is not None:
        basis = PredictionBasis(
            options.model,
            source.stamp,
            settings,
            segmentation,
            options.channel,
            finds_cells=model.card.outputs is None,
        )
        return remote.predict(options, model, basis, kinds, files)
    with pool_of(options, model, source, settings, line.say) as pool:
        from napari_unet.engine.file_prediction import FilePredictor
        from napari_unet.engine.network.network import prepare

        predictor = FilePredictor(
            prepare(model, settings.device, settings.precision, file=options.model)
            if pool is None
            else pool.network,
            model.card,
            settings if pool is None else pool.settings,
            segmentation,
            PredictionFolder(options.output, kinds),
            options.model,
            stamp=source.stamp,
            channel=options.channel,
            pool=pool,
        )
        return _predict(options, predictor, files, line, reporter)


def _predict(
    options: argparse.Namespace,
    predictor: FilePredictor,
    files: list[Path],
    line: ProgressLine,
    reporter: Reporter,
) -> int:
    """Predict the files and report; return the exit status."""
    from napari_unet.engine.batch_prediction import predict_files
    from napari_unet.engine.uploading import uploaded

    events: Any = predict_files(
        predictor, files, options.axes, overwrite=options.overwrite
    )
    events = reporter.watched(events)
    if options.upload is not None:
        events = uploaded(
            events, predictor.folder, options.upload, overwrite=options.overwrite
        )
    return follow_files(options, predictor.folder.kinds, events, line)


def _chosen(
    options: argparse.Namespace,
    files: Sequence[Path],
    settings: Prediction,
    line: ProgressLine,
) -> Path:
    """Choose a model of the package by the first image, and show which and why."""
    from napari_unet.engine.network.network import Network, prepare
    from napari_unet.engine.starter_choice import choose_by_first
    from napari_unet.io.model_file import load_model

    def load(path: Path) -> tuple[Network, ModelCard]:
        model = load_model(path)
        network = prepare(model, settings.device, settings.precision, file=path)
        return network, model.card

    for event in choose_by_first(files, load, options.axes, options.channel):
        if isinstance(event, StarterChosen):
            choice = event.choice
            line.say(f"auto: takes {choice.name}: {choice.reason}")
            if doubt := choice.doubt_of(choice.name):
                line.say(f"auto: {doubt}")
    return pretrained_model(choice.name)


def saved_kinds(text: str | None, kinds: tuple[str, ...] = KINDS) -> tuple[str, ...]:
    """Return the kinds of output that `--save` names, or all."""
    if text is None:
        return kinds
    named = [part.strip() for part in text.split(",") if part.strip()]
    known = (*kinds, *OF_CELLS) if "instances" in kinds else kinds
    unknown = [part for part in named if part not in known]
    if unknown or not named:
        raise ValueError(
            f"--save takes {', '.join(known)} with commas between, found {text!r}."
        )
    return tuple(kind for kind in known if kind in named)


def _segmentation(options: argparse.Namespace, card: ModelCard) -> Segmentation:
    """Return the model's settings with what was given."""
    given = given_settings(options, Segmentation)
    if (names := given.pop("largest_only", None)) is not None:
        each = [] if names == "none" else names.split(",")
        given["largest_only"] = tuple(sorted({card.region(n.strip()) for n in each}))
    segmentation = card.segmentation.replace(**given)
    if "membrane" in given and segmentation.cells_by != "multicut":
        raise ValueError(
            f"--membrane {options.membrane:g} is for --cells-by multicut, found "
            f"--cells-by {segmentation.cells_by}."
        )
    kinds = {c.kind for c in card.classes}
    for name, value in given.items():
        if name == "edge_smoothing":
            continue  # `check_segmentation` explains that it is for regions only
        kind = "regions" if name in _OF_REGIONS else "cells"
        # zero values for regions are harmless without regions
        if kind not in kinds and (value or kind == "cells"):
            raise ValueError(
                f"{_as_typed(name, value)} is for classes of {kind}, and {card.name} "
                "has none."
            )
    return segmentation


def _as_typed(name: str, value: object) -> str:
    """Return an option as written on the command line."""
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{option}" if value else f"--no-{option}"
    return f"--{option} {value}"


def _tile(text: str) -> int:
    if text == "auto":
        return 0
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"--tile is a number of pixels or auto, found {text!r}.")
    return int(text)
