"""What a level of a U-Net computes: one function for each kind of block.

They are kinds and not flags because the order of norm, activation and sum differs from
paper to paper.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_unet.core.network.layers import Activation, Drawing, Norm

BlockKind = Literal["plain", "vnet", "vnet_monai", "zhang", "resenc", "multires"]
# Their kind of block is on the contracting path only; they expand with `plain`.
ENCODERS = ("resenc",)


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

    def part(self, name: str, widths: tuple[int, ...], **changes: Any) -> Stage:
        """Return some convolutions of this block, without its stride."""
        changes = {"stride": 1, **changes}
        return replace(self, name=f"{self.name}.{name}", widths=widths, **changes)

    def pointwise(self) -> Stage:
        """Return the same convolutions, of single pixels."""
        return replace(self, kernel=(1,) * len(self.kernel))


def plain(net: Drawing, x: int, stage: Stage, *, bare: bool = False) -> int:
    """Draw convolutions, each with norm and activation (Ronneberger et al. 2015).

    `bare` leaves the last one's activation to the caller.
    """
    number, last = count(), len(stage.widths) - 1
    for place, width in enumerate(stage.widths):
        x = _convolved(net, x, width, stage, next(number), first=place == 0)
        if stage.norm != "none":
            x = net.norm(x, stage.norm, f"{stage.name}.{next(number)}")
        if stage.activation != "none" and not (bare and place == last):
            x = net.activate(x, stage.activation, f"{stage.name}.{next(number)}")
    return x


def _convolved(
    net: Drawing, x: int, width: int, stage: Stage, number: int, *, first: bool
) -> int:
    return net.conv(
        x,
        width,
        stage.kernel,
        f"{stage.name}.{number}",
        stride=stage.stride if first else 1,
        bias=stage.bias,
    )


def vnet(net: Drawing, x: int, stage: Stage) -> int:
    """Add the input to the last convolution, then activate (Milletari et al. 2016).

    The image is repeated until it has the channels of the first level.
    """
    return _with_input(net, x, stage, bare=True)


def vnet_monai(net: Drawing, x: int, stage: Stage) -> int:
    """Activate the last convolution before the sum, too, as MONAI's V-Net does."""
    return _with_input(net, x, stage, bare=stage.first)


def _with_input(net: Drawing, x: int, stage: Stage, *, bare: bool) -> int:
    shortcut = net.repeat(x, stage.widths[-1]) if stage.first else x
    x = net.add(plain(net, x, stage, bare=bare), shortcut)
    return net.activate(x, stage.activation, f"{stage.name}.sum")


def zhang(net: Drawing, x: int, stage: Stage) -> int:
    """Norm and activation before each convolution, and a shortcut (Zhang et al. 2018).

    The image has none of both before its first convolution.
    """
    number = count()
    # a strided convolution is centred on the pixels that this begins with
    inner = x if stage.stride == 1 else net.crop(x, stage.kernel)
    shortcut = net.conv(
        inner,
        stage.widths[-1],
        1,
        f"{stage.name}.shortcut",
        stride=stage.stride,
        bias=stage.bias,
    )
    for place, width in enumerate(stage.widths):
        if place or not stage.first:
            x = net.norm(x, stage.norm, f"{stage.name}.{next(number)}")
            x = net.activate(x, stage.activation, f"{stage.name}.{next(number)}")
        x = _convolved(net, x, width, stage, next(number), first=place == 0)
    return net.add(x, shortcut)


def resenc(net: Drawing, x: int, stage: Stage) -> int:
    """Draw residual units behind a convolution of the image (Isensee et al. 2024).

    These are the units of He et al. 2018 (arXiv:1812.01187), Fig. 2c: where a unit
    reduces, the mean goes past it.
    """
    if stage.first:
        x = plain(net, x, stage.part("stem", stage.widths[:1]))
    stride = stage.stride
    for number, width in enumerate(stage.widths):
        first = stage.part(f"{number}.0", (width,), stride=stride)
        second = stage.part(f"{number}.1", (width,), activation="none")
        y = plain(net, plain(net, x, first), second)
        if stride != 1:
            x = net.resize(x, "mean_pool", stride, kernel=stage.kernel)
        if net.width(x) != width:
            name = f"{number}.shortcut"
            beside = stage.part(name, (width,), activation="none", bias=False)
            x = plain(net, x, beside.pointwise())
        x = net.activate(net.add(y, x), stage.activation, f"{stage.name}.{number}.2")
        stride = 1
    return x


def multires(net: Drawing, x: int, stage: Stage) -> int:
    """Join a chain of convolutions, and add the input (Ibtehaz and Rahman 2020).

    The last norms follow the sum and its activation, as in the authors' Keras program.
    """
    beside = stage.part("shortcut", (sum(stage.widths),), activation="none")
    shortcut = plain(net, x, beside.pointwise())
    chain = []
    for number, width in enumerate(stage.widths):
        x = plain(net, x, stage.part(str(number), (width,)))
        chain.append(x)
    x = net.norm(net.concat(*chain), stage.norm, f"{stage.name}.joined")
    x = net.activate(net.add(shortcut, x), stage.activation, f"{stage.name}.summed.0")
    return net.norm(x, stage.norm, f"{stage.name}.summed.1")


BLOCKS: Mapping[BlockKind, Callable[[Drawing, int, Stage], int]] = {
    "plain": plain,
    "vnet": vnet,
    "vnet_monai": vnet_monai,
    "zhang": zhang,
    "resenc": resenc,
    "multires": multires,
}
