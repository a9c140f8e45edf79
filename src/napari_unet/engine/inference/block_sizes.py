"""Sizes of the blocks that fields are cut into: for network, segmentation and files."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING

from napari_unet.core.geometry.blocks import Block, cut
from napari_unet.core.geometry.boxes import shape_of
from napari_unet.io.ome_zarr import CHUNK

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class BlockSizes:
    """Sizes of blocks, margins and files.

    The cells are those of the whole field wherever the connected foreground that
    reaches into a core, and what is within `Segmentation.ridge` of it, is inside the
    window and 32 pixels off its inner edges: so for all foreground no larger than the
    margin less 32 pixels and the width of two ridges. Touching cells are one connected
    foreground; what happens more than a few cells away hardly ever matters to them.
    Larger cells get one id too, but may be cut at other necks than in the whole.
    """

    # largest block of a step of the network, ([z,] y, x), in pixels
    predicted_plane: tuple[int, int] = (4096, 4096)
    predicted_volume: tuple[int, int, int] = (128, 512, 512)
    whole: int = 2**24  # pixels of a field up to which it is segmented as a whole
    # largest core of a block that is segmented
    plane: tuple[int, int] = (2048, 2048)
    volume: tuple[int, int, int] = (96, 192, 192)
    # around the core on each side, in pixels of the finest axis
    plane_margin: int = 256
    volume_margin: int = 48
    # pixels of a field from which on a block writes a single file: shared file systems
    # hold few files
    shards_from: int = 10**10

    def most(self, ndim: int) -> int:
        """Return the pixels of the largest block for the network."""
        return prod(self.predicted_plane if ndim == 2 else self.predicted_volume)

    def predicted(self, shape: Sequence[int]) -> list[Block]:
        """Cut a field into blocks for the network."""
        side = self.predicted_plane if len(shape) == 2 else self.predicted_volume
        return cut(shape, side, unit=self.chunk(len(shape), predicted=True))

    def segmented(self, shape: Sequence[int], spacing: Sequence[float]) -> list[Block]:
        """Cut a field into blocks for segmentation."""
        if prod(shape) <= self.whole:
            return cut(shape, shape)
        side: tuple[int, ...] = self.plane
        margin = self.plane_margin
        if len(shape) == 3:
            side, margin = self.volume, self.volume_margin
        margins = [ceil(margin / step) for step in spacing]
        return cut(shape, side, margins, unit=self.chunk(len(shape)))

    def chunk(self, ndim: int, *, predicted: bool = False) -> int:
        """Return the side of a stored chunk: no two blocks write to one."""
        if predicted:
            side = self.predicted_plane if ndim == 2 else self.predicted_volume
        else:
            side = self.plane if ndim == 2 else self.volume
        return min(side[-1], CHUNK)

    def shard(
        self, axes: str, shape: Sequence[int], blocks: Sequence[Block]
    ) -> tuple[int, ...] | None:
        """Return the shape of the shards of an array that blocks write to.

        None if each chunk has its own file.
        """
        length = dict(zip(axes, shape, strict=True))
        core = shape_of(blocks[0].core)  # none is larger
        spatial = "zyx"[-len(core) :]
        if prod(length.get(a, 1) for a in spatial) < self.shards_from:
            return None
        sides = dict(zip(spatial, core, strict=True)) | {"c": length.get("c", 1)}
        return tuple(sides.get(a, 1) for a in axes)


DEFAULT_SIZES = BlockSizes()
