"""One plane or volume, predicted tile by tile in the memory there is."""

from __future__ import annotations

from collections import deque
from itertools import chain
from math import ceil
from typing import TYPE_CHECKING, Any

from napari_unet.core.memory import choose_output, halve_output, output_with_stride
from napari_unet.core.rescaling import Rescaled
from napari_unet.core.tiles import plan, read_window
from napari_unet.engine.device import (
    dtype,
    free_memory,
    is_out_of_memory,
    release_memory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.core.image import Field
    from napari_unet.core.normalisation import GreyScale
    from napari_unet.core.tiles import Box, Tile
    from napari_unet.engine.network import Averaging, Network

# Share of the free memory that feature maps may take; the rest is for everything else.
_MEMORY_SHARE = 0.5
_FIXED_TILE = 256
_GB = 1e9


class TileRun:
    """Predicts one field tile by tile; tiles shrink when memory runs out.

    Iterating yields (tile, probabilities): the probabilities of the tile's target, an
    ndarray of float32 of shape (classes, [z,] y, x).

    Parameters
    ----------
    network : Network
    field : Field
    scale : GreyScale
        Normalisation of the field.
    output : tuple of int, optional
        Output size of the tiles; chosen by the free memory if not given.
    averaging : {"none", "dihedral"}
    region : tuple of slice, optional
        Part of the field.
    focus : sequence of float, optional
        Point from which tiles are done outwards.
    factors : tuple of float, optional
        As `core.rescaling.rescaling` gives them: the field is resampled for the network
        and its answer brought back. Targets are pixels of the field in any case.
    """

    def __init__(
        self,
        network: Network,
        field: Field,
        scale: GreyScale,
        *,
        output: tuple[int, ...] | None = None,
        averaging: Averaging = "none",
        region: Box | None = None,
        focus: Sequence[float] | None = None,
        factors: tuple[float, ...] | None = None,
    ) -> None:
        self._network = network
        self._rescaled = Rescaled(field, factors) if factors else None
        self._field = field
        self._scale = scale
        self._averaging: Averaging = averaging
        self._focus = focus
        self.region = region or tuple(slice(0, n) for n in field.shape)
        self.output = output or choose_tile(network, lengths(self.region, factors))

    def __iter__(self) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
        waiting = deque(self._plan(self.region))
        while waiting:
            probabilities = self._try(waiting[0])
            if probabilities is None:
                self._halve()
                smaller = [self._plan(tile.target) for tile in waiting]
                waiting = deque(chain.from_iterable(smaller))
                continue
            tile = waiting.popleft()
            yield tile, probabilities[(slice(None), *tile.inner)]

    def glance(
        self, output: tuple[int, ...]
    ) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
        """Yield the tile of another size that is nearest to the focus.

        Nothing if memory runs out.
        """
        nearest = self._plan(self.region, output)[0]
        probabilities = self._try(nearest)
        if probabilities is not None:
            yield nearest, probabilities[(slice(None), *nearest.inner)]

    def _plan(self, region: Box, output: tuple[int, ...] | None = None) -> list[Tile]:
        """Cut a region into tiles; rescaled, they are in pixels of the field."""
        table, size = self._network.module.architecture, output or self.output
        step, halo = table.step, table.halo
        if self._rescaled is not None:
            size = self._rescaled.covered_by(size, step)
            step, halo = (1,) * len(step), (0,) * len(halo)
        return plan(
            self._field.shape,
            size,
            step=step,
            halo=halo,
            region=region,
            focus=self._focus,
        )

    def _try(self, tile: Tile) -> NDArray[np.float32] | None:
        """Predict one tile; None if memory ran out."""
        try:
            if self._rescaled is not None:
                return self._answer_on_own_grid(self._rescaled, tile)
            window = read_window(self._field, tile.start, tile.size)
            return self._answer(window)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        release_memory(self._network.device)
        return None

    def _answer(self, window: NDArray[Any]) -> NDArray[np.float32]:
        return self._network.probabilities(self._scale.apply(window), self._averaging)

    def _answer_on_own_grid(self, image: Rescaled, tile: Tile) -> NDArray[np.float32]:
        table = self._network.module.architecture
        origin = image.window_start(tile.start, table.step)
        output = table.output_covering(image.covering(tile.size, table.step))
        start = [o - h for o, h in zip(origin, table.halo, strict=True)]
        window = read_window(image, start, table.input_size(output))
        return image.on_own_grid(self._answer(window), origin, tile.start, tile.size)

    def _halve(self) -> None:
        smaller = halve_output(self._network.module.architecture, self.output)
        if smaller is None:
            raise MemoryError(
                "the smallest tile does not fit into the memory of "
                f"{self._network.device}; free memory or use another device."
            )
        self.output = smaller


def choose_tile(
    network: Network, shape: tuple[int, ...], tile: int = 0, memory_gb: float = 0.0
) -> tuple[int, ...]:
    """Choose the output size of the tiles.

    Parameters
    ----------
    network : Network
    shape : tuple of int
        Pixels to predict along each axis.
    tile : int
        The size asked for; 0 chooses by the memory.
    memory_gb : float
        Memory that may be taken, in GB, as far as it is free; 0 for no other bound.

    Returns
    -------
    tuple of int
    """
    table = network.module.architecture
    if not table.tile_invariant:
        # one fixed tile, whatever the machine, so that results can be repeated
        tile = tile or _FIXED_TILE
    if tile:
        return output_with_stride(table, (tile,) * table.ndim)
    memory = _MEMORY_SHARE * free_memory(network.device)
    if memory_gb:
        memory = min(memory, memory_gb * _GB)
    return choose_output(table, shape, memory / dtype(network.precision).itemsize)


def lengths(box: Box, factors: tuple[float, ...] | None = None) -> tuple[int, ...]:
    """Return the size of a box in pixels, or in those of a network that sees it so."""
    sizes = tuple(b.stop - b.start for b in box)
    if factors is None:
        return sizes
    return tuple(ceil(n * f) for n, f in zip(sizes, factors, strict=True))
