"""Kerfoot's residual U-Net, which is `UNet` in MONAI.

Its two paths meet before a map is enlarged and not after, so that nothing at full
resolution crosses over: no table of levels describes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from napari_unet.core.network.geometry import Layered
from napari_unet.core.network.layers import Activation, Drawing, Norm
from napari_unet.core.settings import Unit

if TYPE_CHECKING:
    from napari_unet.core.network.choice import Choice


class ResidualUNet(Layered):
    """A U-Net of residual units that begins with a strided convolution.

    MONAI's default of 5 levels and two convolutions in a unit has 1,627,597 parameters
    in 2-D for one channel and two classes with batch norm, 1,625,161 with its instance
    norm without weights.

    References
    ----------
    Kerfoot et al.: Left-Ventricle Quantification Using Residual U-Net, STACOM 2018,
    doi:10.1007/978-3-030-12029-0_40.
    """

    kind: Literal["residual_unet"] = "residual_unet"
    # of the units on the contracting path, from the first to the bottom
    widths: tuple[int, ...] = Field((16, 32, 64, 128, 256), min_length=2)
    # of each level but the bottom along each axis; 1 keeps the axis (thin stacks)
    strides: tuple[tuple[int, ...], ...] = ((2, 2),) * 4
    # convolutions of each unit on the contracting path
    units: int = Field(2, ge=1, le=32)
    norm: Norm = "batch"
    activation: Activation = "prelu"
    # share dropped after the units of the two deepest levels, in training only
    dropout: Unit = 0.0

    @model_validator(mode="after")
    def _levels_fit_together(self) -> Self:
        if len(self.strides) != len(self.widths) - 1:
            raise ValueError(
                f"{len(self.widths)} levels need {len(self.widths) - 1} strides, found "
                f"{len(self.strides)}."
            )
        if self.ndim not in (2, 3) or {len(s) for s in self.strides} != {self.ndim}:
            raise ValueError(
                f"strides need one value for each of 2 or 3 axes, found {self.strides}."
            )
        if min(*self.widths, *(n for s in self.strides for n in s)) < 1:
            raise ValueError("widths and strides must be 1 or more.")
        return self

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.strides[0])

    def draw(self) -> Drawing:
        """Draw the units down to the bottom, and the joins on the way up."""
        net = Drawing(self.ndim, self.channels)
        x, skips, bottom = 0, [], len(self.strides)
        keep = (1,) * self.ndim
        for depth, (width, stride) in enumerate(
            zip(self.widths, (*self.strides, keep), strict=True)
        ):
            kernel = (3,) * self.ndim if depth == bottom else self._kernel(depth)
            x = self._unit(net, x, width, kernel, stride, f"down.{depth}")
            x = net.dropout(x, self.dropout if depth > bottom - 2 else 0.0)
            skips.append(x)
        skips.pop()
        for depth in reversed(range(bottom)):
            x = net.concat(skips.pop(), x)
            width = self.widths[depth - 1] if depth else self.classes
            kernel, name = self._kernel(depth), f"up_conv.{depth}"
            stride = self.strides[depth]
            x = net.up_conv(x, width, kernel, f"{name}.0", stride=stride)
            x = self._activated(net, x, name)
            last = net.conv(x, width, kernel, f"up.{depth}.0" if depth else "score")
            last = self._activated(net, last, f"up.{depth}") if depth else last
            x = net.add(last, x)
        net.scores = x
        return net

    def _kernel(self, depth: int) -> tuple[int, ...]:
        """An axis that is left alone is not convolved, either."""
        return tuple(1 if stride == 1 else 3 for stride in self.strides[depth])

    def _unit(
        self,
        net: Drawing,
        x: int,
        width: int,
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        name: str,
    ) -> int:
        """Convolutions with norm and activation, and the input added to them."""
        shortcut, first = x, stride
        for number in range(self.units):
            x = net.conv(x, width, kernel, f"{name}.{number}.0", stride=first)
            x = self._activated(net, x, f"{name}.{number}")
            first = (1,) * self.ndim
        if any(n > 1 for n in stride):
            shortcut = net.conv(
                shortcut, width, kernel, f"{name}.shortcut", stride=stride
            )
        elif net.width(shortcut) != width:
            shortcut = net.conv(shortcut, width, 1, f"{name}.shortcut")
        return net.add(x, shortcut)

    def _activated(self, net: Drawing, x: int, name: str) -> int:
        x = net.norm(x, self.norm, f"{name}.1")
        return net.activate(x, self.activation, f"{name}.2")


def residual_unet(choice: Choice) -> ResidualUNet:
    """Return Kerfoot's network with two convolutions in a unit.

    Its width are the channels of the first unit, doubled with each stride.
    """
    flats = choice.flat or (0,) * choice.ndim
    return ResidualUNet(
        channels=choice.channels,
        classes=choice.classes,
        widths=tuple(choice.widths),
        strides=tuple(
            tuple(1 if d < f else 2 for f in flats) for d in range(choice.depth)
        ),
        norm=choice.norm,
        dropout=choice.dropout,
    )
