"""A network that computes the layers that its description draws.

Written once for all networks, in 2-D and 3-D. Convolutions do not pad, unless the
description says so: each output pixel has then seen only real input, and tiles of the
output fit together without seams.
"""

from __future__ import annotations

from collections import defaultdict
from math import prod, sqrt
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_unet.core.network.layers import JOINS
from napari_unet.core.network.trace import lost_by_enlarging, padding
from napari_unet.engine.network.convolutions import CONV, UP_CONV, cropped
from napari_unet.engine.network.transformer import (
    PixelNorm,
    Positions,
    attend,
    begin,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_unet.core.network.geometry import Layered
    from napari_unet.core.network.layers import Layer

_BATCH_NORM: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_INSTANCE_NORM: dict[int, type[nn.Module]] = {
    2: nn.InstanceNorm2d,
    3: nn.InstanceNorm3d,
}
# In which convolutions are fastest.
LAYOUT = {2: torch.channels_last, 3: torch.channels_last_3d}
_LINEAR = {2: "bilinear", 3: "trilinear"}
SLOPES = {"leaky_relu": 0.1, "leaky_relu_01": 0.01}
# Their gradient needs only their result, so that it may take the input's place.
_IN_PLACE = ("relu", *SLOPES)
_OVERWRITABLE = ("conv", "up_conv", "norm", "add", "concat")
_WITH_WEIGHTS = ("conv", "up_conv", "norm", "positions")
# Weights are listed, and drawn at random, in this order, then in that of the layers.
_ROOTS = ("down", "up_conv", "up")


class Group(nn.ModuleDict):
    """Layers by their place in a list, or by name."""

    def __getitem__(self, key: int | str) -> nn.Module:
        return super().__getitem__(str(key))


class LayeredNetwork(nn.Module):
    """Any network of the family, built from its description."""

    def __init__(self, architecture: Layered) -> None:
        super().__init__()
        self.architecture = architecture
        self.layout = LAYOUT[architecture.ndim]
        trace = architecture.trace
        self._layers, self._output = trace.layers, trace.output
        readers = defaultdict(list)
        for number, layer in enumerate(self._layers):
            for source in layer.inputs:
                readers[source].append(number)
        # which joins read a map without its border, and what they cut
        self._cuts: dict[int, dict[int, tuple[tuple[int, int], ...]]] = defaultdict(
            dict
        )
        for source, numbers in readers.items():
            for number in numbers:
                if self._layers[number].op in JOINS:
                    margins = trace.margins(number, source)
                    if any(map(any, margins)):
                        self._cuts[source][number] = margins
        self._overwrites = {
            number
            for number, layer in enumerate(self._layers)
            if layer.kind in _IN_PLACE
            and len(readers[layer.inputs[0]]) == 1
            and self._layers[layer.inputs[0]].op in _OVERWRITABLE
        }
        self._done = {
            count: self._done_with(readers, count)
            for count in {self._output + 1, len(self._layers)}
        }
        groups: dict[str, nn.Module] = {"": self}
        for layer in sorted(self._layers, key=_place):
            if layer.name:
                self._add_weights(layer, groups)
        self._initialise()

    def forward(self, image: Tensor) -> Tensor:
        """Score each class at each pixel, before the softmax.

        From (batch, channels, [z,] y, x), of a size that `Geometry.output_size`
        accepts, to (batch, classes, [z,] y, x), smaller by the halo on each side.
        Another size or number of channels is a ValueError.
        """
        maps = self._run(image, self._output + 1)
        return self._without_border(maps[self._output])

    def supervised(self, image: Tensor) -> list[Tensor]:
        """Return the scores, and the coarser ones that training learns from, too."""
        maps = self._run(image, len(self._layers))
        coarser = [maps[n] for n in self.architecture.drawing.supervised]
        return [self._without_border(maps[self._output]), *coarser]

    def fold_norms(self) -> None:
        """Fold each batch norm into the convolution before it: as exact, and faster.

        One behind anything else stays. Only for a network that predicts.
        """
        for layer in self._layers:
            if layer.op != "norm" or layer.kind != "batch":
                continue
            before = self._layers[layer.inputs[0]]
            alone = [n for n in self._layers if layer.inputs[0] in n.inputs] == [layer]
            if before.op in ("conv", "up_conv") and alone:
                fused = fuse_conv_bn_eval(
                    self._weights(before),  # type: ignore[type-var]
                    self._weights(layer),  # type: ignore[arg-type]
                    transpose=before.op == "up_conv",
                )
                self.set_submodule(before.name, fused)
                self.set_submodule(layer.name, nn.Identity())

    @property
    def first_weights(self) -> list[str]:
        """Names of the weights that the image's channels come in by."""
        return [
            f"{layer.name}.weight"
            for layer in self._layers
            if layer.op == "conv" and layer.inputs == (0,)
        ]

    def _done_with(
        self, readers: Mapping[int, list[int]], count: int
    ) -> dict[int, list[int]]:
        """List for each layer the maps that none of the first `count` needs after it.

        What joins read without its border they have a copy of.
        """
        done = defaultdict(list)
        kept = {self._output, *self.architecture.drawing.supervised}
        for source in set(range(count)) - kept:
            whole = [
                n
                for n in readers.get(source, ())
                if n < count and n not in self._cuts[source]
            ]
            done[max(whole, default=source)].append(source)
        return done

    def _run(self, image: Tensor, count: int) -> dict[int, Tensor]:
        """Compute the first `count` layers; return the maps that are outputs."""
        self._check(image)
        # `contiguous` would leave an image of one channel as it is: it is laid out both
        # ways at once, and the convolutions would go on with the slower one
        maps = {0: torch.empty_like(image, memory_format=self.layout).copy_(image)}
        cut: dict[tuple[int, int], Tensor] = {}
        for number, layer in enumerate(self._layers[:count]):
            if number:
                # none of them is bound to a name: their memory is needed again
                maps[number] = self._compute(
                    number,
                    *(
                        cut.pop((number, x)) if (number, x) in cut else maps[x]
                        for x in layer.inputs
                    ),
                )
            for join, margins in self._cuts[number].items():
                cut[join, number] = cropped(maps[number], margins)
            for source in self._done[count].get(number, ()):
                del maps[source]
        return maps

    def _compute(self, number: int, *maps: Tensor) -> Tensor:
        layer = self._layers[number]
        if layer.name and layer.op in _WITH_WEIGHTS:
            return self._with_weights(number, maps[0])
        if layer.op == "norm":
            return F.instance_norm(maps[0])
        if layer.op == "attention":
            return attend(maps[0], layer.heads)
        if layer.op == "activation":
            return self._activated(number, maps[0])
        if layer.op == "dropout":
            return F.dropout(maps[0], layer.share, self.training)
        if layer.op in JOINS:
            return _join(layer, maps)
        return _changed(layer, maps[0], padded=self.architecture.padded)

    def _with_weights(self, number: int, x: Tensor) -> Tensor:
        layer = self._layers[number]
        weights = self._weights(layer)
        if layer.name.startswith("score"):
            # scores may be kept in a higher precision than the rest
            x = x.to(weights.weight.dtype)  # type: ignore[arg-type]
        if layer.op == "conv" and self.architecture.padded:
            pads = list(map(padding, layer.kernel, layer.stride))
            if any(before != after for before, after in pads):
                x = cropped(x, [(-before, -after) for before, after in pads])
        found: Tensor = weights(x)
        return found

    def _activated(self, number: int, x: Tensor) -> Tensor:
        layer, over = self._layers[number], number in self._overwrites
        match layer.kind:
            case "relu":
                return F.relu(x, inplace=over)
            case "gelu":
                return F.gelu(x)
            case "elu":
                return F.elu(x)
            case "sigmoid":
                return torch.sigmoid(x)
            case "prelu" | "prelu_per_channel":
                found: Tensor = self._weights(layer)(x)
                return found
        return F.leaky_relu(x, SLOPES[layer.kind], inplace=over)

    def _without_border(self, scores: Tensor) -> Tensor:
        margins = self.architecture.trace.last_margins
        return cropped(scores, margins) if any(map(any, margins)) else scores

    def _check(self, image: Tensor) -> None:
        table = self.architecture
        if image.ndim != table.ndim + 2 or image.shape[1] != table.channels:
            raise ValueError(
                f"the network takes (batch, {table.channels} channels, "
                f"{table.ndim} spatial axes), found shape {tuple(image.shape)}."
            )
        table.output_size(tuple(image.shape[2:]))

    def _weights(self, layer: Layer) -> nn.Module:
        return self.get_submodule(layer.name)

    def _add_weights(self, layer: Layer, groups: dict[str, nn.Module]) -> None:
        made = self._made(layer)
        if made is None:
            return
        path, _, last = layer.name.rpartition(".")
        above = ""
        for name in path.split(".") if path else ():
            here = f"{above}.{name}".lstrip(".")
            if here not in groups:
                groups[here] = Group()
                groups[above].add_module(name, groups[here])
            above = here
        groups[path].add_module(last, made)

    def _made(self, layer: Layer) -> nn.Module | None:
        ndim = self.architecture.ndim
        width = self._layers[layer.inputs[0]].width
        if layer.op == "positions":
            return Positions(width, self._grid(layer))
        if layer.op == "norm":
            return _norm(layer.kind, ndim, width)
        if layer.op == "activation":
            if layer.kind in ("prelu", "prelu_per_channel"):
                return nn.PReLU(width if layer.kind == "prelu_per_channel" else 1)
            return None
        details: dict[str, object] = {"stride": layer.stride, "bias": layer.bias}
        if layer.op == "conv":
            if self.architecture.padded:
                pads = list(map(padding, layer.kernel, layer.stride))
                if all(before == after for before, after in pads):
                    details["padding"] = tuple(before for before, _ in pads)
            return CONV[ndim](width, layer.width, layer.kernel, **details)  # type: ignore[arg-type]
        lost = [k - s for k, s in zip(layer.kernel, layer.stride, strict=True)]
        if self.architecture.padded:
            details["padding"] = tuple((n + 1) // 2 for n in lost)
            details["output_padding"] = tuple(n % 2 for n in lost)
        else:
            details["padding"] = tuple(lost)
        return UP_CONV[ndim](width, layer.width, layer.kernel, **details)  # type: ignore[arg-type]

    def _grid(self, layer: Layer) -> tuple[int, ...]:
        """Return the size of a map in the window of a network that sees but one."""
        number, window = self._layers.index(layer), self.architecture.window
        return self.architecture.trace.size(number, window or ())

    def _initialise(self) -> None:
        """Draw weights with sd sqrt(2 / N), N incoming values (paper, sec. 3).

        What is summed gets sqrt(1 / N), or values would grow with each sum.
        """
        if next(self.parameters()).is_meta:
            # none are wanted, and torch would load its compiler for them, for seconds
            return
        summed = {
            self._layers[source].name
            for layer in self._layers
            if layer.op == "add"
            for source in layer.inputs
        }
        for name, module in self.named_modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d)):
                incoming = float(module.in_channels * prod(module.kernel_size))
            elif isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d)):
                # so many taps reach each output pixel
                taps = prod(module.kernel_size) / prod(module.stride)
                incoming = module.in_channels * taps
            else:
                continue
            gain = 1 if name in summed else 2
            nn.init.normal_(module.weight, std=sqrt(gain / incoming))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        for layer in self._layers:
            if layer.kind == "tokens" or layer.op == "positions":
                begin(self._weights(layer).weight)  # type: ignore[arg-type]


def _norm(kind: str, ndim: int, width: int) -> nn.Module:
    if kind == "layer":
        return PixelNorm(width)
    if kind == "instance":
        return _INSTANCE_NORM[ndim](width, affine=True)
    return _BATCH_NORM[ndim](width)


def _join(layer: Layer, maps: tuple[Tensor, ...]) -> Tensor:
    if layer.op == "concat":
        return torch.cat(maps, dim=1)
    if layer.op == "multiply":
        return maps[0] * maps[1]
    return sum(maps[1:], start=maps[0])


def _changed(layer: Layer, x: Tensor, *, padded: bool) -> Tensor:
    """Pool, enlarge, repeat or crop a map."""
    flat = x.ndim == 4
    if layer.op == "max_pool":
        return (F.max_pool2d if flat else F.max_pool3d)(x, layer.stride)
    if layer.op == "mean_pool":
        if layer.kernel and not padded:
            x = cropped(x, list(map(padding, layer.kernel, layer.stride)))
        if flat:
            return F.avg_pool2d(x, layer.stride)
        # torch has it for no 16 bits on the CPU
        wide = x.float() if x.device.type == "cpu" else x
        return F.avg_pool3d(wide, layer.stride).to(x.dtype)
    if layer.op == "repeat":
        times = -(-layer.width // x.shape[1])
        return x.repeat(1, times, *(1,) * (x.ndim - 2))[:, : layer.width]
    if layer.op == "crop":
        return x if padded else cropped(x, [padding(k, 1) for k in layer.kernel])
    factors = list(map(float, layer.stride))
    if layer.op == "nearest":
        return F.interpolate(x, scale_factor=factors, mode="nearest")
    mode, corners = _LINEAR[len(factors)], layer.kind == "corners"
    x = F.interpolate(x, scale_factor=factors, mode=mode, align_corners=corners)
    if padded:
        return x
    return cropped(x, [lost_by_enlarging("linear", 0, f) for f in layer.stride])


def _place(layer: Layer) -> tuple[int, int]:
    """Return where the weights of a layer are in the list of all."""
    root, _, rest = layer.name.partition(".")
    level = rest.partition(".")[0]
    rank = _ROOTS.index(root) if root in _ROOTS else len(_ROOTS)
    return rank, int(level) if level.isdigit() else 0
