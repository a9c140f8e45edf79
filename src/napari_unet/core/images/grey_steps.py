"""Rules for grey values that networks of other programs were made for, step by step.

Each step clips the values of a frame, or shifts and scales them, by numbers that it
holds (for all images) or that it measures of the frame as the steps before left it.
All of them together are one clipping, one shift and one factor for each channel.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from napari_unet.core.settings import NonNegative, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    Values = NDArray[np.float64]
    # the pixels of a frame, (channels, n), as often as it is called
    Blocks = Callable[[], Iterable[Values]]

# Far from what float32 cannot hold.
_MOST = 1e30
Value = Annotated[float, Field(ge=-_MOST, le=_MOST)]
Percentile = Annotated[float, Field(ge=0, le=100)]
# Values that differ by less than this share of themselves are alike.
_ALIKE = 1e-9
# So many pixels of a channel are enough for its percentiles.
_PIXELS = 2**22


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """What some steps do: to clip, to subtract and to divide; one of each a channel."""

    low: Values
    high: Values
    mean: Values
    sd: Values  # a negative one inverts

    @classmethod
    def unchanged(cls, channels: int) -> Scale:
        """Return what no step does."""
        ends = np.full(channels, np.inf)
        return cls(-ends, ends, np.zeros(channels), np.ones(channels))

    @property
    def parts(self) -> tuple[Values, Values, Values, Values]:
        """Return its four fields."""
        return self.low, self.high, self.mean, self.sd

    def apply(self, values: Values) -> Values:
        """Return what becomes of values, (channels, n)."""
        low, high, mean, sd = (v[:, None] for v in self.parts)
        scaled: Values = (np.clip(values, low, high) - mean) / sd
        return scaled

    def clipped(self, low: Values | float, high: Values | float) -> Scale:
        """Return it with values clipped that it has brought to their range."""
        ends = np.sort([low * self.sd + self.mean, high * self.sd + self.mean], axis=0)
        return Scale(
            np.clip(self.low, *ends), np.clip(self.high, *ends), self.mean, self.sd
        )

    def shifted(self, mean: Values | float, sd: Values | float) -> Scale:
        """Return it with something more subtracted and divided by."""
        return Scale(self.low, self.high, self.mean + mean * self.sd, self.sd * sd)

    def of(self, channels: list[int]) -> Scale:
        """Return that of some channels."""
        return Scale(*(v[channels] for v in self.parts))

    def put(self, channels: list[int], other: Scale) -> Scale:
        """Return it with another one for some channels."""
        made = Scale(*(v.copy() for v in self.parts))
        for own, new in zip(made.parts, other.parts, strict=True):
            own[channels] = new
        return made


class Step(Settings):
    """Base of the steps."""

    # numbers of those that it is for; all of them if there is none
    channels: tuple[Annotated[int, Field(ge=0)], ...] = ()

    @property
    @abstractmethod
    def words(self) -> str:
        """What it does, for people."""

    @abstractmethod
    def after(self, scale: Scale, blocks: Blocks) -> Scale:
        """Return what it makes of the steps before it."""


class _Range(Step):
    """Base of the steps that take a lower and an upper end."""

    low: float
    high: float

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(
                f"low must be less than high, found {self.low} and {self.high}."
            )
        return self


class Clip(_Range):
    """Clip at two values."""

    step: Literal["clip"] = "clip"
    low: Value
    high: Value

    @property
    def words(self) -> str:
        """What it does, for people."""
        return f"clip at {self.low:g} and {self.high:g}"

    def after(self, scale: Scale, blocks: Blocks) -> Scale:
        """Return what it makes of the steps before it."""
        return scale.clipped(self.low, self.high)


class Fixed(Step):
    """Subtract a number and divide by another, the same for all images."""

    step: Literal["fixed"] = "fixed"
    mean: Value = 0.0
    sd: Value = 1.0  # a negative one inverts
    # only in frames with a value that is greater than this, in any of the channels
    above: Value | None = None

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if abs(self.sd) < 1 / _MOST:
            raise ValueError(f"sd must not be 0, found {self.sd}.")
        return self

    @property
    def words(self) -> str:
        """What it does, for people."""
        done = f"subtract {self.mean:g}, divide by {self.sd:g}"
        return done + ("" if self.above is None else f" if any is above {self.above:g}")

    def after(self, scale: Scale, blocks: Blocks) -> Scale:
        """Return what it makes of the steps before it."""
        if self.above is not None:
            highest = max(scale.apply(block).max() for block in blocks())
            if highest <= self.above:
                return scale
        return scale.shifted(self.mean, self.sd)


class _Measured(Step):
    """Base of the steps that measure a frame."""

    # whether all channels are measured as one, or each alone
    together: bool = False

    @property
    def _of(self) -> str:
        return ", all channels as one" if self.together else ""

    def _seen(self, scale: Scale, blocks: Blocks) -> Iterator[Values]:
        for block in blocks():
            values = scale.apply(block)
            yield values.reshape(1, -1) if self.together else values

    def _percentiles(
        self, scale: Scale, blocks: Blocks, low: float, high: float
    ) -> tuple[Values, Values]:
        if (low, high) == (0, 100):
            ends = [(v.min(axis=1), v.max(axis=1)) for v in self._seen(scale, blocks)]
            lows, highs = zip(*ends, strict=True)
            return np.min(lows, axis=0), np.max(highs, axis=0)
        pixels = sum(block.shape[1] for block in blocks())
        # odd, so as not to fall in step with the columns
        every = pixels // _PIXELS | 1
        some = [v[:, ::every] for v in self._seen(scale, blocks)]
        found = np.percentile(np.concatenate(some, axis=1), (low, high), axis=1)
        return found[0], found[1]


class ClipPercentiles(_Range, _Measured):
    """Clip at percentiles of the frame."""

    step: Literal["clip_percentiles"] = "clip_percentiles"
    low: Percentile
    high: Percentile

    @property
    def words(self) -> str:
        """What it does, for people."""
        return f"clip {self.low:g} and {self.high:g} percentiles{self._of}"

    def after(self, scale: Scale, blocks: Blocks) -> Scale:
        """Return what it makes of the steps before it."""
        return scale.clipped(*self._percentiles(scale, blocks, self.low, self.high))


class MinMax(_Range, _Measured):
    """Bring two percentiles of the frame to 0 and 1; nothing is clipped."""

    step: Literal["min_max"] = "min_max"
    low: Percentile = 0.0
    high: Percentile = 100.0
    eps: NonNegative = 0.0  # added to what is divided by

    @property
    def words(self) -> str:
        """What it does, for people."""
        if (self.low, self.high) == (0, 100):
            return f"minimum to 0, maximum to 1{self._of}"
        return f"{self.low:g} percentile to 0, {self.high:g} to 1{self._of}"

    def after(self, scale: Scale, blocks: Blocks) -> Scale:
        """Return what it makes of the steps before it."""
        low, high = self._percentiles(scale, blocks, self.low, self.high)
        return scale.shifted(low, _divisor(high - low, low) + self.eps)


class ZScore(_Measured):
    """Bring the frame to mean 0 and sd 1."""

    step: Literal["z_score"] = "z_score"
    eps: NonNegative = 0.0  # added to the sd

    @property
    def words(self) -> str:
        """What it does, for people."""
        return f"mean 0, sd 1{self._of}"

    def after(self, scale: Scale, blocks: Blocks) -> Scale:
        """Return what it makes of the steps before it."""
        # pixels, mean and sum of squared differences of what was seen (Chan et al.)
        count, mean, squares = 0, np.zeros(1), np.zeros(1)
        for values in self._seen(scale, blocks):
            own, new = values.mean(axis=1), values.shape[1]
            squares = squares + ((values - own[:, None]) ** 2).sum(axis=1)
            squares = squares + (own - mean) ** 2 * (count * new / (count + new))
            mean = mean + (own - mean) * (new / (count + new))
            count += new
        sd = np.sqrt(squares / count)
        return scale.shifted(mean, _divisor(sd, mean) + self.eps)


class Maximum(_Measured):
    """Divide by the largest value; of all channels as one by the longest vector."""

    step: Literal["maximum"] = "maximum"

    @property
    def words(self) -> str:
        """What it does, for people."""
        return f"divide by the maximum{self._of}"

    def after(self, scale: Scale, blocks: Blocks) -> Scale:
        """Return what it makes of the steps before it."""
        axis = 0 if self.together else ()
        largest = [
            (scale.apply(block) ** 2).sum(axis=axis, keepdims=True).max(axis=1)
            for block in blocks()
        ]
        return scale.shifted(0.0, _divisor(np.sqrt(np.max(largest, axis=0)), 0.0))


AnyStep = Annotated[
    Clip | ClipPercentiles | Fixed | MinMax | ZScore | Maximum,
    Field(discriminator="step"),
]


class GreySteps(Settings):
    """A rule for grey values: steps in their order; without any, values as they are."""

    steps: tuple[AnyStep, ...] = Field((), max_length=64)
    # whether a network of planes sees each slice by measures of its own, and not those
    # of all slices of the time point
    each_slice: bool = False

    @property
    def words(self) -> str:
        """What it does, for people."""
        if not self.steps:
            return "as they are in the file"
        done = ", then ".join(map(_with_channels, self.steps))
        return done + ", each slice alone" * self.each_slice

    def scale(self, channels: int, blocks: Blocks) -> Scale:
        """Return what it does to a frame.

        `blocks` gives its pixels, (channels, n), as often as it is called. A ValueError
        says that the rule is for more channels than the frame has.
        """
        scale = Scale.unchanged(channels)
        for step in self.steps:
            some = list(step.channels or range(channels))
            if max(some) >= channels:
                raise ValueError(
                    f"the model's rule for grey values is for channel {max(some)}, "
                    f"counted from 0, the image has {channels}."
                )

            def seen(some: list[int] = some) -> Iterator[Values]:
                return (block[some] for block in blocks())

            scale = scale.put(some, step.after(scale.of(some), seen))
        return scale


def _with_channels(step: Step) -> str:
    if not step.channels:
        return step.words
    return f"{step.words} (channel {', '.join(map(str, step.channels))})"


def _divisor(spread: Values, size: Values | float) -> Values:
    """Return what is divided by; 1 where all values are alike, which become 0."""
    alike = spread <= _ALIKE * np.maximum(np.abs(size), 1 / _MOST)
    return np.where(alike, 1.0, spread)
