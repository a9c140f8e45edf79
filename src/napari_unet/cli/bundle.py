"""`napari-unet bundle`: all that a training or prediction takes, in one file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_unet.cli import train
from napari_unet.cli.options import MODEL_HELP, write_json
from napari_unet.cli.progress import ProgressLine
from napari_unet.cli.training_source import source_of
from napari_unet.core.text import counted
from napari_unet.io.atomic import check_separate
from napari_unet.io.bundle import (
    Bundle,
    check_replaceable,
    write_bundle,
    write_images,
)
from napari_unet.io.images import find, left_out, read_image
from napari_unet.io.names import image_name
from napari_unet.io.pretrained import model_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options: those of `train`."""
    train.add_options(parser)
    parser.add_argument(
        "--model",
        type=model_path,
        help="model for a prediction of the images, which needs no labels: a "
        f"{MODEL_HELP}",
    )


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    for name in ("resume", "on", "queue", "events", "orders", "pulse"):
        if getattr(options, name):
            raise ValueError(f"--{name} is for train: a bundle is only written.")
    check_replaceable(options.output)
    line, report = ProgressLine(), {}
    if options.model is not None:
        written = _images(options)
        if note := left_out([options.images]):
            line.say(note)
    else:
        source = source_of(options)
        report = dict(source.report)
        for note in source.notes:
            line.say(note)
        written = write_bundle(
            options.output, source.pairs, source.settings, source.start, source.notes
        )
    for _ in written:
        pass
    record = Bundle(options.output).record
    planes = sum(len(image.planes) for image in record.images)
    size = options.output.stat().st_size
    line.say(
        f"{options.output}: {counted(planes, 'plane')} of "
        f"{counted(len(record.images), 'image')}, {size / 1e6:.3g} MB."
    )
    found = {"bundle": str(options.output), "planes": planes, "bytes": size}
    write_json(found | report, options.json)
    return 0


def _images(options: argparse.Namespace) -> Iterator[None]:
    """Return what writes a bundle for a prediction."""
    from napari_unet.engine.model_formats.catalogue import read_model

    if options.labels is not None:
        raise ValueError(
            f"to predict with {options.model} no labels are needed, found "
            f"{options.labels}; put several images into a folder or a pattern."
        )
    files = find([options.images])
    check_separate(options.output, files)
    images = (
        replace(read_image(file, options.axes), name=image_name(file)) for file in files
    )
    return write_images(options.output, images, read_model(options.model))
