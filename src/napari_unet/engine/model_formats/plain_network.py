"""A network of napari-unet in plain PyTorch, as packages for other programs carry it.

This file needs nothing but torch. BSD-3-Clause, napari-unet contributors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
_UP_CONV = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_NORM: dict[str, dict[int, type[nn.Module]]] = {
    "batch": {2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
    "instance": {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d},
}
_MAX_POOL = {2: F.max_pool2d, 3: F.max_pool3d}
_MEAN_POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}
_LINEAR = {2: "bilinear", 3: "trilinear"}


class Network(nn.Module):
    """Gives as many pixels as it is given, and right ones but for a border.

    Without `fill` and `halo` it is a network that adds borders itself. Any other adds
    none, and its output is smaller than its input. Here
    the image is continued by the `fill` that brings it to a size which the network
    takes, and the output is set into zeros. Whoever uses it has to leave out a border
    of the halo that the package's yaml says.

    Parameters
    ----------
    ndim : int
        Spatial axes: 2 or 3.
    layers : list of dict
        What is computed from the image, which is number 0, one after another.
    fill : list of two int
        Pixels that are added before and after each axis ([z,] y, x).
    halo : list of int
        Pixels that the network loses on each side of these axes.
    members : int
        Networks of these layers, whose mean it gives.
    mean, sd : list of float
        Of a network that makes an image: what its channels are multiplied by, and what
        is added. Empty for one that gives probabilities.
    mean_of : str
        Whether members are averaged as "probabilities" or as "scores".
    """

    def __init__(
        self,
        ndim: int,
        layers: list[dict[str, Any]],
        fill: list[list[int]],
        halo: list[int],
        members: int = 1,
        mean: list[float] | tuple[float, ...] = (),
        sd: list[float] | tuple[float, ...] = (),
        mean_of: str = "probabilities",
    ) -> None:
        super().__init__()
        self.of_scores = mean_of == "scores"
        self.members = nn.ModuleList(Layers(ndim, layers) for _ in range(members))
        self.fill = _both_ends(fill)
        rest = zip(fill, halo, strict=True)
        self.rest = _both_ends([[h - before, h - after] for (before, after), h in rest])
        shape = (1, -1, *(1,) * ndim)
        self.mean = torch.tensor(mean).reshape(shape) if mean else None
        self.sd = torch.tensor(sd).reshape(shape) if sd else None

    def forward(self, image: Tensor) -> Tensor:
        """Return probabilities, or an image, for (batch, channels, [z,] y, x)."""
        if any(self.fill):
            image = F.pad(image, self.fill, mode="replicate")
        scores = [member(image) for member in self.members]
        if self.of_scores:
            scores = [sum(scores[1:], start=scores[0]) / len(scores)]
        made = [self._answer(each) for each in scores]
        return F.pad(sum(made[1:], start=made[0]) / len(made), self.rest)

    def _answer(self, scores: Tensor) -> Tensor:
        if self.mean is None or self.sd is None:
            return torch.softmax(scores, dim=1)
        return scores * self.sd + self.mean


class Layers(nn.Module):
    """One network; its weights have the names that its layers say."""

    def __init__(self, ndim: int, layers: list[dict[str, Any]]) -> None:
        super().__init__()
        self.ndim = ndim
        self.layers = layers
        for layer in layers:
            if "name" in layer:
                self._put(layer["name"], self._made(**layer))

    def forward(self, image: Tensor) -> Tensor:
        """Return the map of the last layer."""
        maps = [image]
        for layer in self.layers:
            if layer.get("idle"):  # only training needs it
                break
            cuts = layer.get("cuts", [None] * len(layer["inputs"]))
            read = [
                _cut(maps[x], c) for x, c in zip(layer["inputs"], cuts, strict=True)
            ]
            maps.append(_cut(self._computed(layer, read), layer.get("rest")))
        return maps[-1]

    def _put(self, name: str, made: nn.Module) -> None:
        """Keep what has weights under a name with dots in it."""
        *path, last = name.split(".")
        owner: nn.Module = self
        for part in path:
            if part not in dict(owner.named_children()):
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        owner.add_module(last, made)

    def _made(
        self,
        op: str,
        width: int,
        channels: int = 0,
        kernel: list[int] | None = None,
        stride: list[int] | None = None,
        lost: list[int] | None = None,
        more: list[int] | None = None,
        bias: bool = True,
        kind: str = "",
        **_: object,
    ) -> nn.Module:
        if op == "norm":
            return _NORM[kind][self.ndim](width, affine=True)
        if op == "prelu":
            return nn.PReLU(width)
        if op == "conv":
            return _CONV[self.ndim](channels, width, kernel, stride, bias=bias)  # type: ignore[arg-type]
        return _UP_CONV[self.ndim](
            channels,
            width,
            kernel,  # type: ignore[arg-type]
            stride,  # type: ignore[arg-type]
            lost,  # type: ignore[arg-type]
            more or 0,  # type: ignore[arg-type]
            bias=bias,
        )

    def _computed(self, layer: dict[str, Any], read: list[Tensor]) -> Tensor:
        op, x = layer["op"], read[0]
        if "name" in layer:
            found: Tensor = self.get_submodule(layer["name"])(x)
            return found
        if op in ("concat", "add", "multiply"):
            return _joined(op, read)
        if op in ("relu", "leaky_relu", "elu", "sigmoid"):
            return _activated(op, x, layer.get("slope", 0.0))
        if op == "repeat":
            times = [1, -(-layer["width"] // x.shape[1]), *[1] * self.ndim]
            return x.repeat(times)[:, : layer["width"]]
        if op == "norm":
            return F.instance_norm(x)
        corners = layer.get("kind") == "corners"
        return self._resized(op, x, layer.get("stride"), corners)

    def _resized(self, op: str, x: Tensor, by: Any, corners: bool) -> Tensor:
        if op == "max_pool":
            return _MAX_POOL[self.ndim](x, by)
        if op == "mean_pool":
            return _MEAN_POOL[self.ndim](x, by)
        if op == "nearest":
            return F.interpolate(x, scale_factor=[float(n) for n in by], mode=op)
        if op == "linear":
            factors, mode = [float(n) for n in by], _LINEAR[self.ndim]
            return F.interpolate(
                x, scale_factor=factors, mode=mode, align_corners=corners
            )
        if op == "as_it_is":
            return x
        raise ValueError(f"the layer {op} is not known.")


def _joined(op: str, maps: list[Tensor]) -> Tensor:
    if op == "concat":
        return torch.cat(maps, dim=1)
    if op == "multiply":
        return maps[0] * maps[1]
    return sum(maps[1:], start=maps[0])


def _activated(op: str, x: Tensor, slope: float) -> Tensor:
    if op == "relu":
        return F.relu(x)
    if op == "leaky_relu":
        return F.leaky_relu(x, slope)
    return F.elu(x) if op == "elu" else torch.sigmoid(x)


def _cut(x: Tensor, margins: list[list[int]] | None) -> Tensor:
    """Leave out the margins of a map, before and after each spatial axis.

    Those of less than nothing are zeros that are added.
    """
    if margins and any(n < 0 for margin in margins for n in margin):
        return F.pad(x, [-n for n in _both_ends(margins)])
    for axis, (before, after) in enumerate(margins or (), start=2):
        x = x.narrow(axis, before, x.shape[axis] - before - after)
    return x


def _both_ends(margins: list[list[int]]) -> list[int]:
    """Return margins as a padding has them: the last axis first."""
    return [n for axis in reversed(margins) for n in axis]
