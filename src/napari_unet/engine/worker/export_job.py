"""Results into files: masks, probabilities, and a table of measurements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.core.cells.cell_table import cell_table
from napari_unet.core.events import FileWritten
from napari_unet.core.images.image import Image
from napari_unet.io.atomic import check_writable, make_folder, remove_strays
from napari_unet.io.export import label_blocks, probability_blocks
from napari_unet.io.tables import write_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.images.array_reference import ArrayReference
    from napari_unet.core.jobs import ExportJob


def run(job: ExportJob) -> Iterator[Event | None]:
    """Write the files that are asked for; those of the same names are replaced.

    `FileWritten` comes after each file, None after each block written or measured.
    Nothing to write, or arrays that do not fit the image, are a ValueError; if the
    folder cannot be written to, an OSError, nothing is.
    """
    files = _files(job)
    make_folder(Path(job.folder))
    remove_strays(Path(job.folder))
    for path, _ in files.values():
        check_writable(path)
    image = job.image.open()
    axes = image.axes.replace("c", "")
    for count, (what, (path, reference)) in enumerate(files.items(), start=1):
        yield None
        array = reference.open()
        if what == "table":
            table = yield from cell_table(
                Image(array, axes), image, job.classes, _probabilities(job, axes)
            )
            write_table(path, table)
        elif what == "probabilities":
            yield from probability_blocks(path, array, "c" + axes, image.known_um)
        else:
            yield from label_blocks(path, array, axes, image.known_um)
        yield FileWritten(str(path), count / len(files))


def _files(job: ExportJob) -> dict[str, tuple[Path, ArrayReference]]:
    """Return the files to write, and the arrays for them, by what is in them."""
    rows = {
        "cells": (job.masks, job.cells, f"cells.{job.format}"),
        "classes": (job.masks, job.class_masks, f"classes.{job.format}"),
        "probabilities": (job.maps, job.probabilities, f"probabilities.{job.format}"),
        "table": (job.table, job.cells, "cells.csv"),
    }
    files = {
        what: (Path(job.folder) / f"{job.name}_{end}", array)
        for what, (wanted, array, end) in rows.items()
        if wanted and array is not None
    }
    if not files:
        raise ValueError(
            f"{job.name}: there is nothing to export; masks and the table need cells."
        )
    return files


def _probabilities(job: ExportJob, axes: str) -> Image | None:
    """Open the probabilities, which tell the class of each cell."""
    if job.probabilities is None:
        return None
    return Image(job.probabilities.open(), "c" + axes)
