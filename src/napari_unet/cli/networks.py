"""`napari-unet networks`: the networks, with sizes, papers and verification."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from napari_unet.cli.options import json_option, write_json
from napari_unet.core.network.blended import geometry_of
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.text import times
from napari_unet.core.training.patches import in_window
from napari_unet.core.training.training_settings import PRESETS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

# Columns of the table; the JSON has all fields.
_COLUMNS = {
    "network": "network",
    "axes": "axes",
    "parameters": "parameters",
    "halo": "halo",
    "step": "step",
    "window": "smallest window",
    "paper": "paper",
    "verified": "verified against",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        default="quick",
        help="whose width and depth the networks have (default: quick)",
    )
    parser.add_argument(
        "--channels",
        type=int,
        default=1,
        metavar="N",
        help="of the images (default: 1)",
    )
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    rows = [
        _described(name, options.preset, ndim, options.channels)
        for name, entry in NETWORKS.items()
        for ndim in entry.ndims
    ]
    if options.json != "-":
        _print_table(rows)
    write_json({"networks": rows}, options.json)
    return 0


def _described(
    name: str, preset: str, ndim: Literal[2, 3], channels: int
) -> dict[str, Any]:
    # torch takes a second to load
    from napari_unet.engine.network.network import count_weights

    entry, settings = NETWORKS[name], PRESETS[preset](ndim).with_network(name)
    slices = 2**10  # enough for any depth
    made = settings.architecture(channels, classes=2, slices=slices)
    network = in_window(made, settings, slices)
    geometry = geometry_of(network)
    return {
        "network": name,
        "title": entry.title,
        "use": entry.use,
        "axes": ndim,
        "parameters": count_weights(network),
        "halo": geometry.halo,
        "step": geometry.step,
        "window": network.window or network.min_input,
        "fixed": network.window is not None,
        "paper": entry.paper,
        "verified": entry.verified,
    }


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Print the networks one under the other, sizes in pixels."""
    lines = [list(_COLUMNS.values())]
    lines += [[_written(row, key) for key in _COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (text.ljust(n) for text, n in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())


def _written(row: dict[str, Any], key: str) -> str:
    value = row[key]
    if isinstance(value, tuple):
        size = str(value[0]) if len(set(value)) == 1 else times(value)
        return f"{size} fixed" if key == "window" and row["fixed"] else size
    if key == "axes":
        return f"{value}-D"
    return f"{value:,}" if isinstance(value, int) else str(value)
