"""UNETR (Hatamizadeh et al. 2022): a transformer reads the image, a decoder draws.

Each token of the transformer is 16 pixels wide and remembers its place in the window,
so the network sees but one size of window.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from napari_unet.core.network.geometry import Layered
from napari_unet.core.network.layers import Drawing
from napari_unet.core.text import times

DEPTH = 4
"""Reductions that a token stands for."""
TOKEN = 2**DEPTH
"""Side of a token, in pixels."""


class Unetr(Layered):
    """UNETR; by default of the paper's widths.

    As its authors published it in MONAI, whose maps for the skips come from behind the
    transformer's blocks 4, 7 and 10; the paper's figure has 3, 6 and 9.

    References
    ----------
    Hatamizadeh et al.: UNETR: Transformers for 3D Medical Image Segmentation, WACV
    2022, arXiv:2103.10504, Fig. 2.
    Dosovitskiy et al.: An Image is Worth 16x16 Words, ICLR 2021, arXiv:2010.11929.
    """

    kind: Literal["unetr"] = "unetr"
    padded: bool = True
    window: tuple[int, ...] = (96, 96)
    # of the decoder at full resolution, doubled per level
    width: int = Field(16, ge=1)
    # of a token, and of the layer between the two of its perceptron
    token_width: int = Field(768, ge=1)
    hidden_width: int = Field(3072, ge=1)
    heads: int = Field(12, ge=1)
    # of the transformer
    blocks: int = Field(12, ge=DEPTH, le=256)

    @model_validator(mode="after")
    def _tokens_fit(self) -> Self:
        if not self.padded:
            raise ValueError("this network is always padded.")
        if self.ndim not in (2, 3) or any(n % TOKEN for n in self.window):
            raise ValueError(
                f"the window has 2 or 3 axes of a multiple of {TOKEN} pixels, found "
                f"{times(self.window)}."
            )
        if self.token_width % self.heads:
            raise ValueError(
                f"a token is as wide as some whole channels for each of the "
                f"{self.heads} heads, found {self.token_width}."
            )
        return self

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.window)

    def draw(self) -> Drawing:
        """Draw the transformer, and the decoder from its last tokens up."""
        net = Drawing(self.ndim, self.channels)
        skips = [self._residual(net, 0, self.width, "down.0")]
        x, tokens = self._transformer(net)
        skips += [self._lifted(net, t, depth) for depth, t in enumerate(tokens, 1)]
        for depth in reversed(range(DEPTH)):
            width = self.width * 2**depth
            x = self._doubled(net, x, width, f"up_conv.{depth}")
            x = net.concat(x, skips[depth])
            x = self._residual(net, x, width, f"up.{depth}")
        net.scores = net.conv(x, self.classes, 1, "score")
        return net

    def _transformer(self, net: Drawing) -> tuple[int, list[int]]:
        """Return the last tokens, and those for the skips from fine to coarse."""
        width = self.token_width
        x = net.conv(0, width, TOKEN, "vit.token", stride=TOKEN, kind="tokens")
        x, after = net.positions(x, "vit.positions"), []
        for number in range(self.blocks):
            name = f"vit.{number}"
            y = net.norm(x, "layer", f"{name}.norm1")
            y = net.conv(y, 3 * width, 1, f"{name}.qkv", bias=False, kind="tokens")
            y = net.attention(y, self.heads)
            x = net.add(x, net.conv(y, width, 1, f"{name}.out", kind="tokens"))
            y = net.norm(x, "layer", f"{name}.norm2")
            y = net.conv(y, self.hidden_width, 1, f"{name}.hidden", kind="tokens")
            y = net.activate(y, "gelu", f"{name}.gelu")
            x = net.add(x, net.conv(y, width, 1, f"{name}.back", kind="tokens"))
            after.append(x)
        taps = [after[self.blocks * k // DEPTH] for k in range(1, DEPTH)]
        return net.norm(x, "layer", "vit.norm"), taps

    def _lifted(self, net: Drawing, x: int, depth: int) -> int:
        """Bring tokens to the size of a level."""
        width, name = self.width * 2**depth, f"lift.{depth}"
        x = self._doubled(net, x, width, f"{name}.0")
        for number in range(1, DEPTH - depth):
            x = self._doubled(net, x, width, f"{name}.{number}")
            x = self._residual(net, x, width, f"{name}.{number}")
        return x

    def _doubled(self, net: Drawing, x: int, width: int, name: str) -> int:
        return net.up_conv(x, width, 2, f"{name}.enlarge", stride=2, bias=False)

    def _residual(self, net: Drawing, x: int, width: int, name: str) -> int:
        """Draw two convolutions and a shortcut; the norms have no weights."""
        y = net.conv(x, width, 3, f"{name}.conv1", bias=False)
        y = net.activate(net.norm(y, "instance", ""), "leaky_relu_01", "")
        y = net.norm(net.conv(y, width, 3, f"{name}.conv2", bias=False), "instance", "")
        if net.width(x) != width:
            x = net.conv(x, width, 1, f"{name}.shortcut", bias=False)
            x = net.norm(x, "instance", "")
        return net.activate(net.add(y, x), "leaky_relu_01", "")
