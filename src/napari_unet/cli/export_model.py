"""`napari-unet export-model`: from a model to the files of another program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.cli.options import MODEL_HELP
from napari_unet.core.publication import Publication
from napari_unet.io.atomic import check_writable
from napari_unet.io.pretrained import model_path

if TYPE_CHECKING:
    import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from napari_unet.engine.model_formats.catalogue import MODEL_FORMATS

    written = {name: one for name, one in MODEL_FORMATS.items() if one.is_written}
    parser.add_argument("model", type=model_path, help=MODEL_HELP)
    parser.add_argument("output", type=Path, help="file to write")
    parser.add_argument(
        "--format",
        required=True,
        choices=tuple(written),
        help="; ".join(f"{name}: {one.tip}" for name, one in written.items()),
    )
    published = ", ".join(name for name, one in written.items() if one.is_published)
    group = parser.add_argument_group(f"of a model that is given away ({published})")
    group.add_argument(
        "--author", action="append", metavar="NAME", help="who made it, once for each"
    )
    for name in ("licence", "description"):
        group.add_argument(f"--{name}", help=Publication.model_fields[name].description)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    from napari_unet.engine.model_formats.catalogue import MODEL_FORMATS, read_model

    wanted = MODEL_FORMATS[options.format]
    wanted.check_installed()
    wanted.check_target(options.output, options.model)
    publication = _publication(options) if wanted.is_published else None
    model = read_model(options.model)
    check_writable(options.output)
    for note in wanted.write(model, options.output, publication):
        print(note)
    print(f"{options.output}: {wanted.title}.")
    return 0


def _publication(options: argparse.Namespace) -> Publication:
    if not options.author or not options.licence:
        raise ValueError(
            f"--format {options.format} needs --author and --licence: who made the "
            "model, and what others may do with it."
        )
    return Publication(
        authors=tuple(options.author),
        licence=options.licence,
        description=options.description or "",
    )
