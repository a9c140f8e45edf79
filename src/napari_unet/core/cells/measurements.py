"""Measurements of cells: size, shape and grey values, in calibrated units where known.

The unit is part of a column's name, so that a table needs no explanation.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.cells.hulls import hull_sizes
from napari_unet.core.cells.label_ids import distinct, numbered
from napari_unet.core.cells.labelmap import at_edge
from napari_unet.core.geometry.boxes import full_box

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box

Columns = dict[str, "NDArray[Any]"]
"""Columns of a table by their names, in order, all of one length."""

CLASS_PROBABILITY = "class_probability"
"""How sure the class of a cell is: the column, also in files of objects."""


def measure(
    cells: NDArray[np.integer],
    field: NDArray[Any] | None = None,
    spacing_um: Sequence[float] | None = None,
    *,
    classes: Mapping[int, str] | None = None,
    class_probabilities: Mapping[int, float] | None = None,
    t: int = 0,
    z: int = 0,
    box: Box | None = None,
    shape: Sequence[int] | None = None,
) -> Columns:
    """Measure each cell of one plane or volume, in the order of the ids.

    `cells` are ids ([z,] y, x), `field` the grey values (channels, [z,] y, x),
    `spacing_um` the pixel size along [z,] y, x in micrometres, `classes` the names of
    the cells' classes, `class_probabilities` how sure they are, `t` and `z` the time
    point and the slice of a plane. What is not given has no column. A ValueError says
    that the shapes or the pixel size do not fit. Where `cells` are only a part of a
    plane or volume, `box` is their position in it, and `shape` its shape.

    Rows of a time point can be joined with other tables of its cells by `label`. `t`,
    `z` and the centroid of a cell are in pixels from 0, as napari shows them; the
    bounding box begins with the pixel `bbox_y_px`, `bbox_x_px` and has the height and
    width given. Lengths and areas end in `_um`, `_um2`, `_um3`, or in `_px` where the
    pixel size is unknown. Planes have area, perimeter, axes, eccentricity and solidity;
    volumes have a volume and the number of slices. Standard deviations are of the
    cell's pixels (divided by their number). Axes are those of the ellipse with the
    second moments of the pixels' centres. The perimeter follows the outline through
    pixel centres; where pixels are not square it is missing.
    """
    _check(cells, field, spacing_um)
    # regions and tables by id are as long as the highest one
    ids = distinct(cells)
    ids = ids[ids > 0]
    (cells,) = numbered([cells])
    shapes = _shapes(cells, spacing_um)
    # of one type for all ids, so that tables can be put together
    labels = ids[shapes["label"] - 1].astype(np.int64)
    columns: Columns = {"label": labels}
    if classes is not None:
        columns["class"] = np.array([classes.get(i, "") for i in labels.tolist()], str)
    if class_probabilities is not None:
        sure = [class_probabilities.get(i, np.nan) for i in labels.tolist()]
        columns[CLASS_PROBABILITY] = np.array(sure, float)
    columns["t"] = np.full(labels.size, t)
    start = [part.start for part in box or full_box(cells.shape)]
    columns |= _sizes(shapes, start, spacing_um, z)
    if cells.ndim == 2:
        columns |= _outlines(shapes, spacing_um)
    if field is not None:
        columns |= _grey_values(cells, field)
    columns["touches_border"] = at_edge(cells, box, shape)[shapes["label"]]
    return columns


def stack(tables: Sequence[Columns]) -> Columns:
    """Concatenate tables of the same columns."""
    if not tables:
        return {}
    return {name: np.concatenate([rows[name] for rows in tables]) for name in tables[0]}


def stack_by_label(tables: Sequence[Columns]) -> Columns:
    """Concatenate tables of the same columns; rows come in the order of their ids."""
    table = stack(tables)
    order = np.argsort(table["label"], kind="stable")
    return {name: column[order] for name, column in table.items()}


def _check(
    cells: NDArray[np.integer],
    field: NDArray[Any] | None,
    spacing_um: Sequence[float] | None,
) -> None:
    if cells.ndim not in (2, 3) or not np.issubdtype(cells.dtype, np.integer):
        raise ValueError(
            "cells are whole numbers of shape ([z,] y, x), "
            f"found {cells.dtype} of shape {cells.shape}."
        )
    if field is not None and field.shape[1:] != cells.shape:
        raise ValueError(
            f"the image's shape {field.shape} without channels is not that of the "
            f"cells, {cells.shape}."
        )
    if spacing_um is not None and (
        len(spacing_um) != cells.ndim or not all(s > 0 for s in spacing_um)
    ):
        raise ValueError(
            f"the pixel size needs {cells.ndim} positive values, found {spacing_um}."
        )


def _shapes(
    cells: NDArray[np.integer], spacing_um: Sequence[float] | None
) -> dict[str, NDArray[Any]]:
    """Measure shapes, lengths in micrometres or pixels."""
    from skimage.measure import regionprops_table  # slow to import

    spacing = tuple(spacing_um) if spacing_um is not None else (1.0,) * cells.ndim
    wanted = ["label", "num_pixels", "centroid", "bbox", "area"]
    wanted.append("equivalent_diameter_area")
    if cells.ndim == 2:
        wanted += ["axis_major_length", "axis_minor_length", "eccentricity"]
        if spacing[0] == spacing[1]:
            wanted.append("perimeter")
    table: dict[str, NDArray[Any]]
    table = regionprops_table(cells, properties=wanted, spacing=spacing)
    if cells.ndim == 2:
        # scikit-image's own, cell after cell, would take two fifths of the time
        table["solidity"] = table["num_pixels"] / hull_sizes(cells)
    return table


def _sizes(
    shapes: dict[str, NDArray[Any]],
    start: Sequence[int],
    spacing_um: Sequence[float] | None,
    z: int,
) -> Columns:
    ndim = len(start)
    columns: Columns = {"z": np.full(shapes["label"].size, z)}
    for axis, letter in enumerate("zyx"[3 - ndim :]):
        step = 1.0 if spacing_um is None else spacing_um[axis]
        columns[f"centroid_{letter}_px"] = (
            start[axis] + shapes[f"centroid-{axis}"] / step
        )
    box = {part: shapes[f"bbox-{part}"].astype(int) for part in range(2 * ndim)}
    for axis, letter in enumerate("zyx"[3 - ndim :]):
        columns[f"bbox_{letter}_px"] = start[axis] + box[axis]
    columns["bbox_height_px"] = box[2 * ndim - 2] - box[ndim - 2]
    columns["bbox_width_px"] = box[2 * ndim - 1] - box[ndim - 1]
    if ndim == 3:
        columns["z"] = np.rint(columns["centroid_z_px"]).astype(int)
        columns["slices"] = box[3] - box[0]
    what, power = ("area", "2") if ndim == 2 else ("volume", "3")
    columns[f"{what}_px"] = shapes["num_pixels"].astype(int)
    if spacing_um is not None:
        columns[f"{what}_um{power}"] = columns[f"{what}_px"] * prod(spacing_um)
    unit = _unit(spacing_um)
    columns[f"equivalent_diameter_{unit}"] = shapes["equivalent_diameter_area"]
    return columns


def _outlines(
    shapes: dict[str, NDArray[Any]], spacing_um: Sequence[float] | None
) -> Columns:
    unit = _unit(spacing_um)
    columns: Columns = {}
    if "perimeter" in shapes:
        columns[f"perimeter_{unit}"] = shapes["perimeter"]
    return columns | {
        f"major_axis_{unit}": shapes["axis_major_length"],
        f"minor_axis_{unit}": shapes["axis_minor_length"],
        "eccentricity": shapes["eccentricity"],
        "solidity": shapes["solidity"],
    }


def _grey_values(cells: NDArray[np.integer], field: NDArray[Any]) -> Columns:
    """Statistics of the grey values of each cell, in the order of their ids."""
    ids = cells.ravel()
    inside = np.flatnonzero(ids)
    # Sorted by cell, each cell is one stretch of values.
    inside = inside[np.argsort(ids[inside], kind="stable")]
    begins = np.flatnonzero(np.diff(ids[inside], prepend=-1))
    counts = np.diff(begins, append=inside.size)
    columns: Columns = {}
    for number, channel in enumerate(field):
        values = channel.ravel()[inside].astype(np.float64)
        means = _of_each(np.add, values, begins) / counts
        squares = (values - np.repeat(means, counts)) ** 2
        name = f"channel{number}"
        columns[f"{name}_mean"] = means
        columns[f"{name}_min"] = _of_each(np.minimum, values, begins)
        columns[f"{name}_max"] = _of_each(np.maximum, values, begins)
        columns[f"{name}_sd"] = np.sqrt(_of_each(np.add, squares, begins) / counts)
    return columns


def _of_each(
    operation: np.ufunc, values: NDArray[np.float64], begins: NDArray[np.intp]
) -> NDArray[np.float64]:
    if begins.size == 0:  # without cells there is nothing to begin at
        return np.zeros(0)
    reduced: NDArray[np.float64] = operation.reduceat(values, begins)
    return reduced


def _unit(spacing_um: Sequence[float] | None) -> str:
    return "px" if spacing_um is None else "um"
