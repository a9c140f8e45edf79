"""The worker as napari sees it: jobs go in, events come back in the main thread.

One process computes with networks, another does the work that needs none. Each is
started when first needed and kept. Neither loads anything into napari's own process.
"""

from __future__ import annotations

import pickle
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Event as Flag
from time import monotonic
from typing import TYPE_CHECKING, get_args

from psygnal import Signal

from napari_unet.core.jobs import (
    FreeMemoryJob,
    LoadModelJob,
    PredictFolderJob,
    PredictJob,
    TrainJob,
    WorkerKind,
)
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
    from napari_unet.session.worker.worker_process import End

    Post = Callable[[Callable[[], None]], None]

_NETWORK = (TrainJob, PredictJob, LoadModelJob, FreeMemoryJob, PredictFolderJob)
WORKER_KINDS: tuple[WorkerKind, ...] = get_args(WorkerKind)


WORKER_ENDED = "WorkerEnded"
"""Error of the jobs that a process was at work on when it ended on its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Death:
    """A worker process ended on its own; its jobs have failed before this is told.

    Attributes
    ----------
    kind : {"network", "cpu"}
    out_of_memory : bool
        Whether memory most probably ran out.
    sentence : str
        What happened and what to do, in words.
    jobs : tuple of Handle
        Those it was at work on; they are over.
    """

    kind: WorkerKind
    out_of_memory: bool
    sentence: str
    jobs: tuple[Handle, ...]


class Handle:
    """A job in the worker, from the outside.

    Signals come in the main thread: `event` for each event; then one of `ended`
    (whether it was cancelled) and `failed` (a `core.messages.Failed`), which also comes
    if the process died or could not be started. `acknowledged` comes as soon as the
    worker knows of a wish.

    Attributes
    ----------
    number : int
    what : Job
    title : str
        Shown to people.
    running : bool
    paused : bool
    progress : float
        0 to 1.
    """

    event = Signal(object)
    ended = Signal(bool)
    failed = Signal(object)
    acknowledged = Signal()

    def __init__(
        self, number: int, what: Job, title: str, process: WorkerProcess | None
    ) -> None:
        self.number = number
        self.what = what
        self.title = title
        self.running = True
        self.paused = False
        self.progress = 0.0
        self.process = process
        self.over = Flag()

    def cancel(self) -> None:
        """End the job at its next tile or step; a training writes a checkpoint."""
        self._send(Cancel(self.number))

    def finish(self) -> None:
        """Stop training now, but judge the network and save the model."""
        self.paused = False
        self._send(Finish(self.number))

    def pause(self) -> None:
        """Let the job wait."""
        self.paused = True
        self._send(Pause(self.number))

    def resume(self) -> None:
        """Let it go on."""
        self.paused = False
        self._send(Resume(self.number))

    def correct(self, correction: Correction) -> None:
        """Use changed annotation in a training from its next step on."""
        self._send(Correct(self.number, correction))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait, in any thread, until the job is over; whether it is.

        The signals come later, when the main thread gets to them.
        """
        return self.over.wait(timeout)

    def _send(self, message: Message) -> None:
        if self.running and self.process is not None:
            self.process.send(message)


class Worker:
    """Two processes that work for one viewer.

    Parameters
    ----------
    post : callable
        Runs a function soon in the main thread; may be called in any thread.
    environment : mapping of str to str, optional
        Added to the environment of the processes.

    Attributes
    ----------
    status : Status or None
        The last of the network worker, or of the other where only that runs.
    """

    started = Signal(object)
    died = Signal(object)
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
        self._resting: set[WorkerProcess] = set()
        self._handles: dict[int, Handle] = {}
        self._faults: dict[type[Job], str] = {}
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return bool(self._handles)

    @property
    def pids(self) -> dict[WorkerKind, int]:
        """Numbers of the processes that run."""
        return {kind: p.pid for kind, p in self._processes.items() if p.alive}

    @property
    def fault(self) -> str:
        """What failed last, in a sentence, until such a job is begun again."""
        return next(reversed(self._faults.values()), "")

    def submit(self, job: Job, title: str) -> Handle:
        """Begin a job.

        Parameters
        ----------
        job : Job
            Its type decides which process does it.
        title : str
            Shown to people.

        Returns
        -------
        Handle

        Raises
        ------
        RuntimeError
            If the worker was closed.
        pickle.PicklingError, AttributeError, TypeError
            If the job holds something that cannot be sent.
        """
        process, why = None, ""
        try:
            process = self._process("network" if isinstance(job, _NETWORK) else "cpu")
        except OSError as error:
            why = f"The worker process could not be started: {error}."
        handle = Handle(next(self._numbers), job, title, process)
        self._handles[handle.number] = handle
        try:
            if process is not None:
                process.send(Submit(handle.number, job))
        except (pickle.PicklingError, AttributeError, TypeError):
            del self._handles[handle.number]
            raise
        if self._faults.pop(type(job), None) is not None:
            self.faults_changed.emit()
        self.started.emit(handle)
        if process is None:
            failed = _failed(handle, why)
            # who asked listens to the job from now on
            self._post(lambda: self._tell(handle, failed))
        return handle

    def warm_up(self, kind: WorkerKind) -> None:
        """Start a process without a job, so that the first job begins sooner."""
        # the first job tells why it cannot be started
        with suppress(OSError):
            self._process(kind)

    def rest(self) -> None:
        """End the processes that have no job; their memory comes back.

        The next job starts them again.
        """
        at_work = {id(handle.process) for handle in self._handles.values()}
        for kind, process in list(self._processes.items()):
            if id(process) not in at_work:
                del self._processes[kind]
                self._resting.add(process)
                process.shut_down()
        self.status = None
        self.status_changed.emit(None)

    def close(self, timeout: float = 10.0) -> None:
        """Let the processes write what is to be kept, and end them.

        Parameters
        ----------
        timeout : float
            Seconds after which a process is ended the hard way.
        """
        self._closed = True
        processes = list(self._processes.values())
        for process in processes:
            process.shut_down()
        until = monotonic() + timeout
        for process in processes:
            if not process.wait(until - monotonic()):
                process.kill()
            process.join(1.0)
        self._processes.clear()
        for handle in self._handles.values():
            handle.running = False
            handle.over.set()
        self._handles.clear()

    def _process(self, kind: WorkerKind) -> WorkerProcess:
        if self._closed:
            raise RuntimeError("the worker was closed, it takes no more jobs.")
        process = self._processes.get(kind)
        if process is None or not process.alive:
            process = WorkerProcess(
                kind, self._environment, self._received, self._ended
            )
            self._processes[kind] = process
        return process

    def _ended(self, process: WorkerProcess, end: End) -> None:
        """Wake those who wait for a job; in the thread that reads."""
        for handle in list(self._handles.values()):
            if handle.process is process:
                handle.over.set()
        if not self._closed:
            self._post(lambda: self._bury(process, end))

    def _received(self, process: WorkerProcess, message: Message) -> None:
        handle = self._handles.get(message.job)
        if handle is not None and isinstance(message, (Ended, Failed)):
            handle.over.set()
        if not self._closed:
            self._post(lambda: self._take(process, message))

    def _take(self, process: WorkerProcess, message: Message) -> None:
        if self._closed:
            return
        if isinstance(message, Status):
            # one that was sent to rest may still have spoken
            known = self._processes.get(process.kind) is process
            leading = process.kind == "network" or "network" not in self._processes
            if known and leading:
                self.status = message
                self.status_changed.emit(message)
            return
        handle = self._handles.get(message.job)
        if handle is not None:
            self._tell(handle, message)

    def _tell(self, handle: Handle, message: Message) -> None:
        if isinstance(message, Happened):
            handle.progress = getattr(message.event, "progress", handle.progress)
            handle.event.emit(message.event)
        elif isinstance(message, Acknowledged):
            handle.acknowledged.emit()
        elif isinstance(message, Ended):
            self._retire(handle)
            handle.ended.emit(message.cancelled)
        elif isinstance(message, Failed):
            self._retire(handle)
            self._note_fault(handle, message)
            handle.failed.emit(message)

    def _note_fault(self, handle: Handle, failed: Failed) -> None:
        # a preview comes by itself again, and goes with the network it shows
        if not (isinstance(handle.what, PredictJob) and handle.what.preview):
            self._faults.pop(type(handle.what), None)
            self._faults[type(handle.what)] = f"{handle.title}: {failed.sentence}"
            self.faults_changed.emit()

    def _retire(self, handle: Handle) -> None:
        handle.running = handle.paused = False
        handle.over.set()
        self._handles.pop(handle.number, None)

    def _bury(self, process: WorkerProcess, end: End) -> None:
        if self._closed:
            return
        kind = process.kind
        if process in self._resting:
            self._resting.remove(process)
            return
        # a job may have started another in its place before this is known
        if self._processes.get(kind) is process:
            del self._processes[kind]
        if kind == "network" or not self._processes:
            self.status = None
            self.status_changed.emit(None)
        jobs = tuple(h for h in self._handles.values() if h.process is process)
        what = _what_happened(end)
        for handle in jobs:
            remedy = _remedy(handle.what)
            self._tell(
                handle, _failed(handle, f"{what} {remedy}", memory=end.out_of_memory)
            )
        sentence = f"{what} It starts again with the next job."
        self.died.emit(Death(kind, end.out_of_memory, sentence, jobs))


def _failed(handle: Handle, why: str, *, memory: bool = False) -> Failed:
    """Return the failure of a job that cannot tell of it itself."""
    return Failed(handle.number, WORKER_ENDED, why, "", memory)


def _what_happened(end: End) -> str:
    last = end.last_line.rstrip(".")
    said = f" It said: {last}." if last else ""
    if end.out_of_memory:
        return "The worker ran out of memory and was ended by the system."
    if end.signal:
        when = "" if end.connected else " while it started"
        return f"The worker process was ended from outside{when} (signal {end.signal})."
    if not end.connected:
        return f"The worker process could not be started (status {end.code}).{said}"
    return f"The worker process ended unexpectedly (status {end.code}).{said}"


def _remedy(job: Job) -> str:
    """Say what to do about a job that was lost."""
    if not isinstance(job, TrainJob):
        return "It starts again with the next job."
    if Path(job.checkpoint).is_file():
        return "Training goes on from its last checkpoint when started again."
    return "There is no checkpoint: training begins anew when started again."
