"""All networks of the catalogue, and all that the builders make, small.

They are found, not listed: what is added to either is tested like the rest.
"""

from __future__ import annotations

from importlib import import_module
from inspect import getmembers, isfunction, signature
from math import prod
from pkgutil import iter_modules
from typing import TYPE_CHECKING

import torch

import napari_unet.core.network as package
from example_architectures import unet3d
from example_models import random_model
from napari_unet.core.model import Model
from napari_unet.core.network.architecture import Architecture
from napari_unet.core.network.catalogue import NETWORKS, Choice
from napari_unet.core.network.geometry import Layered
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import to_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What a builder is asked for, if it lets itself be asked.
_ASKED = {"channels": 1, "classes": 2, "width": 4}
# ... and if it has no default.
_NEEDED = {"ndim": 2, "depth": 2}
# Widest of the maps of a network whose builder cannot be asked.
_WIDEST = 32
# Multiplications for the smallest output, of a network that a test computes.
_AFFORDABLE = 4e9


def catalogue(*, channels: int = 1, classes: int = 2) -> dict[str, Layered]:
    """Return each network of the catalogue, by its name and number of axes."""
    return {
        f"{name}-{ndim}d": entry.build(
            Choice(ndim=ndim, channels=channels, classes=classes, width=4, depth=2)
        )
        for name, entry in NETWORKS.items()
        for ndim in entry.ndims
    }


def built() -> dict[str, Layered]:
    """Return what each builder makes of its defaults, but for the widths."""
    made: dict[str, Layered] = {"unet3d": narrow(unet3d())}
    for name, build in _builders():
        known = signature(build).parameters
        asked = {key: value for key, value in _ASKED.items() if key in known}
        asked |= {
            key: _NEEDED[key]
            for key, parameter in known.items()
            if parameter.default is parameter.empty and key not in asked
        }
        ndims = (2, 3) if "ndim" in known else (None,)
        for ndim in ndims:
            axes = {"ndim": ndim} if ndim else {}
            table = narrow(build(**(asked | axes)))
            made[f"{name}-{table.ndim}d"] = table
    return made


def affordable(tables: dict[str, Layered]) -> dict[str, Layered]:
    """Return those whose smallest output is computed in a second or two."""
    return {
        name: table
        for name, table in tables.items()
        if table.flops(table.min_output) < _AFFORDABLE
        and prod(table.min_input) < 300**2
    }


def narrow(table: Layered) -> Layered:
    """Return a U-Net with all its widths divided by one number."""
    if not isinstance(table, Architecture):
        return table
    widest = max(max(level.down) for level in table.levels)
    by = -(-widest // _WIDEST)

    def less(widths: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(-(-w // by) for w in widths)

    levels = tuple(
        level.replace(
            down=less(level.down), up=less(level.up), up_conv=-(-level.up_conv // by)
        )
        for level in table.levels
    )
    return table.replace(levels=levels, last=less(table.last))


def calm_model(table: Layered) -> Model:
    """Return a model with random weights, whose scores are about 1.

    In a softmax of large scores nothing but the class could be seen.
    """
    model = random_model(table)
    module = LayeredNetwork(table)
    module.load_state_dict(to_tensors(model.weights))
    size = table.input_size(table.output_covering((12,) * table.ndim))
    noise = torch.randn(1, table.channels, *size, generator=torch.manual_seed(0))
    with torch.no_grad():
        scores = module.eval()(noise)
    spread = scores.flatten(2).std(dim=2).mean().item()
    middle = scores.mean(dim=(0, *range(2, scores.ndim))).numpy()
    weights = dict(model.weights)
    weights["score.weight"] = weights["score.weight"] / spread
    weights["score.bias"] = (weights["score.bias"] - middle) / spread
    return Model(model.card, weights)


def _builders() -> Iterator[tuple[str, Callable[..., Layered]]]:
    kinds = {kind.__name__ for kind in _subclasses(Layered)}
    for info in iter_modules(package.__path__):
        module = import_module(f"{package.__name__}.{info.name}")
        for name, function in getmembers(module, isfunction):
            own = function.__module__ == module.__name__ and not name.startswith("_")
            if own and signature(function).return_annotation in kinds:
                yield name, function


def _subclasses(kind: type) -> Iterator[type]:
    yield kind
    for below in kind.__subclasses__():
        yield from _subclasses(below)
