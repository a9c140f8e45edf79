"""A network as the list of its layers, in the order in which they are computed.

Each network of the family is drawn once, with the methods of `Drawing`. Its sizes, its
memory and its work are sums over the list (`trace`), and torch runs the same list
(`engine.network.layered`), so that they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Op = Literal[
    "input",
    "conv",
    "up_conv",
    "max_pool",
    "mean_pool",
    "linear",
    "nearest",
    "norm",
    "activation",
    "dropout",
    "concat",
    "add",
    "multiply",
    "repeat",
    "crop",
    "positions",
    "attention",
]
Activation = Literal[
    "none",
    "relu",
    "leaky_relu",
    "leaky_relu_01",
    "elu",
    "prelu",
    "prelu_per_channel",
    "sigmoid",
]
Norm = Literal["none", "batch", "instance"]
# In these the maps meet: each is cut to what all of them have.
JOINS = ("concat", "add", "multiply")


@dataclass(frozen=True, slots=True)
class Layer:
    """One operation, and the map that it computes."""

    op: Op
    # numbers of the layers whose maps it reads
    inputs: tuple[int, ...]
    # channels of its map
    width: int
    # where the network keeps its weights; empty if it has none
    name: str = ""
    # along each axis, in pixels of the map that it reads
    kernel: tuple[int, ...] = ()
    # by how much it reduces (`conv`, pools) or enlarges (all others)
    stride: tuple[int, ...] = ()
    bias: bool = True
    # which activation, norm or interpolation; "tokens" for a transformer's convolution
    kind: str = ""
    # of the values that a dropout drops
    share: float = 0.0
    # that an attention has
    heads: int = 0


@dataclass(slots=True)
class Drawing:
    """Draws a network: each method adds a layer and returns its number."""

    ndim: int
    channels: int
    layers: list[Layer] = field(init=False)
    # number of the layer that is the network's output; those behind it are computed in
    # training only
    scores: int = field(init=False, default=0)
    # coarser outputs, from fine to coarse, that training learns from, too
    supervised: list[int] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.layers = [Layer("input", (), self.channels)]

    def width(self, x: int) -> int:
        """Return the channels of a map."""
        return self.layers[x].width

    def conv(
        self,
        x: int,
        width: int,
        kernel: int | tuple[int, ...],
        name: str,
        *,
        stride: int | tuple[int, ...] = 1,
        bias: bool = True,
        kind: Literal["", "tokens"] = "",
    ) -> int:
        """Convolve; a stride keeps every so manieth output."""
        kernel, stride = self._axes(kernel), self._axes(stride)
        return self._add(Layer("conv", (x,), width, name, kernel, stride, bias, kind))

    def up_conv(
        self,
        x: int,
        width: int,
        kernel: int | tuple[int, ...],
        name: str,
        *,
        stride: int | tuple[int, ...],
        bias: bool = True,
    ) -> int:
        """Enlarge by a transposed convolution, to the pixels with all their terms."""
        kernel, stride = self._axes(kernel), self._axes(stride)
        return self._add(Layer("up_conv", (x,), width, name, kernel, stride, bias))

    def resize(
        self,
        x: int,
        op: Literal["max_pool", "mean_pool", "linear", "nearest"],
        factor: int | tuple[int, ...],
        *,
        kernel: tuple[int, ...] = (),
        kind: Literal["", "corners"] = "",
    ) -> int:
        """Reduce by pooling or enlarge by interpolation.

        A mean beside a convolution of `kernel` and this stride starts where that does,
        so that the two maps can meet. Linear by "corners", the first and last pixels of
        both maps lie on each other, so that the values depend on the map's size.
        """
        stride = self._axes(factor)
        width = self.width(x)
        return self._add(Layer(op, (x,), width, "", kernel, stride, kind=kind))

    def norm(self, x: int, kind: Norm | Literal["layer"], name: str) -> int:
        """Normalise each channel, or with "layer" each pixel; "none" adds nothing.

        Without a name an instance norm has no weights.
        """
        if kind == "none":
            return x
        return self._add(Layer("norm", (x,), self.width(x), name, kind=kind))

    def activate(self, x: int, kind: Activation | Literal["gelu"], name: str) -> int:
        """Apply an activation; "none" adds nothing."""
        if kind == "none":
            return x
        return self._add(Layer("activation", (x,), self.width(x), name, kind=kind))

    def dropout(self, x: int, share: float) -> int:
        """Drop values in training; a share of 0 adds nothing."""
        if share == 0:
            return x
        return self._add(Layer("dropout", (x,), self.width(x), share=share))

    def concat(self, *maps: int) -> int:
        """Join the channels of maps, where all of them are."""
        return self._add(Layer("concat", maps, sum(map(self.width, maps))))

    def add(self, *maps: int) -> int:
        """Sum maps, where all of them are.

        Another number of channels is a ValueError.
        """
        widths = [self.width(x) for x in maps]
        if len(set(widths)) > 1:
            raise ValueError(
                f"maps that are summed need as many channels each, found {widths}."
            )
        return self._add(Layer("add", maps, widths[0]))

    def multiply(self, x: int, by: int) -> int:
        """Multiply a map by another, of as many channels or of one."""
        return self._add(Layer("multiply", (x, by), self.width(x)))

    def crop(self, x: int, kernel: int | tuple[int, ...]) -> int:
        """Drop the border that a convolution of this kernel loses; none if padded."""
        kernel, stride = self._axes(kernel), self._axes(1)
        return self._add(Layer("crop", (x,), self.width(x), "", kernel, stride))

    def positions(self, x: int, name: str) -> int:
        """Add what is learnt of each place in a window of fixed size."""
        return self._add(Layer("positions", (x,), self.width(x), name))

    def attention(self, x: int, heads: int) -> int:
        """Let each place gather from all, by query, key and value in three channels.

        Each of the heads has as many of their channels (Vaswani et al. 2017, Eq. 1).
        """
        return self._add(Layer("attention", (x,), self.width(x) // 3, heads=heads))

    def repeat(self, x: int, width: int) -> int:
        """Repeat the channels of a map in turn until there are `width`."""
        return self._add(Layer("repeat", (x,), width))

    def _axes(self, value: int | tuple[int, ...]) -> tuple[int, ...]:
        return value if isinstance(value, tuple) else (value,) * self.ndim

    def _add(self, layer: Layer) -> int:
        self.layers.append(layer)
        return len(self.layers) - 1
