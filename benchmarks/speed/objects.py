"""Objects into the files of other programs, and back."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.speed.row import Row
from benchmarks.speed.weights import cells
from napari_unet.core.cells.measurements import measure
from napari_unet.core.cells.objects import ObjectClass, Objects
from napari_unet.core.images.image import Image
from napari_unet.io.objects.catalogue import FORMATS
from napari_unet.io.tables import write_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_PATTERN, _COUNT, _COPIES = 1024, 640, 4
_SIDE = _PATTERN * _COPIES
_OUTLINES = ("rois", "geojson", "coco")


def objects_of_ten_thousand_cells(folder: Path) -> list[Row]:
    """Time each format of outlines, and the table, and count wrong pixels."""
    labels = _labels()
    image = Image(labels, "yx")
    ids = np.unique(labels[labels > 0]).tolist()
    what = f"{len(ids):,} cells of {_SIDE}² into"
    begin = perf_counter()
    table = measure(labels, labels[np.newaxis])
    write_table(folder / "cells.csv", table)
    rows = [_row(f"{what} a table of measurements", perf_counter() - begin)]
    kinds = (ObjectClass("nuclei", "#e69f00"),)
    objects = Objects(image, kinds, dict.fromkeys(ids, 1), table=table)
    for name in _OUTLINES:
        file = folder / f"cells{FORMATS[name].suffixes[0]}"
        begin = perf_counter()
        FORMATS[name].write(file, objects)
        written = perf_counter()
        read = FORMATS[name].read(file, image).labels.read()
        found = f"read in {perf_counter() - written:.1f} s"
        rows.append(_row(f"{what} {FORMATS[name].title}", written - begin, found))
        wrong = int(np.count_nonzero(read != labels))
        what_is = f"{FORMATS[name].title}: pixels with another id when read"
        rows.append(Row(what_is, "the labels written", wrong, "≤", 0))
    return rows


def _labels() -> NDArray[np.int32]:
    """Return a pattern of discs, many times over with ids of their own."""
    pattern = cells(_PATTERN, _COUNT)
    pattern[::19, ::19] = 0  # pinholes
    copy = np.arange(_COPIES**2, dtype=np.int32).reshape(_COPIES, _COPIES)
    labels = np.kron(copy, np.full_like(pattern, _COUNT)) + np.tile(pattern, copy.shape)
    return np.where(np.tile(pattern, copy.shape) > 0, labels, np.int32(0))


def _row(what: str, seconds: float, found: str = "") -> Row:
    return Row(what, "–", seconds, "≤", 10.0, " s", found)
