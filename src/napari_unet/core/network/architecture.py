"""The network as a table of levels, and the sizes that follow from it.

An unpadded convolution of kernel k shortens an axis by k - 1, so a U-Net of such
convolutions takes only some sizes and gives back less than it was given. Everything
about sizes is derived here, once for any number of axes.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal, Self

from pydantic import Field, model_validator

from napari_unet.core.settings import Settings, Unit
from napari_unet.core.text import times

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
        lost = [0] * self.ndim
        for depth, level in enumerate(self.levels):
            passes = 1 if depth == len(self.levels) - 1 else 2
            for axis, (k, scale) in enumerate(
                zip(level.kernel, self._scale(depth), strict=True)
            ):
                lost[axis] += passes * 2 * (k - 1) * scale
        return tuple(n // 2 for n in lost)

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

    def output_size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Output given by an input, in pixels.

        A ValueError for a size that the network cannot take names the nearest that it
        can.
        """
        if len(size) != self.ndim:
            raise ValueError(
                f"this network takes {self.ndim} spatial axes, found size {size}."
            )
        smaller, larger = self._neighbours(size)
        if tuple(size) != smaller:
            raise ValueError(
                f"this network cannot take the input size {times(size)}; the nearest "
                f"sizes it takes are {times(smaller)} and {times(larger)}."
            )
        return tuple(n - 2 * h for n, h in zip(size, self.halo, strict=True))

    def output_covering(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Smallest possible output that is at least `size`, in pixels."""
        return tuple(
            max(-(-(n + c) // s), _bottom_minimum(c, s)) * s - c
            for n, c, s in zip(size, self._output_constant, self.step, strict=True)
        )

    def output_within(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Largest possible output that is at most `size`, or the smallest there is."""
        return tuple(
            max((n + c) // s, _bottom_minimum(c, s)) * s - c
            for n, c, s in zip(size, self._output_constant, self.step, strict=True)
        )

    @cached_property
    def _output_constant(self) -> tuple[int, ...]:
        """Pixels lost on the expanding path: an output is n * step minus this."""
        lost = [0] * self.ndim
        for depth, level in enumerate(self.levels[:-1]):
            for axis, (k, scale) in enumerate(
                zip(level.kernel, self._scale(depth), strict=True)
            ):
                lost[axis] += 2 * (k - 1) * scale
        return tuple(lost)

    def _scale(self, depth: int) -> tuple[int, ...]:
        """Input pixels in one pixel of a level."""
        scale = [1] * self.ndim
        for level in self.levels[:depth]:
            scale = [s * p for s, p in zip(scale, level.pool, strict=True)]
        return tuple(scale)

    def _neighbours(
        self, size: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Valid input sizes at or below, and at or above, a size."""
        output = tuple(max(1, n - 2 * h) for n, h in zip(size, self.halo, strict=True))
        below, above = self.output_within(output), self.output_covering(output)
        return self.input_size(below), self.input_size(above)


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

    Parameters
    ----------
    classes : int
        Of the output, with background.
    width : int
        Channels at full resolution, doubled with each pooling.
    depth : int
        Number of poolings.
    dropout : (int, float)
        How many of the deepest levels drop values, and the share dropped.
    flat : tuple of int
        For each axis, how many of the finest levels leave it alone: kernel and pooling
        1, as thin stacks need. Missing axes are pooled everywhere.
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


def unet3d(channels: int = 3, classes: int = 3) -> Architecture:
    """Return the 3-D U-Net of Çiçek et al. 2016, Fig. 2.

    Widths double in the second convolution of each level, up-convolutions keep theirs
    and have no bias: 19,069,955 parameters without those of the batch normalisation,
    132 × 132 × 116 -> 44 × 44 × 28 voxels.
    """
    levels = []
    for depth, w in enumerate((32, 64, 128, 256)):
        bottom = depth == 3
        levels.append(
            Level(
                down=(w, 2 * w),
                up=() if bottom else (2 * w, 2 * w),
                up_conv=0 if bottom else 4 * w,
                kernel=(3, 3, 3),
                pool=(1, 1, 1) if bottom else (2, 2, 2),
            )
        )
    return Architecture(
        channels=channels,
        classes=classes,
        levels=tuple(levels),
        norm="batch",
        up_bias=False,
    )
