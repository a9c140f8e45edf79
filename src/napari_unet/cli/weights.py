"""`napari-unet weights`: the border weight map of labels, to look at."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.cli.labels import known_kind, meaning_of, read_named
from napari_unet.cli.notes import notes_of
from napari_unet.cli.options import (
    add_settings,
    axes_option,
    given_border_weights,
    label_options,
    output_option,
)
from napari_unet.core.annotation.pairing import annotations_of
from napari_unet.core.settings import BorderWeights
from napari_unet.core.training.loss_weights import border_weights
from napari_unet.io.atomic import check_separate
from napari_unet.io.export import write_weights
from napari_unet.io.names import split_number
from napari_unet.io.provenance import Provenance, check_ours, content_stamp

if TYPE_CHECKING:
    import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("labels", type=Path, help="label file")
    output_option(parser, "FILE", "TIFF or OME-Zarr to write, float32")
    label_options(parser)
    axes_option(parser)
    add_settings(parser, BorderWeights)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    settings = given_border_weights(options, BorderWeights())
    file = split_number(options.labels)[0]
    check_separate(options.output, [file])
    check_ours(options.output)
    mask = read_named(options.labels, options.axes)
    known = options.kind or known_kind([options.labels])
    kind, notes = meaning_of([mask], known)
    maps = []
    for annotation in annotations_of([mask], options.ndim, kind):
        targets = annotation.targets()
        maps.append(
            border_weights(
                targets.instances,
                settings,
                background=targets.classes == 0,
                class_of=annotation.class_of,
                spacing=mask.field_spacing(options.ndim),
            )
        )
    axes = mask.label_axes
    shape = tuple(mask.size(a) for a in axes)
    used = settings.model_dump() | {"labels": kind, "axes": options.axes}
    made = Provenance(file.name, content_stamp(options.labels), "", "", used)
    weights = np.stack(maps).reshape(shape)
    write_weights(options.output, weights, axes, mask.known_um, made)
    for note in (*notes, *notes_of([mask])):
        print(note, file=sys.stderr)
    return 0
