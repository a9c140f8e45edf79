"""All cells of an image in a table, and as objects for other programs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import cell_classes
from napari_unet.core.cells.instances import class_probabilities
from napari_unet.core.cells.label_ids import distinct, positions
from napari_unet.core.cells.measurements import (
    CLASS_PROBABILITY,
    measure,
    stack,
    stack_by_label,
)
from napari_unet.core.cells.objects import ObjectClass, Objects
from napari_unet.core.cells.whole_cells import whole_cells
from napari_unet.core.images.image import Field, Image

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import ClassInfo
    from napari_unet.core.cells.measurements import Columns
    from napari_unet.core.images.image import ArrayLike


def cell_table(
    cells: Image,
    image: Image,
    classes: Sequence[ClassInfo],
    probabilities: Image | None = None,
    *,
    measured: bool = True,
    parents: Mapping[int, int] | None = None,
) -> Generator[None, None, Columns]:
    """Measure all cells in parts: those of a stack as volumes, others plane by plane.

    Parameters
    ----------
    cells : Image
        Ids without channels; each time point has ids of its own unless they are tracks.
    image : Image
        What they were found in, for grey values and pixel size.
    classes : sequence of ClassInfo
        Foreground classes of the model.
    probabilities : Image, optional
        Of all classes, background first. Without them the class of a cell is unknown if
        there are several classes of cells.
    measured : bool
        Whether shapes and grey values are wanted besides id, class and time point.
    parents : mapping of int to int, optional
        Parents of tracks, if the ids are tracks (see `tracking.Tracks`): then there are
        the columns `track`, the same as `label`, and `parent`, 0 for none.

    Yields
    ------
    None
        After each part; the table is returned, see `measurements.measure`.
    """
    ndim = 3 if image.size("z") > 1 else 2
    tables = []
    for field in cells.fields(ndim):
        rows = []
        for box, ids in whole_cells(field):
            likely = None
            if probabilities is not None:
                likely = Field(probabilities, field.t, field.z).read(box)
            known = _classes(classes, ids, likely)
            if measured:
                rows.append(
                    measure(
                        ids,
                        Field(image, field.t, field.z).read(box),
                        image.pixel_size(ndim),
                        **known,
                        t=field.t,
                        z=field.z or 0,
                        box=box,
                        shape=field.shape,
                    )
                )
            else:
                rows.append(_named(ids, field.t, known))
            yield None
        tables.append(stack_by_label(rows))
    table = stack(tables)
    if parents is None:
        return table
    labels = table.pop("label")
    mothers = np.array([parents.get(i, 0) for i in labels.tolist()], np.int64)
    return {"label": labels, "track": labels, "parent": mothers, **table}


def objects_of(
    cells: Image,
    table: Columns,
    classes: Sequence[ObjectClass],
    image: Image,
) -> Objects:
    """Return cells as objects, with their measurements from `cell_table`.

    Ids are unique through time, so that no cell is taken for one of another time point:
    those of a time point continue after the highest one of the time point before,
    unless they are tracks. A track whose class differs between frames gets the most
    frequent one, of several the first. They are of the file that the image is from.
    """
    shift = _shifts(table, cells.size("t"))
    if "track" in table:
        shift[:] = 0
    labels = table["label"] + shift[table["t"]]
    if shift.any():
        top = int(labels.max(initial=0))
        data = _Shifted(cells.data, shift, cells.axes, np.min_scalar_type(top))
        cells = replace(cells, data=data)
    class_of, probability_of = _kinds({**table, "label": labels}, classes)
    mothers = table.get("parent", np.zeros(labels.size, int)).tolist()
    return Objects(
        replace(cells, file=image.file),
        tuple(classes),
        class_of,
        probability_of,
        {**table, "label": labels},
        image.channel_planes,
        parent_of={k: m for k, m in zip(labels.tolist(), mothers, strict=True) if m},
    )


def _kinds(
    table: Columns, classes: Sequence[ObjectClass]
) -> tuple[dict[int, int], dict[int, float]]:
    """Return the number of the class of each cell, and its probability, where known."""
    if "class" not in table:
        return {}, {}
    numbers = {kind.name: number for number, kind in enumerate(classes, start=1)}
    sure = table.get(CLASS_PROBABILITY, np.full(table["label"].size, np.nan))
    found: dict[int, dict[int, list[float]]] = {}
    for label, name, p in zip(
        table["label"].tolist(), table["class"].tolist(), sure.tolist(), strict=True
    ):
        by_class = found.setdefault(label, {})
        by_class.setdefault(numbers.get(name, 0), []).append(p)
    class_of, probability_of = {}, {}
    for label, by_class in found.items():
        number, each = max(by_class.items(), key=lambda one: (len(one[1]), -one[0]))
        if number:
            class_of[label] = number
        if np.isfinite(mean := sum(each) / len(each)):
            probability_of[label] = mean
    return class_of, probability_of


def with_object_ids(table: Columns, objects: Objects) -> Columns:
    """Return a table of `cell_table` with the ids that objects made of it have.

    They are in the column `object`, which exists only where they differ from `label`.
    """
    labels, ids = table["label"], objects.table["label"]
    if np.array_equal(labels, ids):
        return table
    return {"label": labels, "object": ids, **table}


class _Shifted:
    """Ids that continue through the time points, computed where they are read."""

    def __init__(
        self,
        data: ArrayLike,
        shift: NDArray[np.int64],
        axes: str,
        dtype: np.dtype[Any],
    ) -> None:
        self.shape, self.dtype = tuple(data.shape), dtype
        self._data = data
        along = [-1 if axis == "t" else 1 for axis in axes]
        self._shift = np.broadcast_to(shift.reshape(along), self.shape)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        ids = np.asarray(self._data[key])
        return np.where(ids > 0, ids + self._shift[key], 0).astype(self.dtype)


def _shifts(table: Columns, frames: int) -> NDArray[np.int64]:
    """Return what is added to the ids of each time point."""
    highest = np.zeros(frames + 1, np.int64)
    np.maximum.at(highest, table["t"] + 1, table["label"])
    return np.cumsum(highest)[:-1]


def _named(ids: NDArray[np.integer], t: int, known: dict[str, Any]) -> Columns:
    """Return the columns of a table without measurements."""
    labels = distinct(ids)
    labels = labels[labels > 0].astype(np.int64)
    columns: Columns = {"label": labels, "t": np.full(labels.size, t)}
    for name, of in (
        ("class", known.get("classes")),
        (CLASS_PROBABILITY, known.get("class_probabilities")),
    ):
        if of is not None:
            columns[name] = np.array([of[label] for label in labels.tolist()])
    return columns


def _classes(
    classes: Sequence[ClassInfo],
    cells: NDArray[np.integer],
    probabilities: NDArray[Any] | None,
) -> dict[str, Any]:
    """Return the arguments of `measure` for the classes of cells, where known."""
    kinds = cell_classes(classes)
    ids = distinct(cells)
    if not kinds or (probabilities is None and len(kinds) > 1):
        return {}
    if probabilities is None:
        name = classes[kinds[0] - 1].name
        return {"classes": dict.fromkeys(ids.tolist(), name)}
    means = class_probabilities(positions(ids, cells), probabilities, kinds)
    names = [classes[kinds[k] - 1].name for k in means.argmax(axis=0)]
    return {
        "classes": dict(zip(ids.tolist(), names, strict=True)),
        "class_probabilities": dict(
            zip(ids.tolist(), means.max(axis=0).tolist(), strict=True)
        ),
    }
