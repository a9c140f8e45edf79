"""What a transformer has that convolutions have not, on maps of (batch, width, grid).

Its linear layers are convolutions of one pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

# Of weights to begin with (Dosovitskiy et al. 2021, as most transformers).
_SD = 0.02


class PixelNorm(nn.LayerNorm):
    """Normalises all channels of a pixel together."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Normalise."""
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class Positions(nn.Module):
    """Adds what is learnt of each place of a grid."""

    def __init__(self, width: int, grid: Sequence[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, width, *grid))

    def forward(self, x: Tensor) -> Tensor:
        """Add it."""
        return x + self.weight


def attend(x: Tensor, heads: int) -> Tensor:
    """Let each place gather from all (Vaswani et al. 2017, Eq. 1).

    From queries, keys and values, (batch, 3 × heads × width of a head, grid), to
    (batch, heads × width of a head, grid).
    """
    grid = x.shape[2:]
    # (batch, places, 3, heads, width) -> 3 × (batch, heads, places, width)
    rows = x.flatten(2).transpose(1, 2).unflatten(2, (3, heads, -1))
    query, key, value = rows.permute(2, 0, 3, 1, 4)
    rows = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
    found: Tensor = rows.flatten(2).transpose(1, 2).unflatten(2, grid)
    return found


def begin(weights: Tensor) -> None:
    """Draw weights as transformers begin with."""
    nn.init.trunc_normal_(weights, std=_SD, a=-2 * _SD, b=2 * _SD)
