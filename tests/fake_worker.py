"""A worker without processes: the test says what happens to a job, and when."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from napari_unet.core.events import CellsFound, CellsLinked, TileDone
from napari_unet.core.jobs import SegmentJob
from napari_unet.core.messages import Failed
from napari_unet.session.worker.client import Handle

if TYPE_CHECKING:
    from napari_unet.core.jobs import Job


class FakeWorker:
    """Takes jobs as the worker does; the test says what happens to them."""

    def __init__(self) -> None:
        self.handles: list[Handle] = []
        self.cancelled: list[Handle] = []
        self.busy = False

    def submit(self, job: Job, title: str) -> Handle:
        process: Any = SimpleNamespace(send=self._send)
        handle = Handle(len(self.handles), job, title, process)
        self.handles.append(handle)
        return handle

    def _send(self, message: Any) -> None:
        self.cancelled.append(self.handles[message.job])

    def jobs(self, kind: type[Job]) -> list[Any]:
        return [h.what for h in self.handles if isinstance(h.what, kind)]

    def running(self, kind: type[Job]) -> list[Handle]:
        return [h for h in self.handles if h.running and isinstance(h.what, kind)]

    def end(self, handle: Handle, cancelled: bool = False) -> None:
        handle.running = False
        handle.ended.emit(cancelled)

    def fail(self, handle: Handle, sentence: str, error: str = "ValueError") -> None:
        handle.running = False
        handle.failed.emit(Failed(handle.number, error, sentence, "", False))

    def predict(self, handle: Handle, *, planes: int | None = None) -> None:
        """Do the work of a prediction: everything is cell."""
        job: Any = handle.what
        probabilities = job.probabilities.open(writable=True)
        classes = job.classes.open(writable=True)
        for number, (t, z) in enumerate(job.places[:planes], start=1):
            probabilities[1] = 1
            classes[:] = 1
            box = (slice(0, 8), slice(0, 10))
            handle.event.emit(
                TileDone(t, z, box, number / len(job.places), field_done=True)
            )

    def find_cells(self, handle: Handle, count: int = 5) -> None:
        job: Any = handle.what
        for number, (t, z) in enumerate(job.places, start=1):
            handle.event.emit(CellsFound(t, z, count, number / len(job.places)))
        if job.link:
            handle.event.emit(CellsLinked(count))
        self.end(handle)

    def find_all_cells(self) -> None:
        while self.running(SegmentJob):
            self.find_cells(self.running(SegmentJob)[0])
