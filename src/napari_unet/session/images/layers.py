"""Properties of layers: role, axes, pixel size, and the part in view.

Layers that this plugin makes are found by a note in their metadata, never by name.
Everything here reads layers and viewers through their public attributes only.

Throughout, `axes` has a letter for each axis of a layer's data, c last for colours;
`level` is that of a multiscale layer, 0 the finest or the only one; places and boxes
are in the pixels of that level.
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from napari_unet.core.images.image import AXES
from napari_unet.io.units import micrometres

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from weakref import ReferenceType

    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_unet.core.images.image import Image
    from napari_unet.core.jobs import Place

METADATA_KEY = "napari-unet"

FROM_BELOW = (
    "probability",
    "classes",
    "entropy",
    "annotation",
    "cells",
    "tracks",
    "points",
    "weights",
    "finished",
    "suggested",
)
"""Roles of the layers that lie on an image, and go with it.

Outlines of cells lie on what people paint, which is filled.
"""

_BY_NDIM = {2: "yx", 3: "zyx", 4: "tzyx", 5: "tczyx"}
_WORDS = {"time": "t", "channel": "c"}
# napari numbers axes without a name: "-1", or "axis -1" in older versions.
_UNNAMED = re.compile(r"(axis )?-?\d+|")


class _Note(dict[str, Any]):
    """A note of one layer; napari hands the same one to copies of that layer.

    A copy, or a layer that ours was converted to, belongs to whoever made it: nothing
    would record what is painted in it.
    """

    # of the first layer that it was read from, which is the one that it was made for
    layer: ReferenceType[Layer] | None = None

    def is_of(self, layer: Layer) -> bool:
        """Whether it is the note of a layer."""
        if self.layer is None:
            self.layer = ref(layer)
        return self.layer() is layer

    def __deepcopy__(self, _memo: object) -> _Note:
        """Return itself, as a copy of a layer is no other layer of ours."""
        return self

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        """Leave out the layer, which another process does not have."""
        return dict, (dict(self),)


def note(role: str, source: str = "", run: str = "", **extras: Any) -> dict[str, Any]:
    """Return the metadata by which a layer is found by its role.

    `role` is such as "annotation" or "weights", `source` the id of the image in the
    project, and `run` what made it, such as a model's name.
    """
    return {METADATA_KEY: _Note(role=role, source=source, run=run, **extras)}


def from_file(path: str | None) -> dict[str, Any]:
    """Return the metadata of a layer that was made of one from a file."""
    return {METADATA_KEY: {"path": path}} if path else {}


def role_of(layer: Layer) -> str | None:
    """Return the role of a layer, None for a layer of someone else."""
    role = noted(layer).get("role")
    return role if isinstance(role, str) else None


def noted(layer: Layer) -> dict[str, Any]:
    """Return our note in a layer's metadata; empty if there is none, or of another."""
    found = layer.metadata.get(METADATA_KEY)
    if isinstance(found, _Note) and not found.is_of(layer):
        return {}
    return found if isinstance(found, dict) else {}


def find(
    viewer: ViewerModel, role: str, source: str | None = None, run: str | None = None
) -> list[Layer]:
    """Return the layers of a role, of one image or run if given, lowest first."""
    wanted = {"role": role, "source": source, "run": run}
    wanted = {key: value for key, value in wanted.items() if value is not None}
    return [
        layer
        for layer in viewer.layers
        if all(noted(layer).get(key) == value for key, value in wanted.items())
    ]


def name_for(image_name: str, what: str) -> str:
    """Name a layer by what it shows, which stays readable where long names are cut."""
    return f"{what} · {image_name}"


def put_in_order(viewer: ViewerModel, layer: Layer) -> None:
    """Move a new layer below those of its image that belong above it."""
    layers, own = viewer.layers, noted(layer)
    rank = FROM_BELOW.index(own["role"])
    above = [
        layers.index(other)
        for role in FROM_BELOW[rank + 1 :]
        for other in find(viewer, role, own["source"])
    ]
    if above and min(above) < layers.index(layer):
        layers.move(layers.index(layer), min(above))


def set_visible(layer: Layer, visible: bool = True) -> None:
    """Show or hide a layer, unless it is so already: napari would draw it anew."""
    if layer.visible != visible:
        layer.visible = visible


@contextmanager
def selection_kept(viewer: ViewerModel) -> Iterator[None]:
    """Restore the selection of layers afterwards, so that painting can go on."""
    selection = viewer.layers.selection
    selected, active = set(selection), selection.active
    yield
    if selected:
        selection.intersection_update(selected)
        selection.update(selected)
        selection.active = active


def guess_axes(layer: Layer) -> str:
    """Name each axis of a layer's data: as its labels say, or by their number.

    Axes without names are yx, zyx, tzyx or tczyx.

    ValueError if the layer has less than 2 or more than 5 axes.
    """
    if layer.ndim not in _BY_NDIM:
        raise ValueError(
            f"{layer.name}: an image has 2 to 5 axes, found {layer.ndim} axes."
        )
    if named := named_axes(layer):
        return named
    if not _is_rgb(layer):
        return _BY_NDIM[layer.ndim]
    # The layer counts only its other axes, so none of them can be the channels.
    return "tzyx"[-layer.ndim :] + "c"


def named_axes(layer: Layer) -> str:
    """Return the axes of a layer's data as its labels name them, else an empty text."""
    words = [label.strip().lower() for label in getattr(layer, "axis_labels", ())]
    named = [_WORDS.get(word, word) for word in words]
    known = len(set(named)) == len(named) == layer.ndim and set(named) <= set(AXES)
    if not known or not {"y", "x"} <= set(named):
        return ""
    axes = "".join(named)
    if not _is_rgb(layer):
        return axes
    return "" if "c" in axes else axes + "c"


def in_order(axes: str) -> bool:
    """Whether t, z, y, x come in this order, wherever c is."""
    planar = axes.replace("c", "")
    return planar == "".join(axis for axis in AXES if axis in planar)


def level_data(layer: Layer, level: int = 0) -> Any:
    """Return the pixels of a level of a layer."""
    return layer.data[level] if getattr(layer, "multiscale", False) else layer.data


def level_shape(layer: Layer, level: int = 0) -> tuple[int, ...]:
    """Return the shape of a level's data, with the axis of colours."""
    return tuple(int(n) for n in level_data(layer, level).shape)


def level_count(layer: Layer) -> int:
    """Return how many levels a layer has."""
    return len(layer.data) if layer.multiscale else 1


def spacing_um_of(layer: Layer, axes: str, level: int = 0) -> tuple[float, ...] | None:
    """Return the pixel size of a layer along z (if it has one), y and x.

    In micrometres; None unless all of them have a unit of length.
    """
    lengths = {
        letter: micrometres(length, unit)
        for letter, (length, unit) in lengths_of(layer, axes, level).items()
    }
    known = [length for length in lengths.values() if length is not None]
    return tuple(known) if known and len(known) == len(lengths) else None


def lengths_of(layer: Layer, axes: str, level: int = 0) -> dict[str, tuple[float, str]]:
    """Return the length of a pixel along z (if the layer has it), y and x, with unit.

    Empty where napari knows no units.
    """
    units = getattr(layer, "units", None)
    if units is None:
        return {}
    letters = _layer_axes(layer, axes)
    # A reader may have put the pixel size into the affine map, or a part of it.
    linear = _steps(layer) * _factors(layer, level)
    return {
        letter: (
            float(np.linalg.norm(linear[:, letters.index(letter)])),
            str(units[letters.index(letter)]),
        )
        for letter in "zyx"
        if letter in letters
    }


def scale_of(image: Image, axes: str) -> dict[str, Any]:
    """Return scale and units of a layer with some axes of an image, in micrometres.

    Nothing where no pixel size is known.
    """
    sizes = image.um_by_axis
    if not sizes:
        return {}
    return {
        "scale": tuple(sizes.get(axis, 1.0) for axis in axes),
        "units": tuple("micrometer" if a in sizes else "pixel" for a in axes),
    }


def attributes_like(
    source_layer: Layer, axes: str, keep: str, level: int = 0
) -> dict[str, Any]:
    """Return the attributes that put a new layer onto an image, or some of its axes.

    Parameters
    ----------
    source_layer, axes, level
        The new layer has pixels of this level's size.
    keep : str
        Axes of the new layer, in the order of `axes`.

    Returns
    -------
    dict
        scale, translate, rotate, shear, affine, and if the viewer knows them units and
        axis_labels, to be passed to `viewer.add_image` or `viewer.add_labels`.
        Rotations that mix kept axes with others are left out.
    """
    letters = _layer_axes(source_layer, axes)
    at = [letters.index(letter) for letter in keep]
    factors = _factors(source_layer, level)
    affine = np.asarray(source_layer.affine.affine_matrix, np.float64)
    # Levels share their outer edges, so the centre of a coarse first pixel is farther
    # in.
    steps = np.linalg.solve(affine[:-1, :-1], _steps(source_layer))
    shift = steps @ ((factors - 1) / 2)
    last = len(letters)
    attributes: dict[str, Any] = {
        "scale": (np.asarray(source_layer.scale) * factors)[at],
        "translate": (np.asarray(source_layer.translate) + shift)[at],
        "rotate": np.asarray(source_layer.rotate)[np.ix_(at, at)],
        "shear": _shear_of(source_layer.shear, at, len(letters)),
        "affine": affine[np.ix_([*at, last], [*at, last])],
    }
    units = getattr(source_layer, "units", None)
    if units is not None:
        attributes["units"] = tuple(units[i] for i in at)
        labels = tuple(str(source_layer.axis_labels[i]) for i in at)
        if labels and not any(map(_UNNAMED.fullmatch, labels)):
            attributes["axis_labels"] = labels
    return attributes


def place_in_view(
    viewer: ViewerModel, layer: Layer, axes: str, level: int = 0
) -> tuple[int, int]:
    """Return the time point and slice of a layer that the viewer's sliders show.

    The nearest (t, z) there are; 0 where the layer has no such axis.
    """
    letters = _layer_axes(layer, axes)
    factors = _factors(layer, level)
    point = np.asarray(layer.world_to_data(point_of(viewer, layer)), np.float64)
    point = (point - (factors - 1) / 2) / factors
    shape = level_data(layer, level).shape

    def nearest(letter: str) -> int:
        at = letters.find(letter)
        return 0 if at < 0 else int(np.clip(np.round(point[at]), 0, shape[at] - 1))

    return nearest("t"), nearest("z")


def places_in_view(
    viewer: ViewerModel, layer: Layer, axes: str, places: Iterable[Place]
) -> list[Place]:
    """Return which of some planes and volumes the viewer shows."""
    seen_t, seen_z = place_in_view(viewer, layer, axes)
    displayed = axes_on_canvas(viewer, layer, axes)
    return [
        (t, z)
        for t, z in places
        if ("t" in displayed or t == seen_t)
        and ("z" in displayed or z is None or z == seen_z)
    ]


def axes_on_canvas(viewer: ViewerModel, layer: Layer, axes: str) -> str:
    """Return which axes of a layer the canvas shows as a whole.

    Not those of slices in 3-D, or where napari's axes are rolled.
    """
    # a layer's axes are the last of the viewer's
    first = viewer.dims.ndim - layer.ndim
    return "".join(axes[at - first] for at in viewer.dims.displayed if at >= first)


def box_in_view(
    viewer: ViewerModel, layer: Layer, axes: str, level: int = 0
) -> tuple[slice, slice]:
    """Return the part of a plane that the canvas shows, in y and x.

    The whole plane where the canvas shows no planes, or where nothing is drawn yet.
    """
    letters = _layer_axes(layer, axes)
    shape = level_data(layer, level).shape
    at = [letters.index("y"), letters.index("x")]
    whole = (slice(0, shape[at[0]]), slice(0, shape[at[1]]))
    if viewer.dims.ndisplay != 2:
        return whole
    corners = np.asarray(layer.corner_pixels)
    drawn = _factors(layer, getattr(layer, "data_level", 0)) / _factors(layer, level)
    box = []
    for axis in at:
        first, last = corners[:, axis]
        # Both corners are inside; where they meet, the axis is not on the canvas.
        if last <= first:
            return whole
        start = max(math.floor(first * drawn[axis]), 0)
        stop = min(math.ceil((last + 1) * drawn[axis]), shape[axis])
        box.append(slice(start, stop))
    return box[0], box[1]


def point_of(viewer: ViewerModel, layer: Layer) -> NDArray[np.float64]:
    """Return the position of the sliders, in the units of the layer."""
    point = np.asarray(viewer.dims.point, np.float64)[-layer.ndim :]
    world = getattr(viewer.dims, "units", None)
    if world is None or len(world) < layer.ndim:
        return point
    pairs = zip(world[-layer.ndim :], layer.units, strict=True)
    # asked for many times a second, and pint takes its time to convert
    factors = [
        1.0 if here == there else (1 * here).to(there).magnitude
        for here, there in pairs
    ]
    converted: NDArray[np.float64] = point * np.array(factors)
    return converted


def _is_rgb(layer: Layer) -> bool:
    return bool(getattr(layer, "rgb", False))


def _layer_axes(layer: Layer, axes: str) -> str:
    """Return the axes that the layer counts: colours are none of them."""
    letters = axes.removesuffix("c") if _is_rgb(layer) else axes
    if len(letters) != layer.ndim:
        raise ValueError(
            f"{layer.name}: axes {axes!r} do not fit the layer's {layer.ndim} axes."
        )
    return letters


def _factors(layer: Layer, level: int) -> NDArray[np.float64]:
    """Size of a level's pixels along each axis, in pixels of the finest level."""
    if not getattr(layer, "multiscale", False):
        return np.ones(layer.ndim)
    finest, coarse = layer.data[0].shape, layer.data[level].shape
    factors: NDArray[np.float64] = np.divide(finest[: layer.ndim], coarse[: layer.ndim])
    return factors


def _steps(layer: Layer) -> NDArray[np.float64]:
    """Return the step of one pixel along each axis in the world, each a column."""
    origin = np.asarray(layer.data_to_world(np.zeros(layer.ndim)), np.float64)
    ends = [np.asarray(layer.data_to_world(row)) for row in np.eye(layer.ndim)]
    return np.stack(ends, axis=1) - origin[:, np.newaxis]


def _shear_of(shear: Any, at: Sequence[int], ndim: int) -> NDArray[np.float64]:
    """Return the terms of some axes of a shear: the upper triangle, row by row."""
    matrix = np.zeros((ndim, ndim))
    matrix[np.triu_indices(ndim, 1)] = np.asarray(shear, np.float64)
    picked: NDArray[np.float64] = matrix[np.ix_(at, at)]
    return picked[np.triu_indices(len(at), 1)]
