"""U-Nets as a table of levels, and the builders of those that were published."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from napari_unet.core.network.blocks import BLOCKS, ENCODERS, BlockKind, Stage, plain
from napari_unet.core.network.geometry import Layered
from napari_unet.core.network.layers import Activation, Drawing, Norm
from napari_unet.core.network.skips import gate, residual_path
from napari_unet.core.network.trace import Trace
from napari_unet.core.settings import Settings, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


# Kernels of transposed convolutions by their stride; an axis that is left alone has 1.
_UP_KERNEL: Mapping[str, Callable[[int], int]] = {
    "transposed": lambda stride: stride,
    "transposed3": lambda stride: 1 if stride == 1 else stride + 1,
    "transposed4": lambda stride: 1 if stride == 1 else 2 * stride,
}
# Of the first format of model files.
_FIRST_FIELDS = (
    *("channels", "classes", "levels", "activation", "up_activation", "norm"),
    *("up_bias", "concat"),
)
_FIRST_ACTIVATIONS = ("none", "relu", "leaky_relu")
# They have no weights.
_INTERPOLATED = ("linear", "linear_corners", "nearest")


class Level(Settings):
    """One resolution of the network."""

    # widths of the convolutions on the contracting path, one or more
    down: tuple[int, ...] = Field(min_length=1)
    up: tuple[int, ...] = ()  # of those on the expanding path; empty at the bottom
    # of the up-convolution that arrives at this level; 0 at the bottom
    up_conv: int = Field(0, ge=0)
    # of the convolutions along each axis, in pixels of this level, odd
    kernel: tuple[int, ...]
    # Reduction from this level to the next along each axis; 1 keeps the axis (thin
    # stacks). All 1 at the bottom.
    pool: tuple[int, ...]
    # share dropped after the contracting convolutions, in training only
    dropout: Unit = 0.0


class Architecture(Layered):
    """A U-Net: its levels from the finest to the bottom, and what they share."""

    levels: tuple[Level, ...] = Field(min_length=1)
    # what each level computes, on both paths
    block: BlockKind = "plain"
    # how a level's map gets the size of the next: by a maximum, by a convolution of its
    # own, or by the stride of the next level's first convolution
    reduce: Literal["max", "strided", "first_conv"] = "max"
    # ... and back: by a transposed convolution whose kernel is the stride, one more
    # than it or twice it; by interpolation alone, from corner to corner only if padded;
    # or with a 2 × 2 convolution after it
    enlarge: Literal[
        "transposed",
        "transposed3",
        "transposed4",
        "linear",
        "linear_corners",
        "nearest",
        "nearest_conv2",
    ] = "transposed"
    # after each convolution; the leaky ones have slope 0.1 and 0.01
    activation: Activation = "relu"
    up_activation: Activation = "none"
    norm: Norm = "none"  # between convolution and activation
    up_norm: bool = False  # whether it follows the up-convolutions, too
    conv_bias: bool = True
    up_bias: bool = True
    # How the two paths meet: joined; joined behind a gate, all but the finest; or
    # behind a path of convolutions. Then the order of the channels.
    skip: Literal["concat", "gate", "respath"] = "concat"
    concat: Literal["up_first", "skip_first"] = "up_first"
    # widths of convolutions between the last block and the scores
    last: tuple[int, ...] = ()
    # how many levels below the finest give scores, too, which training learns from
    supervised: int = Field(0, ge=0)
    # Whether maps are reduced from the image's first pixel on, as in a padded network
    # that sees all of it; else from the first that a window has left for them.
    aligned: bool = False

    @model_validator(mode="after")
    def _levels_fit_together(self) -> Self:
        bottom = len(self.levels) - 1
        for depth, level in enumerate(self.levels):
            if len(level.kernel) != self.ndim or len(level.pool) != self.ndim:
                raise ValueError(
                    f"level {depth}: kernel {level.kernel} and pool {level.pool} must "
                    f"have one value for each of the {self.ndim} axes."
                )
            if self.ndim not in (2, 3):
                raise ValueError(f"a network has 2 or 3 axes, found {self.ndim}.")
            if any(k < 1 or k % 2 == 0 for k in level.kernel):
                raise ValueError(
                    f"level {depth}: kernels must be odd and at least 1, "
                    f"found {level.kernel}."
                )
            if any(p < 1 for p in level.pool):
                raise ValueError(f"level {depth}: pool must be 1 or more.")
            is_bottom, interpolated = depth == bottom, self.enlarge in _INTERPOLATED
            convolves = not is_bottom and not interpolated
            if is_bottom != (not level.up) or convolves != (level.up_conv > 0):
                raise ValueError(
                    f"level {depth}: all levels but the bottom need up and "
                    f"{'no ' if interpolated else ''}up_conv."
                )
            if min(*level.down, *level.up, 1) < 1:
                raise ValueError(f"level {depth}: widths must be 1 or more.")
        if any(p != 1 for p in self.levels[-1].pool):
            raise ValueError("the bottom level is not pooled: its pool must be all 1.")
        if self.supervised > max(bottom - 1, 0):
            raise ValueError(
                f"of {bottom + 1} levels at most {max(bottom - 1, 0)} coarser ones can "
                f"give scores, found supervised {self.supervised}."
            )
        return self

    @model_validator(mode="after")
    def _corners_are_those_of_a_window(self) -> Self:
        if self.enlarge == "linear_corners" and not self.padded:
            raise ValueError(
                "an interpolation from corner to corner depends on the size of the "
                "window, so that the network has to be padded."
            )
        return self

    @property
    def is_later(self) -> bool:
        """Whether older programs cannot know it: theirs convolve twice a level."""
        return (
            bool(self._said_later)
            or not {self.activation, self.up_activation} <= {*_FIRST_ACTIVATIONS}
            or any(
                len(level.down) != 2 or len(level.up) not in (0, 2)
                for level in self.levels
            )
        )

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.levels[0].kernel)

    def draw(self) -> Drawing:
        """Draw the levels down to the bottom and up again."""
        net = Drawing(self.ndim, self.channels)
        x, skips, decoded = 0, [], {}
        for depth, level in enumerate(self.levels):
            stride: tuple[int, ...] | int = 1
            if depth:
                x, stride = self._reduced(net, x, depth)
            stage = self._stage(f"down.{depth}", level.down, level, stride)
            x = BLOCKS[self.block](net, x, stage)
            x = net.dropout(x, level.dropout)
            skips.append(x)
        skips.pop()
        for depth in reversed(range(len(skips))):
            level, skip = self.levels[depth], skips.pop()
            skip = self._across(net, skip, x, depth)
            x = self._enlarged(net, x, f"up_conv.{depth}", level)
            first, second = (x, skip) if self.concat == "up_first" else (skip, x)
            x = net.concat(first, second)
            stage = self._stage(f"up.{depth}", level.up, level)
            kind: BlockKind = "plain" if self.block in ENCODERS else self.block
            x = decoded[depth] = BLOCKS[kind](net, x, stage)
        if self.last:
            x = plain(net, x, self._stage("last", self.last, self.levels[0]))
        net.scores = net.conv(x, self.classes, 1, "score")
        if self.aligned and not self.padded:
            net.scores = net.crop(net.scores, _to_grid(net))
        net.supervised = [
            net.conv(decoded[depth], self.classes, 1, f"coarser.{depth}")
            for depth in range(1, self.supervised + 1)
        ]
        return net

    def _stage(
        self,
        name: str,
        widths: tuple[int, ...],
        level: Level,
        stride: tuple[int, ...] | int = 1,
    ) -> Stage:
        return Stage(
            name,
            widths,
            level.kernel,
            self.norm,
            self.activation,
            self.conv_bias,
            stride,
            first=name == "down.0",
        )

    def _reduced(
        self, net: Drawing, x: int, depth: int
    ) -> tuple[int, tuple[int, ...] | int]:
        """Bring a map to the next level's size, or say by which stride it gets it."""
        pool, level = self.levels[depth - 1].pool, self.levels[depth]
        if self.reduce == "first_conv":
            return x, pool
        if self.reduce == "max":
            return net.resize(x, "max_pool", pool), 1
        stage = self._stage(f"reduce.{depth}", level.down[:1], level, pool)
        return plain(net, x, replace(stage, kernel=pool)), 1

    def _enlarged(self, net: Drawing, x: int, name: str, level: Level) -> int:
        """Bring a map to the size of a level."""
        pool = level.pool
        if self.enlarge in ("linear", "nearest"):
            return net.resize(x, self.enlarge, pool)
        if self.enlarge == "linear_corners":
            return net.resize(x, "linear", pool, kind="corners")
        if self.enlarge == "nearest_conv2":
            x = net.resize(x, "nearest", pool)
            x = net.conv(x, level.up_conv, pool, f"{name}.0", bias=self.up_bias)
        else:
            kernel = tuple(_UP_KERNEL[self.enlarge](p) for p in pool)
            x = net.up_conv(
                x, level.up_conv, kernel, f"{name}.0", stride=pool, bias=self.up_bias
            )
        if not self.up_norm or self.norm == "none":
            return net.activate(x, self.up_activation, f"{name}.1")
        x = net.norm(x, self.norm, f"{name}.1")
        return net.activate(x, self.up_activation, f"{name}.2")

    def _across(self, net: Drawing, skip: int, below: int, depth: int) -> int:
        """Bring a map from the contracting path to where it meets the other one."""
        level, bottom = self.levels[depth], len(self.levels) - 1
        if self.skip == "respath":
            widths = (level.up_conv or net.width(skip),) * (bottom - depth)
            stage = self._stage(f"skip.{depth}", widths, level)
            return residual_path(net, skip, stage)
        if self.skip != "gate" or depth == 0:
            return skip
        if depth + 1 == bottom:
            signal = self._stage("signal", (net.width(below),), level)
            below = plain(net, below, signal.pointwise())
        stage = self._stage(f"skip.{depth}", (), level)
        return gate(net, skip, below, stage, level.pool)


def _to_grid(net: Drawing) -> tuple[int, ...]:
    """Return the kernel whose border, if it is lost, too, aligns a network.

    Tiles lie at multiples of the step, their windows begin a halo before: so the halo
    is made what brings the first pixel of the coarsest map to a multiple, too.
    """
    trace = Trace(net, padded=False)
    maps = [trace.extents(number) for number in range(len(net.layers))]
    kernel = []
    for axis, (step, halo) in enumerate(zip(trace.step, trace.halo, strict=True)):
        coarsest = max((m[axis] for m in maps), key=lambda extent: extent.scale)
        kernel.append(2 * ((coarsest.origin - halo) % step) + 1)
    return tuple(kernel)


Architecture.later = frozenset(Architecture.model_fields).difference(_FIRST_FIELDS)


def paper(channels: int = 1, classes: int = 2, width: int = 64) -> Architecture:
    """Return the network of Ronneberger et al. 2015, Fig. 1.

    Four poolings, widths 64 to 1024, dropout at the end of the contracting path:
    31,030,658 parameters for one channel and two classes, 572 -> 388 pixels.
    """
    return u_shape(
        ndim=2,
        channels=channels,
        classes=classes,
        width=width,
        depth=4,
        dropout=(2, 0.5),
    )


def u_shape(
    *,
    ndim: int,
    channels: int,
    classes: int,
    width: int,
    depth: int,
    dropout: tuple[int, float] = (0, 0.0),
    flat: tuple[int, ...] = (),
    norm: Norm = "none",
) -> Architecture:
    """Return the paper's scheme with other sizes.

    `width` are the channels at full resolution, doubled with each of `depth` poolings;
    `dropout` says how many of the deepest levels drop values, and the share dropped;
    `flat`, for each axis, how many of the finest levels leave it alone (kernel and
    pooling 1), as thin stacks need.
    """
    widths = [width * 2**d for d in range(depth + 1)]
    table = levels([(w, w) for w in widths], ndim=ndim, flat=flat, dropout=dropout)
    return Architecture(channels=channels, classes=classes, levels=table, norm=norm)


def levels(
    down: Sequence[tuple[int, ...]],
    up: Sequence[tuple[int, ...]] = (),
    up_conv: Sequence[int] = (),
    *,
    ndim: int,
    kernel: int = 3,
    flat: tuple[int, ...] = (),
    dropout: tuple[int, float] = (0, 0.0),
) -> tuple[Level, ...]:
    """Return levels of one kernel, each of half the size of the one above.

    For each level the widths of the convolutions on both paths, and of the
    up-convolution; without them those of the contracting path. `flat` and `dropout`
    are as in `u_shape`.
    """
    bottom, flats = len(down) - 1, flat or (0,) * ndim
    table = []
    for d, widths in enumerate(down):
        last = d == bottom
        table.append(
            Level(
                down=widths,
                up=() if last else (up or down)[d],
                up_conv=0 if last else up_conv[d] if up_conv else widths[-1],
                kernel=tuple(1 if d < f else kernel for f in flats),
                pool=tuple(1 if last or d < f else 2 for f in flats),
                dropout=dropout[1] if d > bottom - dropout[0] else 0.0,
            )
        )
    return tuple(table)
