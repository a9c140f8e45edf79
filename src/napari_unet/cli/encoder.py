"""`napari-unet encoder`: bring ImageNet's weights to this computer."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from napari_unet.cli.progress import ProgressLine
from napari_unet.core.network.vgg import Encoder
from napari_unet.io.encoder_weights import (
    PUBLISHED,
    encoder_folder,
    fetch,
    kept_file,
    read_kept,
)

if TYPE_CHECKING:
    import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "encoder",
        choices=get_args(Encoder),
        help="vgg11 for the network ternaus, vgg16 for fcn8",
    )
    parser.add_argument(
        "--file",
        type=Path,
        help="file of torchvision's that is here already, such as "
        f"{PUBLISHED['vgg11'].file}; otherwise it is fetched",
    )


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    encoder, line = options.encoder, ProgressLine()
    source, kept = PUBLISHED[encoder], kept_file(encoder)
    file = options.file or encoder_folder() / source.file
    if options.file is None and kept.is_file():
        read_kept(encoder, kept)
        line.say(f"{kept}: is here already.")
        return 0
    fetched = options.file is None and not file.is_file()
    if fetched:
        line.say(f"fetching {source.site}{source.file} ({source.megabytes} MB) …")
        with closing(fetch(encoder)) as job:
            for done in job:
                share = min(done / source.size, 1.0)
                line.show(f"{done / 1e6:.0f} MB of {source.megabytes}", share)
    elif not file.is_file():
        raise FileNotFoundError(f"there is no file {file}.")
    # torch takes a second to load: only now that there is something to read
    from napari_unet.engine.network.encoder import keep_encoder

    keep_encoder(encoder, file)
    if fetched:
        file.unlink()
    size = kept.stat().st_size / 1e6
    line.say(f"{kept}: the convolutions of {source.title} ({size:.0f} MB).")
    return 0
