"""Parts of tables of cells, several put together, and how sizes are spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_unet.core.cells.measurements import Columns

SIZES = ("volume_um3", "volume_px", "area_um2", "area_px")
"""Columns that say how large a cell is, the one that says most first."""

_CENTROIDS = ("centroid_z_px", "centroid_y_px", "centroid_x_px")
# Pixels by which another threshold moves the centroid of a cell, at the most.
_MOVED = 4.0


def rows_in_slice(table: Columns, t: int, z: int) -> NDArray[np.intp]:
    """Return the numbers of the rows whose cells are seen in a slice."""
    seen = table["t"] == t
    if "slices" in table:
        first = table["bbox_z_px"]
        seen = seen & (first <= z) & (z < first + table["slices"])
    return np.flatnonzero(seen)


def together(tables: Mapping[str, Columns]) -> Columns:
    """Put tables of images under each other, with the names in a column in front.

    Only columns that all have: grey values of a second channel, or a pixel size, may be
    known of some alone.
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
    """Return where a row of a table of before is now; None if its cell is gone.

    Ids may be others. Its centroid has moved by some pixels at the most.
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
    """Return the column that says how large cells are; empty if there is none."""
    return next((name for name in SIZES if name in table), "")


def histogram(
    values: NDArray[np.number], most: int = 24
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Count values in classes of one width: the counts, and the edges, one more.

    As many classes as the root of the number of values, at most `most`: with few cells
    a finer one would show chance.
    """
    classes = int(np.clip(np.ceil(np.sqrt(len(values))), 1, most))
    counts, edges = np.histogram(values, classes)
    return counts, edges
