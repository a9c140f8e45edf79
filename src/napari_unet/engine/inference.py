"""Prediction by overlapping tiles (paper, Fig. 2), as a generator of events.

The result does not depend on the size or order of the tiles; see `core.tiles`.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from math import prod
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.events import PredictionFinished, TileDone, TileHalved
from napari_unet.core.image import Image
from napari_unet.core.memory import choose_output, halve_output, output_with_stride
from napari_unet.core.normalisation import measure
from napari_unet.core.settings import Prediction
from napari_unet.core.tiles import plan, read_window
from napari_unet.engine.device import (
    describe,
    dtype,
    free_memory,
    is_out_of_memory,
    release_memory,
)
from napari_unet.engine.network import Averaging, Network, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.architecture import Architecture
    from napari_unet.core.events import Event
    from napari_unet.core.image import ArrayLike, Field
    from napari_unet.core.model import Model
    from napari_unet.core.normalisation import GreyScale
    from napari_unet.core.tiles import Box, Tile

# Share of the free memory that feature maps may take; the rest is for everything else.
_MEMORY_SHARE = 0.5
_FIXED_TILE = 256


def predict(
    model: Model | Network,
    image: Image | ArrayLike,
    *,
    out: Any = None,
    axes: str | None = None,
    settings: Prediction | None = None,
    planes: Sequence[tuple[int, int | None]] | None = None,
    region: Box | None = None,
    focus: Sequence[float] | None = None,
) -> Iterator[Event]:
    """Predict class probabilities.

    Parameters
    ----------
    model : Model or Network
        A network that is already prepared keeps its device and precision.
    image : Image or array-like
        Numpy, dask or zarr; an array without axes is yx, zyx, czyx or tczyx.
    out : array-like of float32, optional
        Where to write, of the shape that `output_shape` gives; made if not given.
    axes : str, optional
        Order of the axes of `out`; (t, z,) c, y, x by default.
    settings : Prediction, optional
        Tile size, averaging, device, precision.
    planes : sequence of (t, z), optional
        Which planes (volumes with z None for a 3-D network) to predict, in this order.
        All by default.
    region : tuple of slice, optional
        Only these pixels of each plane or volume; the values are the same as in a
        prediction of the whole.
    focus : sequence of float, optional
        Point ([z,] y, x) in pixels from which tiles are done outwards.

    Yields
    ------
    Event
        `TileDone` for each tile, `TileHalved` if memory ran out, `PredictionFinished`.

    Raises
    ------
    ValueError
        If the channels or the output array do not fit, or the image is not finite.
    """
    started = perf_counter()
    settings = settings or Prediction()
    network = (
        model
        if isinstance(model, Network)
        else prepare(model, settings.device, settings.precision)
    )
    architecture = network.module.architecture
    image = image if isinstance(image, Image) else _named(image, architecture)
    _check(architecture, image)
    axes, shape = output_shape(architecture, image, axes)
    if out is None:
        out = np.zeros(shape, np.float32)
    if tuple(out.shape) != shape:
        raise ValueError(
            f"the output array must have shape {shape} ({axes}), found {out.shape}."
        )
    fields = _chosen(image, architecture.ndim, planes)
    region = region or tuple(slice(0, n) for n in image.field_shape(architecture.ndim))
    output = choose_tile(network, lengths(region), settings.tile)
    scale: tuple[int, GreyScale] | None = None
    done, total = 0, prod(lengths(region)) * len(fields)
    for number, field in enumerate(fields, start=1):
        if scale is None or scale[0] != field.t:
            scale = field.t, measure(image, field.t)
        run = TileRun(
            network,
            field,
            scale[1],
            output=output,
            averaging=settings.averaging,
            region=region,
            focus=focus,
        )
        for tile, values in run:
            if run.output != output:
                output = run.output
                yield TileHalved(output)
            _write(out, axes, field, tile.target, values)
            done += prod(lengths(tile.target))
            yield TileDone(
                t=field.t,
                z=field.z,
                box=tile.target,
                progress=done / total,
                field_done=done == number * total // len(fields),
            )
    yield PredictionFinished(
        out,
        axes,
        output,
        describe(network.device),
        network.precision,
        perf_counter() - started,
    )


def output_shape(
    architecture: Architecture, image: Image, axes: str | None = None
) -> tuple[str, tuple[int, ...]]:
    """Return axes and shape of the probabilities of an image.

    Parameters
    ----------
    architecture : Architecture
    image : Image
    axes : str, optional
        In this order; (t, z,) c, y, x by default, as ImageJ has it.

    Returns
    -------
    axes : str
    shape : tuple of int

    Raises
    ------
    ValueError
        If `axes` are not those of the image and c.
    """
    own = "".join(a for a in "tzcyx" if a in image.axes or a == "c")
    axes = axes or own
    if sorted(axes) != sorted(own):
        raise ValueError(f"the output has the axes {own} in any order, found {axes}.")
    sizes = [architecture.classes if a == "c" else image.size(a) for a in axes]
    return axes, tuple(sizes)


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
    ) -> None:
        self._network = network
        self._field = field
        self._scale = scale
        self._averaging: Averaging = averaging
        self._focus = focus
        self.region = region or tuple(slice(0, n) for n in field.shape)
        self.output = output or choose_tile(network, lengths(self.region))

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

    def _plan(self, region: Box) -> list[Tile]:
        table = self._network.module.architecture
        return plan(
            self._field.shape,
            self.output,
            step=table.step,
            halo=table.halo,
            region=region,
            focus=self._focus,
        )

    def _try(self, tile: Tile) -> NDArray[np.float32] | None:
        """Predict one tile; None if memory ran out."""
        window = self._scale.apply(read_window(self._field, tile.start, tile.size))
        try:
            return self._network.probabilities(window, self._averaging)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        release_memory(self._network.device)
        return None

    def _halve(self) -> None:
        smaller = halve_output(self._network.module.architecture, self.output)
        if smaller is None:
            raise MemoryError(
                "the smallest tile does not fit into the memory of "
                f"{self._network.device}; free memory or use another device."
            )
        self.output = smaller


def choose_tile(
    network: Network, shape: tuple[int, ...], tile: int = 0
) -> tuple[int, ...]:
    """Choose the output size of the tiles.

    Parameters
    ----------
    network : Network
    shape : tuple of int
        Pixels to predict along each axis.
    tile : int
        The size asked for; 0 chooses by the free memory.

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
    size = dtype(network.precision).itemsize
    return choose_output(
        table, shape, _MEMORY_SHARE * free_memory(network.device) / size
    )


def lengths(box: Box) -> tuple[int, ...]:
    """Return the size of a box in pixels."""
    return tuple(b.stop - b.start for b in box)


def _write(
    out: Any, axes: str, field: Field, box: Box, values: NDArray[np.float32]
) -> None:
    """Put probabilities, (classes, [z,] y, x), where they belong in the output."""
    spatial = "zyx"[3 - field.ndim :]
    target: dict[str, Any] = dict(zip(spatial, box, strict=True))
    target["t"] = field.t
    there = "c" + spatial
    if field.z is not None:
        target["z"] = field.z
    elif "z" not in axes:
        values, there = values[:, 0], "cyx"
    order = [there.index(a) for a in axes if a in there]
    out[tuple(target.get(a, slice(None)) for a in axes)] = values.transpose(order)


def _chosen(
    image: Image, ndim: int, planes: Sequence[tuple[int, int | None]] | None
) -> list[Field]:
    by_place = {(f.t, f.z): f for f in image.fields(ndim)}
    wanted = list(by_place) if planes is None else planes
    missing = [place for place in wanted if place not in by_place]
    if missing:
        raise ValueError(
            f"{image.name} has no plane (t, z) = {missing[0]}; it has "
            f"{image.size('t')} time points and {image.size('z')} slices."
        )
    return [by_place[place] for place in wanted]


def _named(array: ArrayLike, architecture: Architecture) -> Image:
    """Name the axes of a bare array, where the network's channels help to."""
    channels = architecture.channels
    if channels > 1 and len(array.shape) == 3 and array.shape[0] == channels:
        return Image(array, "cyx")
    return Image.from_array(array)


def _check(architecture: Architecture, image: Image) -> None:
    if image.channels != architecture.channels:
        raise ValueError(
            f"{image.name}: the model was trained on {architecture.channels} "
            f"channel(s), the image has {image.channels}."
        )


def _lengths(box: Box) -> tuple[int, ...]:
    return tuple(b.stop - b.start for b in box)
