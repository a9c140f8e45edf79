"""Training on another computer, as the worker here sees it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.core.events import Notice
from napari_unet.engine.remote_job import RemoteError, RemoteJob, remote_events
from napari_unet.engine.worker.training_data import TrainingData
from napari_unet.io.bundle import write_bundle
from napari_unet.io.model_file import load_model

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import RemoteTrainJob
    from napari_unet.core.remote_messages import Order
    from napari_unet.engine.worker.inbox import Task


def run(job: RemoteTrainJob, task: Task) -> Generator[Event | None, None, None]:
    """Train there; the weights so far come into the file of the checkpoint.

    The events are those of `training_job.run`, but for `ModelComparison`, and `Notice`.
    If the worker ends without that the job was cancelled, the training goes on there.
    """
    remote = RemoteJob(job.remote, Path(job.output), Path(job.checkpoint))
    if job.resume:
        try:
            yield from _followed(remote, None, task)
        except RemoteError as error:
            if error.error != "NoJobError":
                raise
        else:
            return
    bundle = Path(job.output).with_suffix(".bundle.zip")
    try:
        start = load_model(job.start) if job.start else None
        yield from write_bundle(bundle, TrainingData(job).pairs, job.settings, start)
        yield from _followed(remote, bundle, task)
    finally:
        bundle.unlink(missing_ok=True)


def _followed(
    remote: RemoteJob, bundle: Path | None, task: Task
) -> Generator[Event | None, None, None]:
    said: list[str] = []
    events = remote_events(remote, bundle, lambda: order_of(task), said.append)
    with closing(events):
        yield from with_notices(events, said)


def with_notices(
    events: Iterable[Event | None], said: list[str]
) -> Iterator[Event | None]:
    """Pass events on, before each one what was said meanwhile."""
    for event in events:
        while said:
            yield Notice(said.pop(0))
        yield event


def order_of(task: Task) -> Order:
    """Return what a job elsewhere is to do now."""
    if task.cancelled:
        return "cancel"
    if task.finishing:
        return "finish"
    return "pause" if task.paused else "resume"
