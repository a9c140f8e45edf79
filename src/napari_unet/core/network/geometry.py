"""The sizes of a network: all that tiles, memory, session and command line know of it.

An unpadded convolution of kernel k shortens an axis by k - 1, so a network of such
convolutions takes only some sizes and gives back less than it was given. Everything
about sizes follows from the layers that a network draws (`trace`), once for any number
of axes.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from napari_unet.core.network.trace import Trace
from napari_unet.core.settings import GrownSettings
from napari_unet.core.text import times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.core.network.layers import Drawing


class Geometry:
    """Base of what is run in tiles: a network, or what is made of runs of one.

    All sizes are in pixels of the image, along ([z,] y, x).
    """

    # of the image
    channels: int
    # of the output, the background included; or channels of an image that is made
    classes: int

    @property
    @abstractmethod
    def step(self) -> tuple[int, ...]:
        """Shifts of the input that it commutes with."""

    @property
    @abstractmethod
    def halo(self) -> tuple[int, ...]:
        """Border lost on each side."""

    @property
    @abstractmethod
    def min_output(self) -> tuple[int, ...]:
        """Smallest possible output."""

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.step)

    @abstractmethod
    def peak_values(self, output: Sequence[int]) -> int:
        """Estimate how many numbers are alive at once while a tile is computed.

        They are values of the feature maps; times the bytes of one value it is the
        memory. `output` is the tile's.
        """

    @abstractmethod
    def flops(self, output: Sequence[int]) -> float:
        """Count the multiplications of the convolutions for a tile's output."""

    @property
    def min_input(self) -> tuple[int, ...]:
        """Smallest possible input."""
        return self.input_size(self.min_output)

    def input_size(self, output: tuple[int, ...]) -> tuple[int, ...]:
        """Input needed for an output."""
        return tuple(o + 2 * h for o, h in zip(output, self.halo, strict=True))

    def output_size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Output given by an input.

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
        """Smallest possible output that is at least `size`."""
        return tuple(
            least + max(-(-(n - least) // s), 0) * s
            for n, least, s in zip(size, self.min_output, self.step, strict=True)
        )

    def output_within(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Largest possible output that is at most `size`, or the smallest there is."""
        return tuple(
            least + max((n - least) // s, 0) * s
            for n, least, s in zip(size, self.min_output, self.step, strict=True)
        )


class Layered(Geometry, GrownSettings):
    """Base of the descriptions of networks: their sizes follow from their layers."""

    later: ClassVar[frozenset[str]] = frozenset({"padded", "window", "mean_of"})

    channels: int = Field(1, ge=1)
    classes: int = Field(2, ge=1, le=254)  # background included
    # Convolutions that add a border of zeros keep the size, and the network gives as
    # much as it is given; it then sees one window of fixed size at a time.
    padded: bool = False
    # What it gives for such a window, in pixels along ([z,] y, x). None for windows of
    # any size; of a network that depends on them, for a usual one (`blended`).
    window: tuple[int, ...] | None = None
    # What is averaged where windows overlap, and over members and turned views: what
    # the softmax gives, or what it is given, as nnU-Net does (`blended`).
    mean_of: Literal["probabilities", "scores"] = "probabilities"

    @model_validator(mode="after")
    def _window_fits(self) -> Self:
        window = self.window
        if window is None:
            if self.padded:
                raise ValueError("a padded network needs a window, found none.")
            return self
        if len(window) != self.ndim or any(n < 2 or n % 2 for n in window):
            raise ValueError(
                f"a window has an even size along each of the {self.ndim} axes, "
                f"found {times(window)}."
            )
        return self

    @property
    def is_later(self) -> bool:
        """Whether older programs cannot know it: they have but U-Nets."""
        return True

    @abstractmethod
    def draw(self) -> Drawing:
        """Draw all layers, those that only training needs behind the `scores`."""

    @cached_property
    def drawing(self) -> Drawing:
        """The layers of the network."""
        return self.draw()

    @cached_property
    def trace(self) -> Trace:
        """The sizes of all maps."""
        return Trace(self.drawing, padded=self.padded)

    @property
    def sees_window(self) -> bool:
        """Whether what it says of a pixel depends on all of the window around it."""
        return self.padded or any(
            layer.op in ("positions", "attention") or layer.kind == "instance"
            for layer in self.drawing.layers
        )

    @property
    def overlap(self) -> tuple[int, ...]:
        """Windows of fixed size that see a pixel, along each axis."""
        return (2,) * self.ndim

    @property
    def step(self) -> tuple[int, ...]:
        """Shifts of the input that the network commutes with."""
        return self.trace.step

    @property
    def halo(self) -> tuple[int, ...]:
        """Border lost on each side."""
        return self.trace.halo

    @property
    def min_output(self) -> tuple[int, ...]:
        """Smallest possible output."""
        return self.trace.min_output

    def peak_values(self, output: Sequence[int]) -> int:
        """Estimate how many numbers are alive at once while a tile is computed."""
        return self.trace.peak_values(output)

    def flops(self, output: Sequence[int]) -> float:
        """Count the multiplications of the convolutions for a tile's output."""
        return self.trace.flops(output)
