"""Command-line options, made from the settings models or shared by commands."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from napari_unet import __version__
from napari_unet.core.settings import BorderWeights
from napari_unet.io.atomic import check_writable, write_text
from napari_unet.io.pretrained import PRETRAINED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic.fields import FieldInfo

    from napari_unet.core.settings import Settings


MODEL_HELP = (
    "model file, also of another program, or the name of a pretrained model: "
    f"{' or '.join(PRETRAINED)}"
)

# What reports begin with, and each line of a list of events.
_MARK = "napari-unet"
_REPORT = re.compile(rb'\{\s*"(napari-unet|event|ended)":')
_BEGIN = 1024


def add_settings(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    model: type[Settings],
    names: Iterable[str] | None = None,
    prefix: str = "",
    defaults: Settings | None = None,
) -> None:
    """Add an option for each simple field of a settings model.

    Only the fields of `names`, by default all that hold a single value; `prefix` is put
    before their names. The help takes the defaults from `defaults`, if not from the
    model.
    """
    for name, field in model.model_fields.items():
        if names is None or name in names:
            usual = field.get_default() if defaults is None else getattr(defaults, name)
            _add(parser, prefix + name, field, usual)


def given_settings(
    options: argparse.Namespace, model: type[Settings], prefix: str = ""
) -> dict[str, Any]:
    """Return the fields of a settings model that were given on the command line."""
    given = {n: getattr(options, prefix + n, None) for n in model.model_fields}
    return {name: value for name, value in given.items() if value is not None}


def given_border_weights(
    options: argparse.Namespace, usual: BorderWeights, prefix: str = ""
) -> BorderWeights:
    """Return the border weights that were given, or the usual ones.

    ValueError for constants of the Fiji plugin that another scheme does not use.
    """
    given = given_settings(options, BorderWeights, prefix)
    if given.get("scheme") == "fiji":
        usual = BorderWeights.fiji()
    made = usual.replace(**given)
    for name in ("balance", "near_sigma"):
        if name in given and made.scheme != "fiji":
            option = f"--{prefix}{name}".replace("_", "-")
            scheme = f"--{prefix}scheme".replace("_", "-")
            raise ValueError(f"{option} is for {scheme} fiji, found {made.scheme}.")
    return made


def output_option(parser: argparse.ArgumentParser, metavar: str, text: str) -> None:
    """Add the option that names what is written."""
    parser.add_argument(
        "--output", required=True, metavar=metavar, type=Path, help=text
    )


def axes_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the axes of files that do not say."""
    parser.add_argument(
        "--axes",
        type=_axes,
        help="axes of the images where the files do not tell or err, such as zyx, "
        "tyx or cyx",
    )


def channel_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the channel of images with several."""
    parser.add_argument(
        "--channel",
        type=int,
        metavar="N",
        help="the network sees the N-th channel alone, from 1 (default: all)",
    )


def _axes(text: str) -> str:
    """Refuse what names the axes of no image, before any file is opened."""
    if (
        set(text) - set("tczyx")
        or len(set(text)) < len(text)
        or not {"y", "x"} <= {*text}
    ):
        raise argparse.ArgumentTypeError(
            f"axes are y and x with any of t, c, z, each once; found {text!r}."
        )
    return text


def remote_options(
    parser: argparse.ArgumentParser,
    what: str,
    more: str = "",
    orders: str = "pause, resume or cancel",
) -> None:
    """Add the options for another computer, and for the program that watches a job."""
    parser.add_argument(
        "--on",
        metavar="HOST",
        help=f"{what} on another computer that ssh reaches, such as me@host, with "
        f":/path/to/napari-unet behind it if it is not found there{more}",
    )
    parser.add_argument(
        "--queue",
        metavar="QUEUE",
        help="queue of that computer to go through: slurm, and options of sbatch in "
        "quotes, such as 'slurm --gres=gpu:1 --time=60'",
    )
    parser.add_argument(
        "--events",
        metavar="FILE",
        type=Path,
        help="write each event into this file, a line of JSON for each",
    )
    parser.add_argument(
        "--orders",
        metavar="FILE",
        type=Path,
        help=f"do what is written in this file meanwhile: {orders}",
    )
    # for `serve`, which made the file: renew its time, and end when it is removed
    parser.add_argument("--pulse", type=Path, help=argparse.SUPPRESS)


def labels_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says what labels mean."""
    parser.add_argument(
        "--labels",
        dest="kind",
        choices=("instances", "binary", "semantic", "annotation", "sparse"),
        help="what label values mean: an id per object; 0 and another; a class; or 0 "
        "not annotated, 1 background, from 2 on objects, or classes (default: guessed "
        "from all)",
    )


def label_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what labels mean and whether slices belong together."""
    labels_option(parser)
    parser.add_argument(
        "--3d",
        dest="ndim",
        action="store_const",
        const=3,
        default=2,
        help="take z-stacks as volumes instead of slices",
    )


def json_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for machine-readable results."""
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write the results as JSON; - writes them to standard output",
    )


def check_report(
    path: str | Path | None, option: str, *, appended: bool = False
) -> None:
    """Find out before the work whether a report can be written where an option says.

    What is `appended` may go into a pipe or to a terminal.

    Raises
    ------
    ValueError
        Something else than a report of ours is there, such as an image or a model.
    OSError
        It cannot be written.
    """
    if path is None or path == "-":
        return
    file = Path(path)
    if file.is_dir():
        raise ValueError(f"{option} takes a file to write to, found the folder {path}.")
    if file.exists() and not file.is_file() and appended:
        return
    if file.exists() and not _is_report(file):
        raise ValueError(
            f"{option} {path}: is there already and is no report of napari-unet, so it "
            "is not replaced; name another file."
        )
    check_writable(file)


def _is_report(file: Path) -> bool:
    """Whether a file begins as reports and lists of events do, or is empty."""
    if not file.is_file():  # a device may be waited for
        return False
    with file.open("rb") as opened:
        begin = opened.read(_BEGIN).lstrip()
    return not begin or _REPORT.match(begin) is not None


def _add(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    name: str,
    field: FieldInfo,
    usual: Any,
) -> None:
    kind = field.annotation
    option = "--" + name.replace("_", "-")
    text = f"{field.description} (default: {usual})".replace("%", "%%")
    if kind is bool:
        parser.add_argument(
            option, action=argparse.BooleanOptionalAction, default=None, help=text
        )
    elif get_origin(kind) is Literal:
        choices = get_args(kind)
        parser.add_argument(option, type=type(choices[0]), choices=choices, help=text)
    elif isinstance(kind, type) and kind in (int, float, str):
        parser.add_argument(
            option, type=kind, metavar="N" if kind is int else "X", help=text
        )


def write_json(report: Mapping[str, Any], path: str | None) -> None:
    """Write a report where `--json` says, if it was given."""
    if path is None:
        return
    text = json.dumps({_MARK: __version__, **report}, indent=2) + "\n"
    if path == "-":
        sys.stdout.write(text)
    else:
        write_text(path, text)
