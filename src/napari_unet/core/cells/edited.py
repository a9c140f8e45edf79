"""Cells as people edited them, put over the cells that were found.

Edits are a record beside the image in the convention of an annotation: 0 where nothing
was edited, 1 where people said that there is no cell, and from 2 on the ids of cells
that people accepted, drew or changed. They do not depend on how cells were found, so
they hold for other settings, and another model, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import BACKGROUND, FIRST_OBJECT, UNKNOWN
from napari_unet.core.cells.label_ids import distinct, positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A found cell is dropped if more than this share of it was edited.
_EDITED_SHARE = 0.5


def with_edits(
    cells: NDArray[np.int32], edits: NDArray[np.integer]
) -> NDArray[np.int32]:
    """Return found cells, replaced by edited ones where there are.

    Parameters
    ----------
    cells : ndarray of int32, shape ([z,] y, x)
        Ids from 1, 0 where there is none.
    edits : ndarray of int, shape of `cells`
        0 as found, 1 no cell here, 2 and up ids of edited cells.

    Returns
    -------
    ndarray of int32, shape of `cells`
        Ids 1, 2, … without gaps: first the cells that were found, in their order, then
        the edited ones. A found cell more than half of which was edited is dropped;
        others lose the edited pixels.
    """
    edited = edits != UNKNOWN
    if not edited.any():
        return cells
    ids = distinct(cells)
    at = positions(ids, cells)
    area = np.bincount(at.reshape(-1), minlength=ids.size)
    lost = np.bincount(at[edited], minlength=ids.size)
    stays = (ids > 0) & (lost <= _EDITED_SHARE * area) & (lost < area)
    numbers = np.where(stays, np.cumsum(stays), 0).astype(np.int32)
    result = numbers[at]
    result[edited] = 0
    held = edits >= FIRST_OBJECT
    if held.any():
        own = distinct(edits[held])
        last = int(numbers.max(initial=0))
        result[held] = last + 1 + positions(own, edits[held])
    return result


def with_annotation(
    cells: NDArray[np.int32], labels: NDArray[np.integer]
) -> NDArray[np.int32]:
    """Return found cells as somebody corrected them by painting over them.

    Parameters
    ----------
    cells : ndarray of int32, shape ([z,] y, x)
        Ids from 1, 0 where there is none.
    labels : ndarray of int, shape of `cells`
        0 unknown, 1 background, 2 and up ids of objects, which may be scribbles.

    Returns
    -------
    ndarray of int32, shape of `cells`
        Ids 1, 2, … without gaps. An object in one found cell, in which no other object
        is, belongs to that cell, as a scribble does; any other is a cell as painted.
    """
    objects = labels >= FIRST_OBJECT
    if not objects.any():
        return with_edits(cells, labels)
    own, held = distinct(labels[objects]), distinct(cells)
    at = positions(held, cells)
    area = np.bincount(at.reshape(-1), minlength=held.size)
    lost = np.bincount(at[labels == BACKGROUND], minlength=held.size)
    stays = (held > 0) & (lost <= _EDITED_SHARE * area)
    number = positions(own, labels[objects])
    common = np.zeros((own.size, held.size), np.int64)
    np.add.at(common, (number, at[objects]), 1)
    home, size = (common * stays).argmax(axis=1), common.sum(axis=1)
    inside = (common * stays).max(axis=1) > _EDITED_SHARE * size
    others = np.bincount(home[inside], minlength=held.size)
    joins = inside & (others[home] == 1)
    result, left = cells.copy(), np.array(labels)
    result[objects] = np.where(joins[number], held[home][number], cells[objects])
    left[objects] = np.where(joins, UNKNOWN, own)[number]
    return with_edits(result, left)
