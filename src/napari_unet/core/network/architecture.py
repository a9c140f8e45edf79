"""The network as a table of levels, and the sizes that follow from it.

An unpadded convolution of kernel k shortens an axis by k - 1, so a U-Net of such
convolutions takes only some sizes and gives back less than it was given. Everything
about sizes is derived here, once for any number of axes.
"""

from __future__ import annotations

from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from napari_unet.core.settings import Settings, Unit
from napari_unet.core.text import times

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Activation = Literal["none", "relu", "leaky_relu"]
Norm = Literal["none", "batch", "instance"]


class Level(Settings):
    """One resolution of the network."""

    down: tuple[int, int]  # widths of the two convolutions on the contracting path
    up: tuple[int, ...] = ()  # of the two on the expanding path; empty at the bottom
    # of the up-convolution that arrives at this level; 0 at the bottom
    up_conv: int = Field(0, ge=0)
    # of the convolutions along each axis, in pixels of this level, odd
    kernel: tuple[int, ...]
    # Reduction from this level to the next along each axis; 1 keeps the axis (thin
    # stacks). All 1 at the bottom.
    pool: tuple[int, ...]
    # share dropped after the contracting convolutions, in training only
    dropout: Unit = 0.0

    def convolved(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Size after a convolution, in pixels of this level."""
        return tuple(n - k + 1 for n, k in zip(size, self.kernel, strict=True))


class Architecture(Settings):
    """The whole network: its levels from the finest to the bottom, what they share."""

    channels: int = Field(1, ge=1)
    classes: int = Field(2, ge=2, le=254)  # background included
    levels: tuple[Level, ...] = Field(min_length=1)
    # after each convolution; the leaky one has slope 0.1
    activation: Activation = "relu"
    up_activation: Activation = "none"
    norm: Norm = "none"  # between convolution and activation
    up_bias: bool = True
    # order of the channels where the two paths meet
    concat: Literal["up_first", "skip_first"] = "up_first"

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
            is_bottom = depth == bottom
            if is_bottom != (not level.up) or is_bottom != (level.up_conv == 0):
                raise ValueError(
                    f"level {depth}: all levels but the bottom need up and up_conv."
                )
            if len(level.up) not in (0, 2):
                raise ValueError(f"level {depth}: up must be two widths.")
            if min(*level.down, *level.up, 1) < 1:
                raise ValueError(f"level {depth}: widths must be 1 or more.")
        if any(p != 1 for p in self.levels[-1].pool):
            raise ValueError("the bottom level is not pooled: its pool must be all 1.")
        return self

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.levels[0].kernel)

    @property
    def tile_invariant(self) -> bool:
        """Whether the result at a pixel is independent of the window around it."""
        return self.norm != "instance"

    @cached_property
    def step(self) -> tuple[int, ...]:
        """Shifts of the input, in pixels, that the network commutes with."""
        return self._scale(len(self.levels) - 1)

    @cached_property
    def halo(self) -> tuple[int, ...]:
        """Border lost on each side, in pixels."""
        down = self._lost(len(self.levels))
        return tuple((d + u) // 2 for d, u in zip(down, self._up_lost, strict=True))

    @cached_property
    def min_output(self) -> tuple[int, ...]:
        """Smallest possible output, in pixels."""
        return self.output_covering((1,) * self.ndim)

    @cached_property
    def min_input(self) -> tuple[int, ...]:
        """Smallest possible input, in pixels."""
        return self.input_size(self.min_output)

    def input_size(self, output: tuple[int, ...]) -> tuple[int, ...]:
        """Input needed for an output, in pixels."""
        return tuple(o + 2 * h for o, h in zip(output, self.halo, strict=True))

    def contracting(
        self, output: Sequence[int]
    ) -> Iterator[tuple[Level, tuple[int, ...], int]]:
        """Yield each level with size and width of its input, for a tile's output."""
        size, width = self.input_size(tuple(output)), self.channels
        for level in self.levels:
            yield level, size, width
            size = level.convolved(level.convolved(size))
            size = tuple(n // p for n, p in zip(size, level.pool, strict=True))
            width = level.down[1]

    def output_size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Output given by an input, in pixels.

        A ValueError for a size that the network cannot take names the nearest that it
        can.
        """
        if len(size) != self.ndim:
            raise ValueError(
                f"this network takes {self.ndim} spatial axes, found size {size}."
            )
        output = tuple(n - 2 * h for n, h in zip(size, self.halo, strict=True))
        wanted = tuple(max(1, n) for n in output)
        smaller = self.input_size(self.output_within(wanted))
        if tuple(size) != smaller:
            larger = self.input_size(self.output_covering(wanted))
            raise ValueError(
                f"this network cannot take the input size {times(size)}; the nearest "
                f"sizes it takes are {times(smaller)} and {times(larger)}."
            )
        return output

    def output_covering(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Smallest possible output that is at least `size`, in pixels."""
        return tuple(
            max(-(-(n + c) // s), _bottom_minimum(c, s)) * s - c
            for n, c, s in zip(size, self._up_lost, self.step, strict=True)
        )

    def output_within(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Largest possible output that is at most `size`, or the smallest there is."""
        return tuple(
            max((n + c) // s, _bottom_minimum(c, s)) * s - c
            for n, c, s in zip(size, self._up_lost, self.step, strict=True)
        )

    @cached_property
    def _up_lost(self) -> tuple[int, ...]:
        """Pixels lost on the expanding path: an output is n * step minus this."""
        return self._lost(len(self.levels) - 1)

    def _lost(self, levels: int) -> tuple[int, ...]:
        """Input pixels lost by two convolutions on each of the finest levels."""
        lost = [0] * self.ndim
        for depth, level in enumerate(self.levels[:levels]):
            for axis, scale in enumerate(self._scale(depth)):
                lost[axis] += 2 * (level.kernel[axis] - 1) * scale
        return tuple(lost)

    def _scale(self, depth: int) -> tuple[int, ...]:
        """Input pixels in one pixel of a level."""
        pools = [level.pool for level in self.levels[:depth]]
        return tuple(prod(pool[axis] for pool in pools) for axis in range(self.ndim))


def _bottom_minimum(constant: int, step: int) -> int:
    """Fewest pixels at the bottom that leave an output of one pixel or more."""
    return constant // step + 1


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
    flats = flat or (0,) * ndim
    levels = []
    for d in range(depth + 1):
        w, bottom = width * 2**d, d == depth
        levels.append(
            Level(
                down=(w, w),
                up=() if bottom else (w, w),
                up_conv=0 if bottom else w,
                kernel=tuple(1 if d < f else 3 for f in flats),
                pool=tuple(1 if bottom or d < f else 2 for f in flats),
                dropout=dropout[1] if d > depth - dropout[0] else 0.0,
            )
        )
    return Architecture(
        channels=channels, classes=classes, levels=tuple(levels), norm=norm
    )
