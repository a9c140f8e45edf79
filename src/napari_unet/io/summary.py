"""One table of a folder of results: a row for each image, from its table of cells."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.cells.table_parts import SIZES
from napari_unet.io.images import read_image
from napari_unet.io.names import image_name
from napari_unet.io.prediction_folder import TABLE
from napari_unet.io.tables import write_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_unet.io.prediction_folder import PredictionFolder

SUMMARY = "summary.csv"


def write_summary(
    folder: PredictionFolder, files: Sequence[Path], axes: str | None = None
) -> Path | None:
    """Write the summary of images; None if no table of cells is there.

    Columns are `image`, `time_points`, `cells` (of all time points together), and mean,
    median and sum of each size that is known (`area_px`, `volume_um3`, ...), empty
    where it is not known of an image. Time points are those of the image, as read with
    `axes`; none are given if it cannot be read. A file of that name that is not a
    summary stays.

    Raises
    ------
    OSError
        The file cannot be written.
    FileExistsError
        Something else is there.
    """
    targets = {file: folder.target(file, TABLE) for file in files}
    rows = {
        image_name(file): _row(path, file, axes)
        for file, path in targets.items()
        if path.is_file()
    }
    if not rows:
        return None
    path = check_summary(folder)
    names = [n for n in _columns() if any(n in row for row in rows.values())]
    columns = {
        n: np.array([row.get(n, np.nan) for row in rows.values()], object)
        for n in names
    }
    write_table(path, {"image": list(rows), **columns})
    return path


def check_summary(folder: PredictionFolder) -> Path:
    """Return the path of a summary; FileExistsError if something else is there."""
    path = folder.folder / SUMMARY
    if path.exists() and not _is_summary(path):
        raise FileExistsError(f"{path} is no summary of this program: move it away.")
    return path


def _row(path: Path, image: Path, axes: str | None) -> dict[str, float]:
    """Summarise the cells of an image, from their table."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        cells = list(csv.DictReader(file))
    times = _time_points(image, axes)
    row: dict[str, float] = {"time_points": times, "cells": len(cells)}
    for size in SIZES:
        if cells and size in cells[0]:
            values = np.array([float(cell[size] or "nan") for cell in cells])
            row[f"{size}_mean"] = float(values.mean())
            row[f"{size}_median"] = float(np.median(values))
            row[f"{size}_sum"] = float(values.sum())
    return row


def _time_points(image: Path, axes: str | None) -> float:
    """Return the time points of an image, NaN if it cannot be read."""
    try:
        return read_image(image, axes).size("t")
    except (OSError, ValueError):
        return np.nan


def _columns() -> list[str]:
    kinds = ("mean", "median", "sum")
    return ["time_points", "cells", *(f"{s}_{k}" for s in SIZES for k in kinds)]


def _is_summary(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return file.readline().startswith("image,time_points,cells")
