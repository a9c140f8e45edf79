"""Starting from another model, also with other classes or channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import damaged, to_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_unet.core.model import Model
    from napari_unet.core.network.geometry import Layered


def take_over(module: LayeredNetwork, model: Model, classes: Sequence[str]) -> None:
    """Copy the weights of a model into a network of the same levels as far as they fit.

    Classes are matched by name, the background always; new classes start at random.
    Where layers before the scores have a channel for each class, too, all of these
    start at random unless the classes are the same. With another number of channels,
    each takes the mean of the old ones, scaled so that the first layer answers as
    strongly as before. If the weights are not those that the model's card describes, it
    is a ValueError.
    """
    old = to_tensors(model.weights)
    new = module.state_dict()
    if old.keys() != new.keys():
        raise damaged(model)
    known = [c.name for c in model.card.classes]
    same = list(classes) == known or len(classes) == len(known) == 1
    tied, scores = _tied_to_classes(model.card.architecture)
    for name, weight in old.items():
        if name in tied and not same and tied > scores:
            continue
        inner = weight.shape[1:] == new[name].shape[1:]
        if name in scores:
            if not inner or len(weight) != model.card.architecture.classes:
                raise damaged(model)
            if model.card.outputs is not None and weight.shape != new[name].shape:
                continue
            if model.card.outputs is None:
                weight = _rows(weight, new[name].cpu(), model, classes)
        elif (
            name in module.first_weights and weight.ndim == new[name].ndim and not inner
        ):
            weight = _channels(weight, new[name].shape[1])
        if weight.shape != new[name].shape:
            raise damaged(model)
        new[name].copy_(weight)


def _tied_to_classes(table: Layered) -> tuple[set[str], set[str]]:
    """Return the weights with a channel for each class, and the scores' of them."""
    with torch.device("meta"):
        few, more = (
            LayeredNetwork(table.replace(classes=n)).state_dict() for n in (2, 3)
        )
    tied = {name for name in few if few[name].shape != more[name].shape}
    drawing = table.drawing
    outputs = [drawing.layers[n] for n in (drawing.scores, *drawing.supervised)]
    # those of an FCN-8s are a sum
    outputs += [layer for layer in drawing.layers if layer.name.startswith("score")]
    layers = {layer.name for layer in outputs if layer.op == "conv"}
    return tied, {name for name in tied if name.rpartition(".")[0] in layers}


def _rows(old: Tensor, new: Tensor, model: Model, classes: Sequence[str]) -> Tensor:
    """Return the last layer's rows: background and classes of one name as they were."""
    known = {c.name: k for k, c in enumerate(model.card.classes, start=1)}
    rows = new.clone()
    rows[0] = old[0]
    for k, name in enumerate(classes, start=1):
        # a single class is the same thing under whatever name
        source = known.get(name, 1 if len(classes) == len(known) == 1 else 0)
        if source:
            rows[k] = old[source]
    return rows


def _channels(old: Tensor, channels: int) -> Tensor:
    mean = old.mean(dim=1, keepdim=True) * (old.shape[1] / channels)
    return torch.repeat_interleave(mean, channels, dim=1)
