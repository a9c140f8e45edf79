"""All networks of the catalogue, and all that the builders make, small.

They are found, not listed: what is added to either is tested like the rest.
"""

from __future__ import annotations

from importlib import import_module
from inspect import Parameter, getmembers, isfunction, signature
from math import prod
from pkgutil import iter_modules
from typing import TYPE_CHECKING

import numpy as np
import torch

import napari_unet.core.network as package
import published_networks
from example_models import random_model
from napari_unet.core.model import Model
from napari_unet.core.network.architecture import Architecture
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.network.choice import Choice
from napari_unet.core.network.geometry import Layered
from napari_unet.core.network.unetr import DEPTH, Unetr
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import to_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What a builder is asked for, if it lets itself be asked.
_ASKED = {"channels": 1, "classes": 2, "width": 4}
# Widest of the maps of a network whose builder cannot be asked.
_WIDEST = 32
# Of networks that see one.
_WINDOW = 32


def catalogue(
    *, channels: int = 1, width: int = 4, deep: bool = True
) -> dict[str, Layered]:
    """Return each network of the catalogue, by its name and number of axes.

    Volumes of two reductions that are not `deep` have but one: they are computed in a
    second.
    """
    made = {}
    for name, entry in NETWORKS.items():
        for ndim in entry.ndims:
            depth = 2 if deep or ndim == 2 else 1
            choice = Choice(
                ndim=ndim,
                channels=channels,
                classes=2,
                width=width,
                depth=depth,
                patch=(_WINDOW,) * ndim,
            )
            made[f"{name}-{ndim}d"] = _slim(entry.build(choice), width)
    return made


def _slim(table: Layered, width: int) -> Layered:
    """Return a UNETR with fewer blocks and a decoder as wide as was asked for."""
    if isinstance(table, Unetr):
        return table.replace(width=width, blocks=DEPTH)
    return table


def built(depth: int | None = None) -> dict[str, Layered]:
    """Return what each builder makes of its defaults, but for the widths.

    With another depth than the published one, only of builders that have a choice.
    """
    made: dict[str, Layered] = {}
    for name, build in _builders():
        known = signature(build).parameters
        if "choice" in known:
            made |= _of_paper(name, build, depth)
            continue
        if depth and "depth" not in known:
            continue
        asked = {key: value for key, value in _ASKED.items() if key in known}
        if "depth" in known and (depth or known["depth"].default is Parameter.empty):
            asked["depth"] = depth or 3
        for ndim in (2, 3) if "ndim" in known else (None,):
            table = build(**asked, **({"ndim": ndim} if ndim else {}))
            made[f"{name}-{table.ndim}d"] = narrow(table)
    return made


def _of_paper(
    name: str, build: Callable[..., Layered], depth: int | None
) -> dict[str, Layered]:
    """Return what a builder makes of the depth and the norm of its paper."""
    (paper,) = (e.published for e in NETWORKS.values() if e.build is build)
    return {
        f"{name}-{ndim}d": narrow(
            build(
                Choice(
                    ndim=ndim,
                    width=_ASKED["width"],
                    depth=depth or sizes["depth"],
                    norm=sizes["norm"],
                )
            )
        )
        for ndim, sizes in paper.items()
    }


def computed() -> dict[str, Layered]:
    """Return those of the builders that a test can run, their instance norms, too."""
    tables = {f"{name}-flat": table for name, table in built(depth=1).items()}
    tables |= {name: t for name, t in built().items() if prod(t.min_input) < 250**2}
    return {
        name: table.replace(window=(_WINDOW,) * table.ndim)
        if table.sees_window and table.window is None
        else table
        for name, table in tables.items()
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
    noise = torch.randn(
        1, table.channels, *window(table), generator=torch.manual_seed(0)
    )
    with torch.no_grad():
        scores = module.eval()(noise)
    spread = scores.flatten(2).std(dim=2).mean().item()
    middle = scores.mean(dim=(0, *range(2, scores.ndim))).numpy()
    weights = dict(model.weights)
    for name in of_classes(table):
        weights[name] = weights[name] / spread
    if "score.bias" in weights:
        weights["score.bias"] = weights["score.bias"] - middle / spread
    return Model(model.card, weights)


def of_classes(table: Layered) -> list[str]:
    """Return the names of the weights whose shapes depend on the number of classes."""
    return [name for name, axes in _class_axes(table).items() if axes]


def mixes_classes(table: Layered) -> bool:
    """Whether the score of a class is made of what was scores of others."""
    return max(_class_axes(table).values()) > 1


def _class_axes(table: Layered) -> dict[str, int]:
    shapes = []
    for classes in (table.classes, table.classes + 1):
        with torch.device("meta"):
            state = LayeredNetwork(table.replace(classes=classes)).state_dict()
        shapes.append({name: weight.shape for name, weight in state.items()})
    few, more = shapes
    return {name: int(np.not_equal(few[name], more[name]).sum()) for name in few}


def window(table: Layered) -> tuple[int, ...]:
    """Return a size that a network takes: its own window, or a small one."""
    output = table.output_covering(table.window or (12,) * table.ndim)
    return table.input_size(output)


def _builders() -> Iterator[tuple[str, Callable[..., Layered]]]:
    kinds = {kind.__name__ for kind in _subclasses(Layered)}
    own_names = (f"{package.__name__}.{m.name}" for m in iter_modules(package.__path__))
    for module in (*map(import_module, own_names), published_networks):
        for name, function in getmembers(module, isfunction):
            own = function.__module__ == module.__name__ and not name.startswith("_")
            described = signature(function)
            needed = {
                key
                for key, parameter in described.parameters.items()
                if parameter.default is Parameter.empty
            }
            builds = needed <= {*_ASKED, "ndim", "depth", "choice"}
            if own and builds and described.return_annotation in kinds:
                yield name, function


def _subclasses(kind: type) -> Iterator[type]:
    yield kind
    for below in kind.__subclasses__():
        yield from _subclasses(below)
