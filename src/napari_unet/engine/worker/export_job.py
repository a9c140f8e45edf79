"""Results into files: masks, probabilities, and a table of measurements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_unet.core.annotation.annotations import cell_classes
from napari_unet.core.cells.instances import class_probabilities
from napari_unet.core.cells.label_ids import distinct, positions
from napari_unet.core.cells.measurements import measure, stack
from napari_unet.core.events import FileWritten
from napari_unet.core.images.image import Field, Image
from napari_unet.io.atomic import check_writable, make_folder, remove_strays
from napari_unet.io.export import label_blocks, probability_blocks
from napari_unet.io.tables import write_table

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray

    from napari_unet.core.cells.measurements import Columns
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
            table = yield from _measure(job, image, Image(array, axes))
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


def _measure(
    job: ExportJob, image: Image, cells: Image
) -> Generator[None, None, Columns]:
    """Measure all cells: of a stack as volumes, else plane by plane."""
    probabilities = None
    if job.probabilities is not None:
        probabilities = Image(job.probabilities.open(), "c" + cells.axes)
    ndim = 3 if image.size("z") > 1 else 2
    spacing = image.pixel_size(ndim)
    tables = []
    for field in cells.fields(ndim):
        ids = field.read()[0]
        likely = None
        if probabilities is not None:
            likely = Field(probabilities, field.t, field.z).read()
        tables.append(
            measure(
                ids,
                Field(image, field.t, field.z).read(),
                spacing,
                **_classes(job, ids, likely),
                t=field.t,
                z=field.z or 0,
            )
        )
        yield None
    return stack(tables)


def _classes(
    job: ExportJob, cells: NDArray[Any], probabilities: NDArray[Any] | None
) -> dict[str, Any]:
    """Tell `measure` the class of each cell and its mean probability, where known."""
    kinds = cell_classes(job.classes)
    ids = distinct(cells)
    if not kinds or (probabilities is None and len(kinds) > 1):
        return {}
    if probabilities is None:
        name = job.classes[kinds[0] - 1].name
        return {"classes": dict.fromkeys(ids.tolist(), name)}
    means = class_probabilities(positions(ids, cells), probabilities, kinds)
    names = [job.classes[kinds[k] - 1].name for k in means.argmax(axis=0)]
    return {
        "classes": dict(zip(ids.tolist(), names, strict=True)),
        "class_probabilities": dict(
            zip(ids.tolist(), means.max(axis=0).tolist(), strict=True)
        ),
    }
