"""Results into files: masks, probabilities, measurements, objects."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.core.cells.cell_table import (
    cell_table,
    objects_of,
    with_object_ids,
)
from napari_unet.core.cells.objects import ObjectClass
from napari_unet.core.cells.points import cell_points
from napari_unet.core.events import FileWritten
from napari_unet.core.images.image import Image
from napari_unet.io.atomic import check_writable, make_folder, remove_strays
from napari_unet.io.export import label_blocks, probability_blocks, write_image
from napari_unet.io.objects.catalogue import FORMATS, check_installed
from napari_unet.io.tables import write_points, write_table

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari_unet.core.cells.measurements import Columns
    from napari_unet.core.events import Event
    from napari_unet.core.images.array_reference import ArrayReference
    from napari_unet.core.images.image import ArrayLike
    from napari_unet.core.jobs import ExportJob, SaveImageJob


def run(job: ExportJob) -> Iterator[Event | None]:
    """Write the requested files; those of the same names are replaced.

    `FileWritten` comes after each file, None after each block written or measured.
    Nothing to write, or arrays that do not fit the image, are a ValueError; if the
    folder cannot be written to, an OSError, nothing is. A ModuleNotFoundError says
    which package a format needs. What formats cannot hold is a ValueError after all
    else is written.
    """
    check_installed(job.objects)
    files = _files(job)
    make_folder(Path(job.folder))
    remove_strays(Path(job.folder))
    for path, _ in files.values():
        check_writable(path)
    image = job.image.open()
    axes = image.axes.replace("c", "")
    table: Columns | None = None
    problems = []
    for count, (what, (path, reference)) in enumerate(files.items(), start=1):
        yield None
        array = reference.open()
        if what == "table" or what in FORMATS:
            cells = Image(array, axes, image.known_um, image.name)
            if table is None:
                table = yield from _table(job, cells, image)
            objects = objects_of(cells, table, _classes(job), image)
            if what == "table":
                write_table(path, with_object_ids(table, objects))
            else:
                try:
                    FORMATS[what].write(path, objects)
                except ValueError as error:
                    problems.append(str(error))
                    continue
        else:
            yield from _write_array(job, what, path, array, image)
        yield FileWritten(str(path), count / len(files))
    if problems:
        raise ValueError(" ".join(problems))


def save_image(job: SaveImageJob) -> Iterator[Event]:
    """Write an image; a file of the same name is replaced.

    A ValueError says that the end of the name is of no format.
    """
    write_image(job.path, job.pixels.open(), job.axes, job.spacing_um)
    yield FileWritten(job.path, 1.0)


def _files(job: ExportJob) -> dict[str, tuple[Path, ArrayReference]]:
    """Return the files to write and their arrays, by kind of content."""
    rows = {
        "cells": (job.masks, job.cells, f"cells.{job.format}"),
        "classes": (job.masks, job.class_masks, f"classes.{job.format}"),
        "probabilities": (job.maps, job.probabilities, f"probabilities.{job.format}"),
        "table": (job.table, job.cells, "cells.csv"),
        "points": (job.points, job.cells, "points.csv"),
    }
    for name in job.objects:
        rows[name] = True, job.cells, f"cells{FORMATS[name].suffixes[0]}"
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


def _table(
    job: ExportJob, cells: Image, image: Image
) -> Generator[None, None, Columns]:
    """Find the class of each cell, and measure cells if requested."""
    probabilities = None
    if job.probabilities is not None:
        probabilities = Image(job.probabilities.open(), "c" + cells.axes)
    measured = job.table or any(FORMATS[name].table for name in job.objects)
    return (
        yield from cell_table(
            cells,
            image,
            job.classes,
            probabilities,
            measured=measured,
            parents=job.parents,
        )
    )


def _write_array(
    job: ExportJob, what: str, path: Path, array: ArrayLike, image: Image
) -> Generator[None, None, None]:
    """Write a kind of content that needs no table of cells."""
    axes = image.axes.replace("c", "")
    if what == "points":
        if job.probabilities is None:
            raise ValueError(f"{job.name}: points of cells need their probabilities.")
        cells, likely = Image(array, axes), Image(job.probabilities.open(), "c" + axes)
        points = yield from cell_points(cells, image, job.classes, likely)
        write_points(path, points, axes)
    elif what == "probabilities":
        yield from probability_blocks(path, array, "c" + axes, image.known_um)
    else:
        yield from label_blocks(path, array, axes, image.known_um)


def _classes(job: ExportJob) -> list[ObjectClass]:
    return [
        ObjectClass(one.name, colour)
        for one, colour in zip_longest(job.classes, job.colours)
        if one.kind == "cells"
    ]
