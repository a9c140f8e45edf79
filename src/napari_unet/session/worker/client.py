"""The worker as napari sees it: jobs go in, events come back in the main thread.

One process computes with networks, another does the work that needs none. Each is
started when first needed and kept. Neither loads anything into napari's own process.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, get_args

from psygnal import Signal

from napari_unet.core.jobs import RemoteTrainJob, TrainJob, WorkerKind
from napari_unet.core.messages import (
    Acknowledged,
    Cancel,
    Correct,
    Ended,
    Failed,
    Finish,
    Happened,
    Message,
    Pause,
    Resume,
    Status,
    Submit,
)
from napari_unet.session.worker.worker_process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_unet.core.jobs import Correction, Job
    from napari_unet.session.future import Post
    from napari_unet.session.worker.worker_process import End

WORKER_KINDS: tuple[WorkerKind, ...] = get_args(WorkerKind)

WORKER_ENDED = "WorkerEnded"
"""Error of the jobs that a process was at work on when it ended on its own."""


class Handle:
    """A job in the worker, from the outside.

    Signals come in the main thread: `event` for each event; then one of `ended`
    (whether it was cancelled) and `failed` (a `core.messages.Failed`), which also comes
    if the process died or could not be started. `acknowledged` comes as soon as the
    worker knows that the job is to be cancelled, paused or resumed.

    `progress` is 0 to 1.
    """

    event = Signal(object)
    ended = Signal(bool)
    failed = Signal(object)
    acknowledged = Signal()

    def __init__(self, number: int, job: Job, process: WorkerProcess | None) -> None:
        self.number = number
        self.job = job
        self.running = True
        self.progress = 0.0
        self.process = process

    def cancel(self) -> None:
        """End the job at its next tile or step; a training writes a checkpoint."""
        self._send(Cancel(self.number))

    def abandon(self) -> None:
        """Cancel the job; its listeners get no more signals."""
        for signal in (self.event, self.ended, self.failed, self.acknowledged):
            signal.disconnect()
        self.cancel()

    def finish(self) -> None:
        """Stop training now, but judge the network and save the model."""
        self._send(Finish(self.number))

    def pause(self) -> None:
        """Let the job wait."""
        self._send(Pause(self.number))

    def resume(self) -> None:
        """Let it go on."""
        self._send(Resume(self.number))

    def correct(self, correction: Correction) -> None:
        """Use changed annotation in a training from its next step on."""
        self._send(Correct(self.number, correction))

    def _send(self, message: Message) -> None:
        if self.running and self.process is not None:
            self.process.send(message)


class Worker:
    """Two processes that work for one viewer.

    `environment` is added to the environment of the processes. `status` is the last of
    the network worker, or of the other where only that runs.
    """

    started = Signal(object)
    """The `Handle` of a job that was submitted."""
    died = Signal(str, tuple)
    """A process ended on its own: what happened and what to do, and its jobs.

    Who submitted a job need not listen: the job has failed by then."""
    status_changed = Signal(object)
    faults_changed = Signal()

    def __init__(
        self, post: Post, *, environment: Mapping[str, str] | None = None
    ) -> None:
        self.status: Status | None = None
        self._post = post
        self._environment = dict(environment or {})
        self._numbers = count(1)
        self._processes: dict[WorkerKind, WorkerProcess] = {}
        self._handles: dict[int, Handle] = {}
        self._faults: dict[type[Job], str] = {}
        self._closed = False
        # replaced in tests
        self._start = WorkerProcess

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return bool(self._handles)

    @property
    def if_closed(self) -> list[str]:
        """What becomes of the jobs when napari closes; see `Job.if_closed`."""
        said = (handle.job.if_closed for handle in self._handles.values())
        return list(dict.fromkeys(filter(None, said)))

    @property
    def pids(self) -> dict[WorkerKind, int]:
        """Numbers of the processes that run."""
        return {kind: p.pid for kind, p in self._processes.items() if p.alive}

    @property
    def fault(self) -> str:
        """What failed last, in a sentence, until such a job is begun again."""
        return next(reversed(self._faults.values()), "")

    def submit(self, job: Job) -> Handle:
        """Begin a job; it knows which process does it.

        RuntimeError if the worker was closed; what pickle raises if the job holds
        something that cannot be sent.
        """
        number, process, why = next(self._numbers), None, ""
        try:
            process = self._process(job.worker)
            process.send(Submit(number, job))
        except OSError as error:
            why = f"The worker process could not be started: {error}."
        handle = self._handles[number] = Handle(number, job, process)
        if self._faults.pop(type(job), None) is not None:
            self.faults_changed.emit()
        self.started.emit(handle)
        if process is None:
            # later, as the caller connects to the handle after this returns
            self._post(lambda: self._fail(handle, why))
        return handle

    def warm_up(self, kind: WorkerKind) -> None:
        """Start a process without a job, so that the first job begins sooner."""
        # why it cannot be started is the failure of the first job
        with suppress(OSError):
            self._process(kind)

    def stop_idle(self) -> None:
        """End the processes that have no job; their memory comes back.

        The next job starts them again.
        """
        at_work = {id(handle.process) for handle in self._handles.values()}
        for kind, process in list(self._processes.items()):
            if id(process) not in at_work:
                self._processes.pop(kind).shut_down()
        self._set_status(None)

    def close(self, timeout: float = 10.0) -> None:
        """Let the processes save their state, and end them.

        Those that have not ended after `timeout` seconds are killed.
        """
        self._closed = True
        for process in self._processes.values():
            process.shut_down()
        until = monotonic() + timeout
        for process in self._processes.values():
            if not process.wait(until - monotonic()):
                process.kill()
            process.join(1.0)
        for handle in self._handles.values():
            handle.running = False
        self._processes.clear()
        self._handles.clear()

    def _process(self, kind: WorkerKind) -> WorkerProcess:
        if self._closed:
            raise RuntimeError("the worker was closed, it takes no more jobs.")
        process = self._processes.get(kind)
        if process is None or not process.alive:
            process = self._processes[kind] = self._start(
                kind,
                self._environment,
                partial(self._post_unless_closed, self._on_message),
                partial(self._post_unless_closed, self._on_end),
            )
        return process

    def _post_unless_closed(self, call: Callable[..., None], *arguments: Any) -> None:
        if not self._closed:
            self._post(partial(call, *arguments))

    def _on_message(self, process: WorkerProcess, message: Message) -> None:
        if self._closed:
            return
        handle = self._handles.get(message.job)
        if isinstance(message, Status):
            # one that is ending may still send its status
            known = self._processes.get(process.kind) is process
            if known and (
                process.kind == "network" or "network" not in self._processes
            ):
                self._set_status(message)
        elif handle is not None:
            self._deliver(handle, message)

    def _deliver(self, handle: Handle, message: Message) -> None:
        if isinstance(message, Happened):
            handle.progress = getattr(message.event, "progress", handle.progress)
            handle.event.emit(message.event)
        elif isinstance(message, Acknowledged):
            handle.acknowledged.emit()
        elif isinstance(message, Ended | Failed):
            handle.running = False
            self._handles.pop(handle.number, None)
            if isinstance(message, Ended):
                handle.ended.emit(message.cancelled)
            else:
                self._note_fault(handle, message)
                handle.failed.emit(message)

    def _note_fault(self, handle: Handle, failed: Failed) -> None:
        # a preview comes by itself again, and goes with the network it shows
        job = handle.job
        if not job.is_preview:
            self._faults.pop(type(job), None)
            self._faults[type(job)] = f"{job.title}: {failed.sentence}"
            self.faults_changed.emit()

    def _on_end(self, process: WorkerProcess, end: End) -> None:
        """Fail the jobs of a process that ended unasked, as any job fails."""
        if self._closed or process.dismissed:
            return
        # a job may have started another in its place before this is known
        if self._processes.get(process.kind) is process:
            del self._processes[process.kind]
        if process.kind == "network" or not self._processes:
            self._set_status(None)
        jobs = tuple(h for h in self._handles.values() if h.process is process)
        for handle in jobs:
            remedy = _remedy(handle.job)
            self._fail(handle, f"{end.sentence} {remedy}", memory=end.out_of_memory)
        self.died.emit(f"{end.sentence} It starts again with the next job.", jobs)

    def _fail(self, handle: Handle, why: str, *, memory: bool = False) -> None:
        """Fail a job whose process cannot say itself why."""
        self._deliver(handle, Failed(handle.number, WORKER_ENDED, why, "", memory))

    def _set_status(self, status: Status | None) -> None:
        self.status = status
        self.status_changed.emit(status)


def _remedy(job: Job) -> str:
    """Say what to do about a job that was lost."""
    if not isinstance(job, TrainJob):
        return "It starts again with the next job."
    if isinstance(job, RemoteTrainJob):
        return "The training there goes on: it is shown again when started again."
    if Path(job.checkpoint).is_file():
        return "Training goes on from its last checkpoint when started again."
    return "There is no checkpoint: training starts over when started again."
