"""`napari-unet bundle`: all that a training takes, in one file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.cli import train
from napari_unet.cli.options import write_json
from napari_unet.cli.progress import ProgressLine
from napari_unet.core.text import counted
from napari_unet.io.bundle import Bundle, write_bundle

if TYPE_CHECKING:
    import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options: those of `train`."""
    train.add_options(parser)
    parser.set_defaults(resume=False)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    source = train.source_of(options)
    line = ProgressLine()
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
    report = {"bundle": str(options.output), "planes": planes, "bytes": size}
    write_json(report | dict(source.report), options.json)
    return 0
