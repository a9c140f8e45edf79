"""`napari-unet convert`: from a model of another program to one of this program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.io.atomic import check_separate, check_writable
from napari_unet.io.model_file import SUFFIX, check_replaceable, save_model

if TYPE_CHECKING:
    import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "model", type=Path, help="model of another program, a file or a folder"
    )
    parser.add_argument(
        "output", type=Path, help=f"model file to write, by custom ending in {SUFFIX}"
    )


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from napari_unet.engine.model_formats.catalogue import (
        MODEL_FORMATS,
        format_of,
        read_model,
    )

    ends = tuple(end for one in MODEL_FORMATS.values() for end in one.suffixes if end)
    if options.output.name.lower().endswith(ends):
        raise ValueError(
            f"{options.output}: is the name of a model of another program, which "
            f"export-model writes; those of napari-unet end in {SUFFIX}."
        )
    check_writable(options.output)
    check_separate(options.output, [options.model])
    check_replaceable(options.output)
    model = read_model(options.model)
    found = format_of(options.model)
    if found is None:
        raise ValueError(f"{options.model} is a model of this program already.")
    save_model(model, options.output)
    for note in model.card.notes:
        print(note)
    print(f"{options.output}: a model of {found.title}; napari-unet info shows more.")
    return 0
