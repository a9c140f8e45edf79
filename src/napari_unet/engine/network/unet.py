"""The unpadded U-Net of Ronneberger, Fischer and Brox (2015), built from its table.

Written once for 2-D and 3-D. Convolutions do not pad, so each output pixel has seen
only real input, and tiles of the output fit together without seams.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod, sqrt
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_unet.core.network.architecture import Architecture, paper

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.core.network.architecture import Activation, Level

# Of batch × channels × z × y; see `_in_halves`.
_SMALL = 20_480


class _Conv3d(nn.Conv3d):
    """A convolution that stays channels last for a single volume, too."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        if self.kernel_size == (1, 1, 1):
            # a product of matrices; torch may take these, too, channels first
            x = input.movedim(1, -1)
            return F.linear(x, self.weight.flatten(1), self.bias).movedim(-1, 1)
        if _is_small(input):
            return _in_halves(super().forward, input, self.kernel_size[0] - 1)
        return super().forward(input)


class _UpConv3d(nn.ConvTranspose3d):
    """An up-convolution that stays channels last for a single volume, too."""

    def forward(self, input: Tensor, *_: object) -> Tensor:  # noqa: A002
        if _is_small(input):
            return _in_halves(super().forward, input, 0, self.stride[0])
        return super().forward(input)


_CONV: dict[int, type[nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: _Conv3d}
_UP_CONV: dict[int, type[nn.ConvTranspose2d | nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: _UpConv3d,
}
_POOL: dict[int, type[nn.MaxPool2d | nn.MaxPool3d]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_BATCH_NORM: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_INSTANCE_NORM: dict[int, type[nn.Module]] = {
    2: nn.InstanceNorm2d,
    3: nn.InstanceNorm3d,
}
# In which convolutions are fastest.
_LAYOUT = {2: torch.channels_last, 3: torch.channels_last_3d}
_LEAK = 0.1


class UNet(nn.Module):
    """Unpadded U-Net, by default the paper's.

    That has 31,030,658 parameters and makes 388 × 388 pixels of 572 × 572.

    References
    ----------
    Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image
    Segmentation, MICCAI 2015, arXiv:1505.04597, Fig. 1.
    Çiçek et al.: 3D U-Net, MICCAI 2016, arXiv:1606.06650, Fig. 2.
    """

    def __init__(self, architecture: Architecture | None = None) -> None:
        super().__init__()
        self.architecture = table = architecture or paper()
        levels, ndim = table.levels, table.ndim
        self.layout = _LAYOUT[ndim]
        inputs = (table.channels, *(level.down[1] for level in levels[:-1]))
        self.down = nn.ModuleList(
            _double_conv(table, level, width, level.down)
            for level, width in zip(levels, inputs, strict=True)
        )
        self.dropout = nn.ModuleList(nn.Dropout(level.dropout) for level in levels)
        self.pool = nn.ModuleList(_POOL[ndim](level.pool) for level in levels[:-1])
        self.up_conv = nn.ModuleList(
            _up_conv(table, level, (below.up or below.down)[1])
            for level, below in pairwise(levels)
        )
        self.up = nn.ModuleList(
            _double_conv(table, level, level.up_conv + level.down[1], level.up)
            for level in levels[:-1]
        )
        top = (levels[0].up or levels[0].down)[1]
        self.score = _CONV[ndim](top, table.classes, kernel_size=1)
        self._crops = _skip_crops(table)
        self._initialise()

    def forward(self, image: Tensor) -> Tensor:
        """Score each class at each pixel, before the softmax.

        From (batch, channels, [z,] y, x), of a size that `Architecture.output_size`
        accepts, to (batch, classes, [z,] y, x), smaller by the halo on each side.
        Another size or number of channels is a ValueError.
        """
        self._check(image)
        skips = []
        # `contiguous` would leave an image of one channel as it is: it is laid out both
        # ways at once, and the convolutions would go on with the slower one
        x = torch.empty_like(image, memory_format=self.layout).copy_(image)
        for depth, (convs, dropout) in enumerate(
            zip(self.down, self.dropout, strict=True)
        ):
            x = dropout(convs(x))
            if depth < len(self.pool):
                skips.append(_crop(x, self._crops[depth]))
                x = self.pool[depth](x)
        for depth in reversed(range(len(self.up))):
            up, skip = self.up_conv[depth](x), skips.pop()
            order = (up, skip) if self.architecture.concat == "up_first" else (skip, up)
            x = self.up[depth](torch.cat(order, dim=1))
        # the last layer may be kept in a higher precision than the rest
        scores: Tensor = self.score(x.to(self.score.weight.dtype))
        return scores

    def _check(self, image: Tensor) -> None:
        table = self.architecture
        if image.ndim != table.ndim + 2 or image.shape[1] != table.channels:
            raise ValueError(
                f"the network takes (batch, {table.channels} channels, "
                f"{table.ndim} spatial axes), found shape {tuple(image.shape)}."
            )
        table.output_size(tuple(image.shape[2:]))

    def _initialise(self) -> None:
        """Draw weights with sd sqrt(2 / N), N incoming values (paper, sec. 3)."""
        if self.score.weight.is_meta:
            # none are wanted, and torch would load its compiler for them, for seconds
            return
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d)):
                incoming = module.in_channels * prod(module.kernel_size)
            elif isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d)):
                # stride equals kernel: one tap reaches each output pixel
                incoming = module.in_channels
            else:
                continue
            nn.init.normal_(module.weight, std=sqrt(2 / incoming))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _activation(name: Activation) -> list[nn.Module]:
    if name == "relu":
        return [nn.ReLU(inplace=True)]
    if name == "leaky_relu":
        return [nn.LeakyReLU(_LEAK, inplace=True)]
    return []


def _norm(table: Architecture, width: int) -> list[nn.Module]:
    if table.norm == "batch":
        return [_BATCH_NORM[table.ndim](width)]
    if table.norm == "instance":
        return [_INSTANCE_NORM[table.ndim](width, affine=True)]
    return []


def _double_conv(
    table: Architecture, level: Level, width: int, outputs: tuple[int, ...]
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for output in outputs:
        layers.append(_CONV[table.ndim](width, output, kernel_size=level.kernel))  # type: ignore[arg-type]
        layers += _norm(table, output) + _activation(table.activation)
        width = output
    return nn.Sequential(*layers)


def _up_conv(table: Architecture, level: Level, width: int) -> nn.Sequential:
    conv = _UP_CONV[table.ndim](
        width,
        level.up_conv,
        kernel_size=level.pool,  # type: ignore[arg-type]
        stride=level.pool,  # type: ignore[arg-type]
        bias=table.up_bias,
    )
    return nn.Sequential(conv, *_activation(table.up_activation))


def _skip_crops(table: Architecture) -> list[tuple[int, ...]]:
    """Pixels to cut from each side of each skip: what the levels below it lose."""
    crops = []
    lost = tuple(k - 1 for k in table.levels[-1].kernel)
    for level in reversed(table.levels[:-1]):
        crop = tuple(n * p for n, p in zip(lost, level.pool, strict=True))
        crops.append(crop)
        lost = tuple(n + 2 * (k - 1) for n, k in zip(crop, level.kernel, strict=True))
    return crops[::-1]


def _crop(x: Tensor, margin: tuple[int, ...]) -> Tensor:
    """Cut the margin off, as a copy, so that what is cut off need not be stored.

    The gradient of a slice would come back in the layout that convolutions are slow in;
    that of a padding, here by less than nothing, keeps it.
    """
    return F.pad(x, [-m for m in reversed(margin) for _ in range(2)])


def _is_small(x: Tensor) -> bool:
    return x.device.type == "cpu" and len(x) == 1 and x[..., 0].numel() <= _SMALL


def _in_halves(
    convolve: Callable[[Tensor], Tensor], volume: Tensor, lost: int, step: int = 1
) -> Tensor:
    """Convolve one volume as a batch of two, each with half of the slices.

    In single precision torch gives a small batch of one (`use_mkldnn` in its
    Convolution.cpp) not to oneDNN but to a convolution of its own, which is slower and
    channels first. The result is the same. It has `lost` slices less than the volume,
    (1, channels, z, y, x), and `step` slices for each.
    """
    slices = volume.shape[2] - lost
    second = slices // 2
    first = slices - second
    if second == 0:
        return convolve(volume)
    halves = torch.cat((_cut(volume, 0, second), _cut(volume, second, 0)))
    done = convolve(halves)
    again = (first - second) * step
    return torch.cat((done[:1], _cut(done[1:], again, 0)), dim=2)


def _cut(x: Tensor, before: int, after: int) -> Tensor:
    """Cut slices off; as `_crop` for the gradient's sake."""
    return F.pad(x, (0, 0, 0, 0, -before, -after))
