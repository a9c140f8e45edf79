"""Prediction by overlapping tiles (paper, Fig. 2), as a generator of events.

The result does not depend on the size or order of the tiles; see `core.geometry.tiles`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.events import PredictionFinished, TileDone, TileHalved
from napari_unet.core.geometry.boxes import field_index, full_box, shape_of
from napari_unet.core.images.image import Image
from napari_unet.core.images.normalisation import frame_of, measure
from napari_unet.core.settings import Prediction
from napari_unet.engine.device import describe
from napari_unet.engine.inference.tile_run import TileRun, choose_tile, network_shape
from napari_unet.engine.network.network import Network, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.events import Event
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.image import ArrayLike, Field
    from napari_unet.core.images.normalisation import Frame, GreyScale
    from napari_unet.core.jobs import Place
    from napari_unet.core.model import Model
    from napari_unet.core.network.geometry import Geometry


@dataclass(frozen=True, slots=True)
class Tiles:
    """Sizes of tiles."""

    output: tuple[int, ...]  # output size of all tiles, in pixels
    # a smaller first tile at the focus, to show something soon; its pixels come again,
    # with the same values, with the others
    first: tuple[int, ...] | None = None


def predict(
    model: Model | Network,
    image: Image | ArrayLike,
    *,
    out: Any = None,
    axes: str | None = None,
    settings: Prediction | None = None,
    planes: Sequence[Place] | None = None,
    region: Box | None = None,
    focus: Sequence[float] | None = None,
    tiles: Tiles | None = None,
    scales: MutableMapping[Frame, GreyScale] | None = None,
) -> Iterator[Event]:
    """Predict class probabilities, or the image that a network makes.

    Parameters
    ----------
    model : Model or Network
        A network keeps its device and precision.
    image : Image or array-like
        Numpy, dask or zarr; an array without axes is yx, zyx, czyx or tczyx.
    out : array-like of float32, optional
        Where to write, of the shape that `output_shape` gives; made if not given.
    axes : str, optional
        Order of the axes of `out`; (t, z,) c, y, x by default.
    settings : Prediction, optional
        With its `rescale` an image of another pixel size than the model's is resampled
        for the network; the result is on the image's own grid in any case.
    planes : sequence of (t, z), optional
        Which planes (volumes with z None for a 3-D network) to predict, in this order.
        All by default.
    region : tuple of slice, optional
        Only these pixels of each plane or volume; the values are the same as in a
        prediction of the whole.
    focus : sequence of float, optional
        Point ([z,] y, x) in pixels from which tiles are done outwards.
    tiles : Tiles, optional
        In place of those of the settings.
    scales : mapping of (t, z) to GreyScale, optional
        Normalisation of frames by the rule of the model, where known; what is measured
        is put in.

    Yields
    ------
    Event
        `TileDone` for each tile, `TileHalved` if memory ran out, `PredictionFinished`.

    Raises
    ------
    ValueError
        If the channels, the output array or the pixel size do not fit, or the image is
        not finite.
    """
    started = perf_counter()
    settings = settings or Prediction()
    network = (
        model
        if isinstance(model, Network)
        else prepare(model, settings.device, settings.precision)
    )
    geometry = network.geometry
    image = image if isinstance(image, Image) else _named(image, geometry)
    image = image.with_channels(geometry.channels)
    _check(geometry, image)
    axes, out = _destination(geometry, image, axes, out)
    fields = _chosen(image, geometry.ndim, planes)
    region = region or full_box(image.field_shape(geometry.ndim))
    factors = network.factors(image, settings)
    if tiles is None:
        shape = network_shape(region, factors)
        tiles = Tiles(choose_tile(network, shape, settings.tile, settings.memory_gb))
    scales = {} if scales is None else scales
    output = tiles.output
    done, total = 0, prod(shape_of(region)) * len(fields)
    for number, field in enumerate(fields, start=1):
        run = TileRun(
            network,
            field,
            _scale(field, network, scales),
            output=output,
            averaging=settings.averaging,
            region=region,
            focus=focus,
            factors=factors,
        )
        first_tile = run.first_tile(tiles.first) if number == 1 and tiles.first else ()
        for tile, values in first_tile:
            _write(out, axes, field, tile.target, values)
            yield TileDone(field.t, field.z, tile.target, 0.0, field_done=False)
        for tile, values in run:
            if run.output != output:
                output = run.output
                yield TileHalved(output)
            _write(out, axes, field, tile.target, values)
            done += prod(shape_of(tile.target))
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
    geometry: Geometry, image: Image, axes: str | None = None
) -> tuple[str, tuple[int, ...]]:
    """Return axes and shape of the probabilities of an image.

    `axes` is their order; (t, z,) c, y, x by default, as ImageJ has it. If they are not
    those of the image and c, it is a ValueError.
    """
    own = "".join(a for a in "tzcyx" if a in image.axes or a == "c")
    axes = axes or own
    if sorted(axes) != sorted(own):
        raise ValueError(f"the output has the axes {own} in any order, found {axes}.")
    sizes = [geometry.classes if a == "c" else image.size(a) for a in axes]
    return axes, tuple(sizes)


def _destination(
    geometry: Geometry, image: Image, axes: str | None, out: Any
) -> tuple[str, Any]:
    """Return the axes of the output and the array for it, made if there is none."""
    axes, shape = output_shape(geometry, image, axes)
    if out is None:
        out = np.zeros(shape, np.float32)
    if tuple(out.shape) != shape:
        raise ValueError(
            f"the output array must have shape {shape} ({axes}), found {out.shape}."
        )
    return axes, out


def _scale(
    field: Field, network: Network, scales: MutableMapping[Frame, GreyScale]
) -> GreyScale:
    """Return the normalisation of a field's frame, measured once."""
    frame = frame_of(field, network.normalisation)
    if frame not in scales:
        t, z = frame
        scales[frame] = measure(field.image, t, network.normalisation, z)
    return scales[frame]


def _write(
    out: Any, axes: str, field: Field, box: Box, values: NDArray[np.float32]
) -> None:
    """Write probabilities, (classes, [z,] y, x), into their box of the output."""
    there = "c" + "zyx"[3 - field.ndim :]
    if field.ndim == 3 and "z" not in axes:
        values, there = values[:, 0], "cyx"
    order = [there.index(a) for a in axes if a in there]
    out[field_index(axes, field.t, field.z, box)] = values.transpose(order)


def _chosen(image: Image, ndim: int, planes: Sequence[Place] | None) -> list[Field]:
    by_place = {(f.t, f.z): f for f in image.fields(ndim)}
    wanted = list(by_place) if planes is None else planes
    for place in wanted:
        if place not in by_place:
            raise ValueError(
                f"{image.name} has no plane (t, z) = {place}; it has "
                f"{image.size('t')} time points and {image.size('z')} slices."
            )
    return [by_place[place] for place in wanted]


def _named(array: ArrayLike, geometry: Geometry) -> Image:
    """Return a bare array as an image; its axes may follow from the channels."""
    channels = geometry.channels
    if channels > 1 and len(array.shape) == 3 and array.shape[0] == channels:
        return Image(array, "cyx")
    return Image.from_array(array)


def _check(geometry: Geometry, image: Image) -> None:
    if image.channels != geometry.channels:
        one = "; name the one to be seen (--channel)" * (geometry.channels == 1)
        # the reason may be how it was read
        read = "; " + " ".join(image.notes) if image.notes else "."
        raise ValueError(
            f"{image.name}: the model was trained on {geometry.channels} "
            f"channel(s), the image has {image.channels}{one}{read}"
        )
