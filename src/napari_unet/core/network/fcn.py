"""FCN-8s: scores of three depths of VGG16, enlarged and summed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from napari_unet.core.network.blocks import Stage, plain
from napari_unet.core.network.geometry import Layered
from napari_unet.core.network.layers import Drawing, Norm
from napari_unet.core.network.vgg import STAGES, UNIT


class FCN8(Layered):
    """FCN-8s (Long, Shelhamer and Darrell 2015, Fig. 3), which has no decoder.

    As published it has 134,362,751 parameters that learn, for three channels and 21
    classes. Its bilinear kernels never learn, so that they are an interpolation here.
    The published network pads the image by 100 pixels; unpadded, a window that begins
    at -3 modulo 32 gives the same scores.
    """

    kind: Literal["fcn8"] = "fcn8"
    width: int = Field(UNIT, ge=1)  # of VGG16's first convolution
    # channels and kernel of what were VGG16's fully connected layers
    head: int = Field(4096, ge=1)
    head_kernel: Literal[7, 1] = 7
    dropout: float = Field(0.5, ge=0, le=1)  # share, behind each of the head's
    norm: Norm = "none"

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return 2

    def draw(self) -> Drawing:
        """Draw VGG16, its head, and the sum of scores from coarse to fine."""
        net = Drawing(self.ndim, self.channels)
        x, pooled = 0, []
        for depth, stage in enumerate(STAGES["vgg16"]):
            widths = tuple(self.width * w for w in stage)
            x = self._block(net, x, f"down.{depth}", widths, 3)
            x = net.resize(x, "max_pool", 2)
            pooled.append(x)
        for number, kernel in enumerate((self.head_kernel, 1)):
            x = self._block(net, x, f"head.{number}", (self.head,), kernel)
            x = net.dropout(x, self.dropout)
        x = net.conv(x, self.classes, 1, "score.0")
        for number, finer in ((1, pooled[3]), (2, pooled[2])):
            scores = net.conv(finer, self.classes, 1, f"score.{number}")
            x = net.add(net.resize(x, "linear", 2), scores)
        net.scores = net.resize(x, "linear", 8)
        return net

    def _block(
        self, net: Drawing, x: int, name: str, widths: tuple[int, ...], kernel: int
    ) -> int:
        return plain(net, x, Stage(name, widths, (kernel,) * 2, self.norm, "relu"))
