"""Pixels written into an annotation layer by us, so that napari can undo them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import UNKNOWN
from napari_unet.session.annotating.label_range import make_room, numbered

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari.layers import Labels
    from numpy.typing import NDArray

# A predicted cell is left out if more than this share of it is annotated already.
_KNOWN_SHARE = 0.5


def plane_of(data: Any, axes: str, t: int, z: int) -> NDArray[Any]:
    """Return a plane, (y, x), of an array with axes out of t, z, y, x."""
    at = {"t": t, "z": z}
    return np.asarray(data[tuple(at.get(axis, slice(None)) for axis in axes)])


def stamp(
    layer: Labels,
    axes: str,
    place: tuple[int, int],
    values: NDArray[np.integer],
    where: NDArray[np.bool_],
) -> None:
    """Write values into a plane of a layer: one step of its undo.

    Parameters
    ----------
    layer : Labels layer
    axes : str
        Of its data.
    place : (t, z)
    values : ndarray of int, shape (y, x)
    where : ndarray of bool, shape (y, x)
    """
    rows, columns = np.nonzero(where)
    if len(rows) == 0:
        return
    index = {"y": rows, "x": columns}
    for axis, number in zip("tz", place, strict=True):
        index[axis] = np.full(len(rows), number)
    written = values[rows, columns]
    make_room(layer, int(written.max()))
    layer.data_setitem(
        tuple(index[axis] for axis in axes), written.astype(layer.data.dtype)
    )


def as_new_cells(
    annotated: NDArray[np.integer],
    cells: NDArray[np.integer],
    ids: Collection[int] | None,
    free: int,
) -> NDArray[np.int32]:
    """Return predicted cells under new ids, where nothing is annotated yet.

    Parameters
    ----------
    annotated : ndarray of int, shape (y, x)
    cells : ndarray of int, same shape
        Predicted; 0 where there is none.
    ids : collection of int or None
        Predicted ids to take; all if None.
    free : int
        The first new id.

    Returns
    -------
    ndarray of int32, same shape
        0 where nothing is to be written. A cell most of which is annotated already is
        left out: it would become a sliver beside the one that was painted.
    """
    values, places = numbered(cells)
    count = len(values)
    area = np.bincount(places.ravel(), minlength=count)
    known = np.bincount(places[annotated != UNKNOWN], minlength=count)
    taken = (values > 0) & (known <= _KNOWN_SHARE * area)
    if ids is not None:
        taken &= np.isin(values, list(ids))
    table = np.zeros(count, np.int32)
    table[taken] = free + np.arange(int(taken.sum()))
    return np.where(annotated == UNKNOWN, table[places], 0).astype(np.int32)
