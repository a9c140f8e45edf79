"""Cells as people edited them, put over the cells that were found.

Edits are a record beside the image in the convention of an annotation: 0 where nothing
was edited, 1 where people said that there is no cell, and from 2 on the ids of cells
that people accepted, drew or changed. They do not depend on how cells were found, so
they hold for other settings, and another model, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import FIRST_OBJECT, UNKNOWN
from napari_unet.core.cells.label_ids import distinct, positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A found cell goes if more than this share of it was edited: people dealt with it.
_EDITED_SHARE = 0.5


def with_edits(
    cells: NDArray[np.int32], edits: NDArray[np.integer]
) -> NDArray[np.int32]:
    """Return found cells with the edited ones in their place.

    Parameters
    ----------
    cells : ndarray of int32, shape ([z,] y, x)
        Ids from 1, 0 where there is none.
    edits : ndarray of int, shape of `cells`
        0 as found, 1 no cell here, 2 and up ids of cells to be held.

    Returns
    -------
    ndarray of int32, shape of `cells`
        Ids 1, 2, … without gaps: first the cells that were found, in their order, then
        those of people. A found cell more than half of which was edited is gone; others
        lose the pixels that were.
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
