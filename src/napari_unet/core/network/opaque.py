"""Networks of other programs that run as they are: of those only sizes are known.

Such a network is a TorchScript or ONNX file. It commutes with some shifts and loses
some border, as whoever made it says, and has then tiles as any other. Of one input size
only, or without a border that would say how far it sees, it has windows of fixed size
(`blended`).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, Self

from pydantic import Field, model_validator

from napari_unet.core.network.geometry import Layered

if TYPE_CHECKING:
    from collections.abc import Sequence

Runtime = Literal["torchscript", "onnx"]
TITLES: dict[Runtime, str] = {"torchscript": "TorchScript", "onnx": "ONNX"}
FILE = "file"
"""Name among the weights of a model of what runs: the bytes of the file."""

_Size = Annotated[int, Field(ge=1, le=2**20)]
_Border = Annotated[int, Field(ge=0, le=2**20)]
# Guesses for each pixel of the input: as many numbers as two maps of a U-Net with 64
# channels and their skip, and its multiplications.
_VALUES, _FLOPS = 256, 5e5
# Side of a window where the network leaves a choice, in pixels.
_USUAL = {2: 256, 3: 64}


class Opaque(Layered):
    """A network that is run as it is, and cannot be trained.

    All sizes are in pixels along ([z,] y, x). An input has the size `smallest` + n ×
    `growth`; its output is smaller by `lost` on each side, and right but for `border`
    on each side of the input.
    """

    kind: Literal["opaque"] = "opaque"
    runtime: Runtime
    smallest: tuple[_Size, ...] = Field(min_length=2, max_length=3)
    growth: tuple[_Border, ...]  # 0 along an axis of one size
    lost: tuple[_Border, ...]
    border: tuple[_Border, ...]  # what is lost is part of it
    # what is still to be done with its output
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    # it gives one channel, of the foreground, where there are two classes
    only_foreground: bool = False

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        sizes = self.smallest, self.growth, self.lost, self.border
        if len({len(each) for each in sizes}) > 1:
            raise ValueError(
                "the sizes of a network are for the same axes, found "
                f"{', '.join(map(str, sizes))}."
            )
        if any(n < lost for n, lost in zip(self.border, self.lost, strict=True)):
            raise ValueError(
                f"what the network loses, {self.lost}, is part of its border, found "
                f"{self.border}."
            )
        if min(self.min_output) < 1:
            raise ValueError(
                f"of the smallest input {self.smallest} nothing is left without the "
                f"border {self.border}."
            )
        if self.window is None and self.needs_window:
            raise ValueError(
                "a network of one input size, or without a border, needs a window."
            )
        window = self.window or (1,) * self.ndim
        if any(
            w > n for w, n in zip(window, self.output_covering(window), strict=True)
        ):
            raise ValueError(
                f"a window is no larger than what one run gives, found {window}."
            )
        if self.only_foreground and self.classes != 2:
            raise ValueError(
                "a network with the foreground alone as its output has two classes, "
                f"found {self.classes}."
            )
        return self

    @property
    def needs_window(self) -> bool:
        """Whether it has no tiles of any size."""
        return 0 in self.growth or 0 in self.border

    @property
    def made(self) -> int:
        """Channels that it gives."""
        return 1 if self.only_foreground else self.classes

    @property
    def sees_window(self) -> bool:
        """Whether what it says of a pixel may depend on all of the window around it."""
        return self.window is not None

    @property
    def overlap(self) -> tuple[int, ...]:
        """Windows that see a pixel: one where the border says what is right."""
        return tuple(1 if n else 2 for n in self.border)

    @property
    def step(self) -> tuple[int, ...]:
        """Shifts of the input that the network commutes with."""
        return tuple(max(n, 1) for n in self.growth)

    @property
    def halo(self) -> tuple[int, ...]:
        """Border lost on each side."""
        return self.border

    @property
    def min_output(self) -> tuple[int, ...]:
        """Smallest possible output."""
        sizes = zip(self.smallest, self.border, strict=True)
        return tuple(n - 2 * border for n, border in sizes)

    def output_covering(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Smallest possible output that is at least `size`; of one size that."""
        return self._possible(super().output_covering(size))

    def output_within(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Largest possible output that is at most `size`, or the smallest there is."""
        return self._possible(super().output_within(size))

    def peak_values(self, output: Sequence[int]) -> int:
        """Guess how many numbers are alive at once while a tile is computed."""
        return _VALUES * prod(self.input_size(tuple(output)))

    def flops(self, output: Sequence[int]) -> float:
        """Guess the multiplications of the convolutions for a tile's output."""
        return _FLOPS * prod(self.input_size(tuple(output)))

    @classmethod
    def in_windows(cls, **fields: Any) -> Self:
        """Return one with the windows that it needs; fields as it has them.

        A ValueError, by its class or as a ValidationError, says that there is none.
        """
        sizes = zip(
            *(fields[name] for name in ("smallest", "growth", "border")), strict=True
        )
        window, whole = [], True
        for smallest, growth, border in sizes:
            least, usual = smallest - 2 * border, _USUAL[len(fields["smallest"])]
            more = -(-max(usual - least, 0) // growth) * growth if growth else 0
            window.append((least + more) // 2 * 2)
            whole = whole and growth > 0 and border > 0
        return cls(window=None if whole else tuple(window), **fields)

    def draw(self) -> NoReturn:
        """Refuse, with a ValueError: what is in the file is not known."""
        raise ValueError(
            "the layers of this network are not known: it is a file of "
            f"{TITLES[self.runtime]} that runs as it is."
        )

    def _possible(self, output: tuple[int, ...]) -> tuple[int, ...]:
        sizes = zip(output, self.min_output, self.growth, strict=True)
        return tuple(n if growth else least for n, least, growth in sizes)
