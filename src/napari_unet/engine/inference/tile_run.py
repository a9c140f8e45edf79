"""One plane or volume, predicted tile by tile within the free memory."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from math import ceil
from typing import TYPE_CHECKING, Any

from napari_unet.core.geometry.boxes import full_box, shape_of
from napari_unet.core.geometry.tiles import plan, read_window
from napari_unet.core.images.normalisation import check_finite
from napari_unet.core.images.rescaling import Rescaled
from napari_unet.core.network.blended import smallest_window
from napari_unet.core.network.tile_size import (
    choose_output,
    halve_output,
    output_with_stride,
)
from napari_unet.core.text import times
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

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.geometry.tiles import Tile
    from napari_unet.core.images.image import Field
    from napari_unet.core.images.normalisation import GreyScale
    from napari_unet.engine.network.network import Averaging, Network, PendingResult

# Share of the free memory that feature maps may take.
_MEMORY_SHARE = 0.5
_GB = 1e9


class TileRun:
    """Predicts one field tile by tile; tiles shrink when memory runs out.

    Iterating yields (tile, probabilities): the probabilities of the tile's target,
    float32, (classes, [z,] y, x), or the grey values of a network that makes an image.

    Parameters
    ----------
    output : tuple of int, optional
        Output size of the tiles; chosen by the free memory if not given.
    region : tuple of slice, optional
        Part of the field.
    focus : sequence of float, optional
        Point from which tiles are done outwards.
    factors : tuple of float, optional
        As `rescaling.rescaling` gives them: the field is resampled for the network
        and its result brought back. Targets are pixels of the field in any case.
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
        self._table = network.geometry
        self._rescaled = Rescaled(field, factors) if factors else None
        self._field = field
        self._scale = scale
        self._averaging: Averaging = averaging
        self._focus = focus
        self._region = region or full_box(field.shape)
        self.output = output or choose_tile(
            network, network_shape(self._region, factors)
        )
        self.ahead = 1 if network.device.type == "cuda" else 0

    def __iter__(self) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
        waiting = deque(self._plan(self._region))
        while waiting:
            for tile, probabilities in self._in_turn(list(waiting)):
                if probabilities is None:
                    self._halve()
                    smaller = [self._plan(tile.target) for tile in waiting]
                    waiting = deque(chain.from_iterable(smaller))
                else:
                    waiting.popleft()
                    yield tile, probabilities[(slice(None), *tile.inner)]

    def first_tile(
        self, output: tuple[int, ...]
    ) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
        """Yield the tile of another size that is nearest to the focus.

        Nothing if memory runs out.
        """
        nearest = self._plan(self._region, output)[0]
        for tile, probabilities in self._in_turn([nearest]):
            if probabilities is not None:
                yield tile, probabilities[(slice(None), *tile.inner)]

    def _plan(self, region: Box, output: tuple[int, ...] | None = None) -> list[Tile]:
        """Cut a region into tiles; rescaled, they are in pixels of the field."""
        size = output or self.output
        step, halo = self._table.step, self._table.halo
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

    def _in_turn(
        self, tiles: Sequence[Tile]
    ) -> Iterator[tuple[Tile, NDArray[np.float32] | None]]:
        """Predict tiles in their order, and end with None where memory runs out.

        The next window is read while the network computes; a GPU computes the next tile
        while a result is copied back and used.
        """
        started: deque[tuple[Tile, PendingResult | None]] = deque()
        with ThreadPoolExecutor(1, "read-ahead") as reader:
            ahead = reader.submit(self._read, tiles[0])
            for number, tile in enumerate(tiles):
                window = ahead.result()
                if number + 1 < len(tiles):
                    ahead = reader.submit(self._read, tiles[number + 1])
                pending = None
                try:
                    pending = self._network.start(window, self._averaging)
                except RuntimeError as error:
                    if not is_out_of_memory(error):
                        raise
                started.append((tile, pending))
                if pending is None:
                    # only here: the error kept the tensors alive
                    release_memory(self._network.device)
                    break
                while len(started) > self.ahead:
                    yield self._finished(*started.popleft())
            for last in started:
                yield self._finished(*last)

    def _read(self, tile: Tile) -> NDArray[np.float32]:
        """Return the input of the network for a tile."""
        if self._rescaled is None:
            window = read_window(self._field, tile.start, tile.size)
            start: Sequence[int] = tile.start
        else:
            table = self._table
            size = table.output_covering(self._rescaled.covering(tile.size, table.step))
            origin = self._rescaled.window_start(tile.start, table.step)
            start = [o - h for o, h in zip(origin, table.halo, strict=True)]
            window = read_window(self._rescaled, start, table.input_size(size))
        self._check_finite(window, start)
        return self._scale.apply(window)

    def _check_finite(self, window: NDArray[Any], start: Sequence[int]) -> None:
        """Refuse values that are not finite: of large frames, parts were measured."""
        field = self._field
        if self._rescaled is not None:
            check_finite(field.image, window)
            return
        inside = tuple(
            slice(max(-a, 0), n - a) for a, n in zip(start, field.shape, strict=True)
        )
        at = {"t": field.t, "z": field.z or 0}
        at |= {a: max(i, 0) for a, i in zip("zyx"[-len(start) :], start, strict=True)}
        check_finite(field.image, window[(slice(None), *inside)], at)

    def _finished(
        self, tile: Tile, pending: PendingResult | None
    ) -> tuple[Tile, NDArray[np.float32] | None]:
        """Wait for a result, and resample it to the field's own grid."""
        if pending is None:
            return tile, None
        found = pending.result()
        if self._rescaled is not None:
            origin = self._rescaled.window_start(tile.start, self._table.step)
            found = self._rescaled.on_own_grid(found, origin, tile.start, tile.size)
        if self._network.outputs is not None:
            found = self._network.outputs.restore(found, self._scale)
        return tile, found

    def _halve(self) -> None:
        smaller = halve_output(self._table, self.output)
        if smaller is None:
            raise MemoryError(
                "the smallest tile does not fit into the memory of "
                f"{self._network.device}; free memory or use another device."
            )
        self.output = smaller


def choose_tile(
    network: Network,
    shape: tuple[int, ...],
    tile: int = 0,
    memory_gb: float = 0.0,
    *,
    free: int | None = None,
) -> tuple[int, ...]:
    """Choose the output size of the tiles for `shape` pixels.

    `tile` is the requested size, 0 chooses by the free memory, of which at most
    `memory_gb` GB are used, 0 for no bound. A MemoryError says that not even the
    smallest tile fits. `free` is the free memory in bytes if another device than the
    network's computes.
    """
    table = network.geometry
    free = free_memory(network.device) if free is None else free
    each = dtype(network.precision).itemsize
    smallest = output_with_stride(table, table.step)
    needed = each * table.peak_values(smallest)
    if needed > free:
        # the system would end the process; the window of a network is fixed
        seen = smallest_window(table)
        raise MemoryError(
            f"the network sees at least {times(seen)} pixels at a time, which takes "
            f"{needed / _GB:.1f} GB, and {free / _GB:.1f} GB are free on "
            f"{network.device}: free memory, use another device, or train a network "
            "with a smaller depth or window."
        )
    if tile:
        return output_with_stride(table, (tile,) * table.ndim)
    memory = _MEMORY_SHARE * free
    if memory_gb:
        memory = min(memory, memory_gb * _GB)
    return choose_output(table, shape, memory / each)


def network_shape(box: Box, factors: tuple[float, ...] | None) -> tuple[int, ...]:
    """Return the shape of a box in pixels of the network, resampled by the factors."""
    shape = shape_of(box)
    if factors is None:
        return shape
    return tuple(ceil(n * f) for n, f in zip(shape, factors, strict=True))
