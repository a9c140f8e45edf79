"""Starting from another model, also with other classes or channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_unet.engine.network.network import damaged, to_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_unet.core.model import Model
    from napari_unet.engine.network.layered import LayeredNetwork


def take_over(module: LayeredNetwork, model: Model, classes: Sequence[str]) -> None:
    """Copy the weights of a model into a network of the same levels as far as they fit.

    Classes are matched by name, the background always; new classes start at random.
    With another number of channels, each takes the mean of the old ones, scaled so that
    the first layer answers as strongly as before. If the weights are not those that the
    model's card describes, it is a ValueError.
    """
    old = to_tensors(model.weights)
    new = module.state_dict()
    if old.keys() != new.keys():
        raise damaged(model)
    for name, weight in old.items():
        inner = weight.shape[1:] == new[name].shape[1:]
        if name.startswith("score."):
            if not inner or len(weight) != model.card.architecture.classes:
                raise damaged(model)
            weight = _rows(weight, new[name].cpu(), model, classes)
        elif (
            name in module.first_weights and weight.ndim == new[name].ndim and not inner
        ):
            weight = _channels(weight, new[name].shape[1])
        if weight.shape != new[name].shape:
            raise damaged(model)
        new[name].copy_(weight)


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
