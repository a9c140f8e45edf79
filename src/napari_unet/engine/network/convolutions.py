"""Convolutions that stay in the layout that is fast, for a single volume, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Of batch × channels × z × y; see `_in_halves`.
_SMALL = 20_480


class _Conv3d(nn.Conv3d):
    """A convolution that stays channels last for a single volume, too."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        if self.stride != (1, 1, 1) or self.padding != (0, 0, 0):
            return super().forward(input)
        if self.kernel_size == (1, 1, 1) and input.device.type != "mps":
            # a product of matrices; torch may take these, too, channels first
            x = input.movedim(1, -1)
            return F.linear(x, self.weight.flatten(1), self.bias).movedim(-1, 1)
        if _is_small(input):
            return _in_halves(super().forward, input, self.kernel_size[0] - 1)
        return super().forward(input)


class _UpConv3d(nn.ConvTranspose3d):
    """An up-convolution that stays channels last for a single volume, too."""

    def forward(self, input: Tensor, *_: object) -> Tensor:  # noqa: A002
        if self.kernel_size == self.stride and _is_small(input):
            return _in_halves(super().forward, input, 0, self.stride[0])
        return super().forward(input)


CONV: dict[int, type[nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: _Conv3d}
UP_CONV: dict[int, type[nn.ConvTranspose2d | nn.ConvTranspose3d]] = {
    2: nn.ConvTranspose2d,
    3: _UpConv3d,
}


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
    return cropped(x, ((before, after), (0, 0), (0, 0)))


def cropped(x: Tensor, margins: Sequence[tuple[int, int]]) -> Tensor:
    """Cut margins off, as a copy, so that what is cut off need not be stored.

    The gradient of a slice would come back in the layout that convolutions are slow in;
    that of a padding, here by less than nothing, keeps it. `margins` has the pixels
    before and after each axis ([z,] y, x).
    """
    return F.pad(x, [-m for axis in reversed(margins) for m in axis])
