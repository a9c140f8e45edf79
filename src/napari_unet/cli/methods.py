"""`napari-unet methods`: a paragraph on a model for the methods of a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.cli.options import json_option, write_json
from napari_unet.core.training.methods import methods
from napari_unet.io.learnt_data import annotated_objects
from napari_unet.io.model_file import read_card
from napari_unet.io.pretrained import model_path
from napari_unet.io.run_folder import run_of
from napari_unet.io.trained_run import read_run

if TYPE_CHECKING:
    import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "model",
        type=model_path,
        help="model file, name of a pretrained model, or folder of a run",
    )
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    path = Path(options.model)
    folder = path if path.is_dir() else run_of(path)
    if folder is None:
        text = methods(read_card(path))
    else:
        record = read_run(folder)
        objects = annotated_objects(folder, record)
        text = methods(record.card, record.seconds, objects)
    if options.json != "-":
        print(text)
    write_json({"methods": text}, options.json)
    return 0
