"""Results into files: masks, probabilities, and a table of measurements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.core.annotation.annotations import cell_classes
from napari_unet.core.cells.instances import instance_classes
from napari_unet.core.cells.measurements import measure, stack
from napari_unet.core.events import FileWritten
from napari_unet.core.images.image import Field, Image
from napari_unet.io.atomic import check_writable, make_folder, remove_strays
from napari_unet.io.export import write_labels, write_probabilities
from napari_unet.io.tables import write_table

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari_unet.core.cells.measurements import Columns
    from napari_unet.core.events import Event
    from napari_unet.core.images.array_reference import ArrayReference
    from napari_unet.core.jobs import ExportJob


def run(job: ExportJob) -> Iterator[Event | None]:
    """Write the files that are asked for; those of the same names are replaced.

    Yields
    ------
    Event or None
        `FileWritten` after each file, None after each plane or volume measured.

    Raises
    ------
    ValueError
        If nothing is asked for, or the arrays do not fit the image.
    OSError
        If the folder cannot be written to; then nothing is.
    """
    targets = _targets(job)
    make_folder(Path(job.folder))
    remove_strays(Path(job.folder))
    for path in targets.values():
        check_writable(path)
    image = job.image.open()
    axes = image.axes.replace("c", "")
    for count, (what, path) in enumerate(targets.items(), start=1):
        yield None
        if what == "cells" and job.cells is not None:
            write_labels(path, _all(job.cells), axes, image.known_um)
        elif what == "probabilities" and job.probabilities is not None:
            values = _all(job.probabilities)
            write_probabilities(path, values, "c" + axes, image.known_um)
        elif what == "classes" and job.class_masks is not None:
            write_labels(path, _all(job.class_masks), axes, image.known_um)
        elif job.cells is not None:
            table = yield from _measure(job, image, Image(job.cells.open(), axes))
            write_table(path, table)
        yield FileWritten(str(path), count / len(targets))


def _targets(job: ExportJob) -> dict[str, Path]:
    """Return the files to write by what is in them."""
    begin = Path(job.folder) / job.name
    targets = {}
    if job.masks and job.cells is not None:
        targets["cells"] = Path(f"{begin}_cells.{job.format}")
    if job.masks and job.class_masks is not None:
        targets["classes"] = Path(f"{begin}_classes.{job.format}")
    if job.maps and job.probabilities is not None:
        targets["probabilities"] = Path(f"{begin}_probabilities.{job.format}")
    if job.table and job.cells is not None:
        targets["table"] = Path(f"{begin}_cells.csv")
    if not targets:
        raise ValueError(
            f"{job.name}: there is nothing to export; masks and the table need cells."
        )
    return targets


def _all(stored: ArrayReference) -> np.ndarray:
    return np.asarray(stored.open()[...])


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
    for place in cells.fields(ndim):
        ids = place.read()[0]
        likely = None
        if probabilities is not None:
            likely = Field(probabilities, place.t, place.z).read()
        tables.append(
            measure(
                ids,
                Field(image, place.t, place.z).read(),
                spacing,
                classes=_class_names(job, ids, likely),
                t=place.t,
                z=place.z or 0,
            )
        )
        yield None
    return stack(tables)


def _class_names(
    job: ExportJob, cells: np.ndarray, probabilities: np.ndarray | None
) -> dict[int, str] | None:
    """Name the class of each cell; None if it is not known."""
    kinds = cell_classes(job.classes)
    if len(kinds) == 1:
        name = job.classes[kinds[0] - 1].name
        return dict.fromkeys(np.unique(cells).tolist(), name)
    if probabilities is None or not kinds:
        return None
    numbers = instance_classes(cells, probabilities, kinds)
    return {
        label: job.classes[number - 1].name
        for label, number in enumerate(numbers.tolist())
        if number > 0
    }
