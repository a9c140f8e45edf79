"""Rows of tables of cells, tables combined, and histograms of sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_unet.core.cells.measurements import Columns

SIZES = ("volume_um3", "volume_px", "area_um2", "area_px")
"""Columns of the size of a cell, the most informative first."""

_CENTROIDS = ("centroid_z_px", "centroid_y_px", "centroid_x_px")
# Most pixels by which another threshold moves the centroid of a cell.
_MOVED = 4.0


def rows_in_slice(table: Columns, t: int, z: int) -> NDArray[np.intp]:
    """Return the numbers of the rows whose cells a slice shows."""
    seen = table["t"] == t
    if "slices" in table:
        first = table["bbox_z_px"]
        seen = seen & (first <= z) & (z < first + table["slices"])
    return np.flatnonzero(seen)


def together(tables: Mapping[str, Columns]) -> Columns:
    """Concatenate tables of images, with a first column of their names.

    Only columns that all have: some may have a second channel, or no pixel size.
    """
    full = {name: table for name, table in tables.items() if table}
    if not full:
        return {}
    first, *others = full.values()
    shared = [c for c in first if all(c in other for other in others)]
    images = [np.full(len(t["label"]), name) for name, t in full.items()]
    return {
        "image": np.concatenate(images),
        **{c: np.concatenate([t[c] for t in full.values()]) for c in shared},
    }


def row_near(table: Columns, before: Columns, row: int) -> int | None:
    """Find a row of an earlier table in a new one; None if its cell is gone.

    Ids may have changed; the centroid has moved by a few pixels at most.
    """
    if not table or ("image" in table) != ("image" in before):
        return None
    same = np.ones(len(table["label"]), bool)
    for name in {"image", "t", "z"} & table.keys() & before.keys():
        same &= table[name] == before[name][row]
    axes = [name for name in _CENTROIDS if name in table and name in before]
    moved = [table[name] - before[name][row] for name in axes]
    far = np.where(same, np.linalg.norm(moved, axis=0), np.inf)
    return int(far.argmin()) if far.min(initial=np.inf) <= _MOVED else None


def size_column(table: Columns) -> str:
    """Return the column of the size of cells; empty if there is none."""
    return next((name for name in SIZES if name in table), "")


def histogram(
    values: NDArray[np.number], most: int = 24
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return a histogram: counts in bins of equal width, and their edges, one more.

    There are as many bins as the square root of the number of values, at most `most`:
    with few cells finer ones would show noise.
    """
    classes = int(np.clip(np.ceil(np.sqrt(len(values))), 1, most))
    counts, edges = np.histogram(values, classes)
    return counts, edges
