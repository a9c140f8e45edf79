"""What a training asks of a network: what the builders of the family are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_unet.core.network.architecture import levels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.core.network.architecture import Level
    from napari_unet.core.network.layers import Norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a training says of the network that it wants."""

    ndim: int
    channels: int = 1
    classes: int = 2
    # channels at full resolution, number of reductions
    width: int
    depth: int
    norm: Norm = "batch"
    # share dropped at the two deepest levels
    dropout: float = 0.0
    # for each axis, how many of the finest levels leave it alone (thin stacks)
    flat: tuple[int, ...] = ()
    # what a patch is to show, in pixels along ([z,] y, x), no thicker than the thinnest
    # stack; of networks with a window of fixed size the window follows it
    patch: tuple[int, ...] = ()
    # whether the contracting path has to take ImageNet's weights
    imagenet: bool = False

    @property
    def widths(self) -> list[int]:
        """Channels of each level, doubled with each reduction."""
        return [self.width * 2**d for d in range(self.depth + 1)]

    def levels(
        self,
        down: Sequence[tuple[int, ...]],
        up: Sequence[tuple[int, ...]] = (),
        up_conv: Sequence[int] = (),
        kernel: int = 3,
    ) -> tuple[Level, ...]:
        """Return the levels of given widths, as `architecture.levels`."""
        return levels(
            down,
            up,
            up_conv,
            ndim=self.ndim,
            kernel=kernel,
            flat=self.flat,
            dropout=(2, self.dropout),
        )
