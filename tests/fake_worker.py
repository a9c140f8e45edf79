"""The worker with processes that only keep what is sent to them.

All but the processes is real: what a test says of a job goes the way of the messages
that a process sends. `test_fake_worker` compares the fake with a real process.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_unet.core.events import CellsFound, CellsLinked, TileDone
from napari_unet.core.jobs import SegmentJob
from napari_unet.core.messages import Correct, Ended, Failed, Happened, Submit
from napari_unet.session.worker.client import Worker
from napari_unet.session.worker.worker_process import End

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_unet.core.events import Event
    from napari_unet.core.jobs import Correction, Job, WorkerKind
    from napari_unet.core.messages import Message, Status
    from napari_unet.session.future import Post
    from napari_unet.session.worker.client import Handle


class FakeProcess:
    """Stands in for `WorkerProcess`: does nothing."""

    def __init__(
        self,
        kind: WorkerKind,
        environment: Mapping[str, str],
        received: Callable[[Any, Message], None],
        ended: Callable[[Any, End], None],
    ) -> None:
        self.kind = kind
        self.dismissed = False
        self.sent: list[Message] = []
        self.received, self.ended = received, ended
        self._alive = True

    @property
    def pid(self) -> int:
        return 1

    @property
    def alive(self) -> bool:
        return self._alive

    def send(self, message: Message) -> None:
        self.sent.append(message)

    def shut_down(self) -> None:
        self.dismissed = True

    def wait(self, seconds: float) -> bool:
        return True

    def kill(self) -> None:
        self._alive = False

    def join(self, seconds: float) -> None: ...


class FakeWorker(Worker):
    """The test says what happens to a job, and when.

    Attributes
    ----------
    handles : list of Handle
        Of all jobs, also those that are over.
    """

    def __init__(self, post: Post = lambda call: call()) -> None:
        super().__init__(post)
        self._start: Any = FakeProcess
        self.handles: list[Handle] = []
        self.started.connect(self.handles.append)

    @property
    def last(self) -> Handle:
        return self.handles[-1]

    @property
    def cancelled(self) -> list[Handle]:
        return [h for h in self.handles if "Cancel" in self.asked(h)]

    def jobs(self, kind: type[Job]) -> list[Any]:
        return [h.job for h in self.handles if isinstance(h.job, kind)]

    def running(self, kind: type[Job]) -> list[Handle]:
        return [h for h in self.handles if h.running and isinstance(h.job, kind)]

    def asked(self, handle: Handle) -> list[str]:
        """What is asked of a job: Cancel, Pause, Resume, Finish, Correct."""
        sent = [m for m in handle.process.sent if m.job == handle.number]  # type: ignore[union-attr]
        return [type(m).__name__ for m in sent if not isinstance(m, Submit)]

    def corrections(self, handle: Handle) -> list[Correction]:
        sent = handle.process.sent  # type: ignore[union-attr]
        return [
            m.correction
            for m in sent
            if isinstance(m, Correct) and m.job == handle.number
        ]

    def emit(self, handle: Handle, *events: Event) -> None:
        for event in events:
            self._receive(handle, Happened(handle.number, event))

    def end(self, handle: Handle, cancelled: bool = False) -> None:
        self._receive(handle, Ended(handle.number, cancelled))

    def fail(
        self,
        handle: Handle,
        sentence: str,
        error: str = "ValueError",
        *,
        out_of_memory: bool = False,
    ) -> None:
        failed = Failed(handle.number, error, sentence, "", out_of_memory)
        self._receive(handle, failed)

    def die(self, kind: WorkerKind, code: int = -9) -> None:
        """The process ends on its own."""
        process: Any = self._processes[kind]
        process.kill()
        process.ended(process, End(code, True, False, ""))

    def compute(self, handle: Handle) -> list[Event]:
        """Do a job of the CPU worker here; what it would tell."""
        module, name = handle.job.function.split(".")
        function = getattr(import_module(f"napari_unet.engine.worker.{module}"), name)
        return [event for event in function(handle.job) if event is not None]

    def do_all(self, kind: type[Job]) -> None:
        """Do all jobs of a kind, also those that follow from them."""
        while running := self.running(kind):
            cancelled = running[0] in self.cancelled
            if not cancelled:
                self.emit(running[0], *self.compute(running[0]))
            self.end(running[0], cancelled)

    def report(self, status: Status, kind: WorkerKind = "network") -> None:
        """The process says how it is doing."""
        process: Any = self._process(kind)
        process.received(process, status)

    def predict(self, handle: Handle, *, planes: int | None = None) -> None:
        """Do the work of a prediction: everything is cell."""
        job: Any = handle.job
        probabilities = job.probabilities.open(writable=True)
        classes = job.classes.open(writable=True)
        for number, (t, z) in enumerate(job.places[:planes], start=1):
            probabilities[1] = 1
            classes[:] = 1
            box = (slice(0, 8), slice(0, 10))
            share = number / len(job.places)
            self.emit(handle, TileDone(t, z, box, share, field_done=True))

    def find_cells(self, handle: Handle, count: int = 5) -> None:
        job: Any = handle.job
        for number, (t, z) in enumerate(job.places, start=1):
            self.emit(handle, CellsFound(t, z, count, number / len(job.places)))
        if job.link:
            self.emit(handle, CellsLinked(count))
        self.end(handle)

    def find_all_cells(self) -> None:
        while self.running(SegmentJob):
            self.find_cells(self.running(SegmentJob)[0])

    def _receive(self, handle: Handle, message: Message) -> None:
        process: Any = handle.process
        process.received(process, message)
