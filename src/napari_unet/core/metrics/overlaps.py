"""How many pixels each true and each predicted object share.

Kept sparse: the memory grows with the number of pairs that touch, not with the number
of all pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from napari_unet.core.cells.label_ids import distinct, positions

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """The objects of two label images and the pairs that share a pixel."""

    truth_ids: NDArray[Any]  # labels found, ascending, without the background 0
    prediction_ids: NDArray[Any]
    truth_sizes: NDArray[np.int64]  # in pixels
    prediction_sizes: NDArray[np.int64]
    truth: NDArray[np.int64]  # which objects a pair joins, as indices into the ids
    prediction: NDArray[np.int64]
    pixels: NDArray[np.int64]  # shared by each pair

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each pair, in (0, 1]."""
        sizes = self.truth_sizes[self.truth] + self.prediction_sizes[self.prediction]
        return np.asarray(self.pixels / (sizes - self.pixels), np.float64)


def object_overlaps(prediction: NDArray[Any], truth: NDArray[Any]) -> Overlaps:
    """Find which objects of two label images overlap, and by how much.

    Labels need not be consecutive; 0 is background.
    """
    truth_ids, rows = _consecutive(truth)
    prediction_ids, columns = _consecutive(prediction)
    table = contingency(columns, rows)
    pairs = table[1:, 1:].tocoo()
    return Overlaps(
        truth_ids=truth_ids[1:],
        prediction_ids=prediction_ids[1:],
        # sizes count the pixels on the other image's background too
        truth_sizes=table.sum(axis=1)[1:],
        prediction_sizes=table.sum(axis=0)[1:],
        truth=pairs.row.astype(np.int64),
        prediction=pairs.col.astype(np.int64),
        pixels=pairs.data,
    )


def contingency(
    prediction: NDArray[Any], truth: NDArray[Any]
) -> sparse.csr_array[np.int64, tuple[int, int]]:
    """Count the pixels of each pair of labels, from 0, consecutive or nearly so.

    The table has a row for each label of the truth, a column for each predicted one.
    """
    # duplicates are summed when the table becomes csr, in time linear in pixels
    ones = np.ones(truth.size, np.int64)
    shape = int(truth.max()) + 1, int(prediction.max()) + 1
    return sparse.coo_array((ones, (truth.ravel(), prediction.ravel())), shape).tocsr()


def _consecutive(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the labels found, 0 always first, and each pixel's index into them."""
    ids = distinct(labels)
    if ids[0] != 0:
        ids = np.insert(ids, 0, 0)
    return ids, positions(ids, labels).reshape(-1)
