"""What a level of a U-Net computes: one function for each kind of block.

They are kinds and not flags because the order of norm, activation and sum differs from
paper to paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_unet.core.network.layers import Activation, Drawing, Norm

BlockKind = Literal["plain"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One block to draw."""

    # of its weights; a layer's name is this, a full stop and its number or word
    name: str
    # of the convolutions, or of the units that the kind of block consists of
    widths: tuple[int, ...]
    kernel: tuple[int, ...]
    norm: Norm
    activation: Activation
    bias: bool = True
    # of its first convolution
    stride: tuple[int, ...] | int = 1
    # whether its input is the image
    first: bool = False


def plain(net: Drawing, x: int, stage: Stage) -> int:
    """Draw convolutions, each with norm and activation (Ronneberger et al. 2015)."""
    number = count()
    stride = stage.stride
    for width in stage.widths:
        x = net.conv(
            x,
            width,
            stage.kernel,
            f"{stage.name}.{next(number)}",
            stride=stride,
            bias=stage.bias,
        )
        if stage.norm != "none":
            x = net.norm(x, stage.norm, f"{stage.name}.{next(number)}")
        if stage.activation != "none":
            x = net.activate(x, stage.activation, f"{stage.name}.{next(number)}")
        stride = 1
    return x


BLOCKS: Mapping[BlockKind, Callable[[Drawing, int, Stage], int]] = {"plain": plain}
