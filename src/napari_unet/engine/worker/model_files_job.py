"""Conversion of models from and for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.core.events import ModelFormatsFound, ModelWritten, WrittenFormat
from napari_unet.engine.model_formats.catalogue import MODEL_FORMATS, read_model
from napari_unet.io.atomic import make_folder
from napari_unet.io.model_file import save_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import ConvertModelJob, ExportModelJob, ModelFormatsJob
    from napari_unet.engine.model_formats.catalogue import ModelFormat
    from napari_unet.engine.worker.model_cache import Context


def convert(job: ConvertModelJob, _: Context) -> Iterator[Event | None]:
    """Write a model of another program as ours; `ModelWritten` at the end.

    Errors are those of `read_model` and `save_model`.
    """
    yield None
    model = read_model(job.source)
    make_folder(Path(job.target).parent)
    save_model(model, job.target)
    yield ModelWritten(job.target, model.card.notes)


def export(job: ExportModelJob, _: Context) -> Iterator[Event | None]:
    """Write a model for another program; `ModelWritten` at the end.

    Errors are those of `read_model`, `ModelFormat.check_target` and its `write`.
    """
    yield None
    wanted = MODEL_FORMATS[job.format]
    wanted.check_target(Path(job.target), Path(job.model))
    notes = wanted.write(read_model(job.model), Path(job.target), job.publication)
    yield ModelWritten(job.target, notes)


def formats(_: ModelFormatsJob) -> Iterator[Event | None]:
    """List the formats that can be written, without loading them."""
    yield ModelFormatsFound(
        tuple(
            WrittenFormat(
                name,
                one.title,
                one.tip,
                one.written,
                one.is_published,
                _problem(one),
            )
            for name, one in MODEL_FORMATS.items()
            if one.is_written
        )
    )


def _problem(one: ModelFormat) -> str:
    try:
        one.check_installed()
    except ModuleNotFoundError as error:
        return str(error)
    return ""
