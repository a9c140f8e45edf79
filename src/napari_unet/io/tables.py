"""Writing tables: comma-separated values that spreadsheets, R and pandas read alike."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.io.atomic import atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


def write_table(
    path: str | Path, columns: Mapping[str, NDArray[Any] | Sequence[Any]]
) -> None:
    """Write a table as CSV (RFC 4180), in UTF-8, with a header.

    The columns have the same length. Numbers are written with a decimal point, so that
    reading returns them exactly; NaN is an empty field. A table with letters beyond
    ASCII begins with a byte-order mark, without which Excel misreads them. An existing
    file is replaced.

    Raises
    ------
    ValueError
        If there are no columns, their lengths differ, or the suffix is another.
    OSError
        The file cannot be written; nothing half-written stays.
    """
    path = Path(path)
    if path.suffix.lower() != ".csv":
        raise ValueError(f"{path}: tables are written to .csv, found {path.suffix!r}.")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(
            f"{path}: a table has columns of one length, found {lengths or 'none'}."
        )
    values = [np.asarray(column).tolist() for column in columns.values()]
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(map(_written, zip(*values, strict=True)))
    written = text.getvalue()
    with atomic(path) as temporary:
        encoding = "utf-8" if written.isascii() else "utf-8-sig"
        # file names may have bytes that are not text
        temporary.write_text(written, encoding, "backslashreplace", newline="")


def write_points(
    path: str | Path, points: Mapping[str, NDArray[Any]], axes: str
) -> None:
    """Write points as CSV that napari opens as a Points layer with their features.

    `points` has a column for each of the `axes` of their image, in pixels; they are
    repeated in front, in order, under the names that napari looks for. Errors are those
    of `write_table`.
    """
    places = {f"axis-{number}": points[axis] for number, axis in enumerate(axes)}
    count = len(points[axes[0]])
    write_table(path, {"index": np.arange(count), **places, **points})


def _written(row: tuple[Any, ...]) -> list[Any]:
    """Return the values of a row as written; only NaN differs from itself."""
    return ["" if value != value else value for value in row]
