"""Cells as points: position, class and confidence of each.

What the U-Net plugin of Fiji calls detection (Falk et al. 2019), of the cells of
`core.cells.instances` in place of connected areas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import cell_classes
from napari_unet.core.cells.label_ids import distinct, numbered
from napari_unet.core.cells.measurements import stack, stack_by_label
from napari_unet.core.cells.whole_cells import whole_cells
from napari_unet.core.images.image import Field
from napari_unet.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import ClassInfo
    from napari_unet.core.cells.measurements import Columns
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.image import Image

CONFIDENCE = "confidence"


def cell_points(
    cells: Image, image: Image, classes: Sequence[ClassInfo], probabilities: Image
) -> Generator[None, None, Columns]:
    """Make a point of each cell, in a stack one through all slices; in parts.

    Parameters
    ----------
    cells : Image
        Ids without channels; each time point has ids of its own.
    image : Image
        What they were found in, for the pixel size.
    classes : sequence of ClassInfo
        Foreground classes of the model.
    probabilities : Image
        Of all classes, background first.

    Yields
    ------
    None
        After each part. A table is returned: `label` and `t`, by which rows can be
        joined with other tables of the cells, `class`, `confidence`, and the position
        along `z`, `y` and `x`, in pixels from the centre of the first, and in
        micrometres (`z_um`, ...) as far as the pixel size is known.

    Raises
    ------
    ValueError
        There is no class of cells.

    Notes
    -----
    A cell's class is the one of the highest mean probability in it, which is the
    confidence. Its position is the mean of its pixels' centres, weighted with the
    probability of that class. Of a cell without any probability, as one that was drawn
    where nothing was predicted, all pixels count alike.
    """
    kinds = cell_classes(classes)
    if not kinds:
        raise ValueError(
            f"{printable(image.name)}: points are of cells, and all classes are of "
            f"regions: {', '.join(c.name for c in classes)}."
        )
    ndim = 3 if cells.size("z") > 1 else 2
    names = np.array([classes[kind - 1].name for kind in kinds])
    tables = []
    for field in cells.fields(ndim):
        rows = []
        for box, ids in whole_cells(field):
            likely = Field(probabilities, field.t, field.z).read(box)[list(kinds)]
            rows.append(_points(ids, likely, names, box, field))
            yield None
        tables.append(stack_by_label(rows))
    points = stack(tables)
    known = (image.known_um or ())[-ndim:]
    for letter, step in zip("zyx"[3 - len(known) :], known, strict=True):
        points[f"{letter}_um"] = points[letter] * step
    return points


def _points(
    cells: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    names: NDArray[np.str_],
    box: Box,
    field: Field,
) -> Columns:
    """Return the rows of a part; `probabilities` are of the classes with `names`."""
    ids = distinct(cells)
    labels = ids[ids > 0].astype(np.int64)
    (numbers,) = numbered([cells])
    inside = np.nonzero(cells)
    of, likely = numbers[inside] - 1, np.array([p[inside] for p in probabilities])
    best = np.array([_added(of, row, labels.size) for row in likely]).argmax(axis=0)
    weights = likely[best[of], np.arange(of.size)]
    confidence = _added(of, weights, labels.size) / np.bincount(of)
    weights = np.where(confidence[of] > 0, weights, 1)
    total = _added(of, weights, labels.size)
    points: Columns = {
        "label": labels,
        "t": np.full(labels.size, field.t),
        "class": names[best],
        CONFIDENCE: confidence,
        "z": np.full(labels.size, float(field.z or 0)),
    }
    for letter, part, index in zip("zyx"[-len(box) :], box, inside, strict=True):
        points[letter] = part.start + _added(of, weights * index, labels.size) / total
    return points


def _added(
    of: NDArray[np.integer], values: NDArray[np.floating], count: int
) -> NDArray[np.float64]:
    """Return the sum of the values of each of `count` cells."""
    return np.asarray(np.bincount(of, values, count), np.float64)
