"""Prediction on another computer, as the worker here sees it; without torch."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from napari_unet.core.cells.instances import most_probable, uncertainty
from napari_unet.core.events import (
    FileBegun,
    FilePredicted,
    Notice,
    PredictionFinished,
    TileDone,
)
from napari_unet.core.geometry.boxes import field_index, full_box
from napari_unet.core.images.image import Field, Image
from napari_unet.core.images.normalisation import frame_of, measure
from napari_unet.core.text import capitalised
from napari_unet.engine.remote_job import RemoteJob, remote_events
from napari_unet.engine.remote_prediction import RemotePredictor, sent_name
from napari_unet.engine.worker.folder_progress import overall
from napari_unet.engine.worker.remote_training_job import order_of, with_notices
from napari_unet.io.asked_prediction import AskedFile, AskedPrediction
from napari_unet.io.atomic import remove
from napari_unet.io.bundle import write_images
from napari_unet.io.folder_lock import temporary_folder
from napari_unet.io.images import find, left_out, read_image
from napari_unet.io.model_file import load_model, sha256_of
from napari_unet.io.objects.catalogue import check_installed
from napari_unet.io.prediction_basis import PredictionBasis
from napari_unet.io.prediction_folder import IMAGE, PredictionFolder
from napari_unet.io.remote_results import place_results

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import RemotePredictFolderJob, RemotePredictJob
    from napari_unet.core.model import Model
    from napari_unet.core.remote_messages import Order
    from napari_unet.core.settings import Prediction
    from napari_unet.engine.worker.inbox import Task


def folder(
    job: RemotePredictFolderJob, task: Task
) -> Generator[Event | None, None, None]:
    """Predict each image of a folder; events as of `folder_job.run`, and `Notice`.

    If the worker ends without that the job was cancelled, the prediction goes on there,
    and the same job looks at it again.
    """
    check_installed(job.kinds)
    files = find([f"{job.source}#*"])
    if note := left_out([job.source]):
        yield Notice(capitalised(note), lasting=True)
    model, remote = load_model(job.model), job.remote
    basis = PredictionBasis(
        Path(job.model),
        sha256_of(Path(job.model)),
        _there(job.settings),
        job.segmentation or model.card.segmentation,
        job.channel,
        finds_cells=model.card.outputs is None,
    )
    kinds = job.kinds or model.card.training.objective.kinds
    target = PredictionFolder(Path(job.target), kinds, ways_out="use another folder")
    predictor = RemotePredictor(model, basis, target, remote.where, remote.queue)
    said: list[str] = []
    events = predictor.predict_files(files, lambda: order_of(task), said.append)
    with closing(events):
        yield from with_notices(overall(events), said)


def run(job: RemotePredictJob, task: Task) -> Generator[Event | None, None, None]:
    """Predict planes or volumes; each comes as one tile when it is done there.

    The events are `TileDone` for each, `PredictionFinished` and `Notice`. A prediction
    that nobody waits for any more is cancelled.
    """
    model = load_model(job.model)
    image = job.image.open().with_channels(model.card.architecture.channels)
    fields = _fields(image, job, model)
    asked = AskedPrediction(
        model=Path(job.model).name,
        sha256=sha256_of(Path(job.model)),
        settings=_there(job.settings),
        segmentation=model.card.segmentation,
        kinds=("probabilities",) if model.card.outputs is None else (IMAGE,),
        files=tuple(AskedFile(name=f"field-{k}") for k in range(len(fields))),
    )
    gone: list[bool] = []

    def order() -> Order:
        return "cancel" if gone else order_of(task)

    with temporary_folder() as place:
        bundle = place / "bundle.zip"
        alone = (_alone(field, model) for field in fields)
        yield from write_images(bundle, alone, model, asked)
        said: list[str] = []
        going = RemoteJob(job.remote.replace(job=uuid4().hex), place)
        with closing(remote_events(going, bundle, order, said.append)) as events:
            try:
                taken = _taken(events, job, fields, going, asked)
                yield from with_notices(taken, said)
            except GeneratorExit:
                gone.append(True)
                raise


def _taken(
    events: Iterator[Event | None],
    job: RemotePredictJob,
    fields: list[Field],
    going: RemoteJob,
    asked: AskedPrediction,
) -> Iterator[Event | None]:
    """Write what comes into the arrays of a job."""
    names = {row.name: k for k, row in enumerate(asked.files)}
    out = job.probabilities.open(writable=True)
    axes = "c" + job.image.open().axes.replace("c", "")
    finished, done = None, 0
    seconds = 0.0
    with TemporaryDirectory(dir=going.output) as place:
        target = PredictionFolder(Path(place), asked.kinds)
        for event in events:
            if isinstance(event, PredictionFinished):
                seconds += event.seconds
                finished = replace(event, seconds=seconds)
            elif isinstance(event, FilePredicted):
                name = sent_name(event.path)
                if event.problem is not None or name not in names:
                    raise ValueError(event.problem or f"{name} was not asked for.")
                number, file = names[name], Path(f"{name}.ome.tif")
                packed = going.results_of(number)
                place_results(packed, target, file, asked.kinds)
                remove(packed)
                (result,) = target.results(file)
                done += 1
                field = fields[number]
                yield _write(
                    job, out, axes, field, read_image(result), done / len(fields)
                )
                remove(result)
            elif not isinstance(event, FileBegun | TileDone):
                yield event if isinstance(event, Notice) else None
    if done < len(fields):
        raise ValueError("not all of the results came back.")
    if finished is not None:
        yield finished


def _write(
    job: RemotePredictJob,
    out: Any,
    axes: str,
    field: Field,
    result: Image,
    share: float,
) -> TileDone:
    """Write the result of a field, and what is derived from it."""
    values = Field(result, 0, field.z if field.z is None else 0).read()
    if field.z is None and "z" not in axes:
        values = values[:, 0]
    box = full_box(field.shape)
    there = "c" + ("zyx" if field.z is None and "z" in axes else "yx")
    at = field_index(axes, field.t, field.z, box)
    out[at] = values.transpose([there.index(a) for a in axes if a in there])
    for reference, derive in ((job.classes, most_probable), (job.entropy, uncertainty)):
        if reference is not None:
            reference.open(writable=True)[at[1:]] = derive(np.asarray(out[at]))
    return TileDone(field.t, field.z, box, share, field_done=True)


def _fields(image: Image, job: RemotePredictJob, model: Model) -> list[Field]:
    if job.places is None:
        return list(image.fields(model.card.architecture.ndim))
    return [Field(image, t, z) for t, z in job.places]


def _alone(field: Field, model: Model) -> Image:
    """Return a plane or volume as an image, with the grey values of its frame."""
    image = field.image
    t, z = frame_of(field, model.card.normalisation)
    scale = measure(image, t, model.card.normalisation, z, spread=True)
    ndim = field.ndim
    known = image.known_um
    return Image(
        _Read(field),
        "czyx" if ndim == 3 else "cyx",
        known if known is None else known[-ndim:],
        image.name,
        scales={(0, None if z is None else 0): scale},
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """The pixels of a field as an array, which is read when it is asked for."""

    field: Field

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.field.image.channels, *self.field.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.field.image.data.dtype)

    def __getitem__(self, key: Any) -> Any:
        return self.field.read()[key]


def _there(settings: Prediction) -> Prediction:
    """Leave out what people set for the device and the memory of this computer."""
    return settings.replace(device="auto", memory_gb=0.0)
