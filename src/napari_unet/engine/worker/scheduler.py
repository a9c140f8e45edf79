"""The scheduler of jobs in one thread: stride scheduling of generators.

Each job has a virtual clock that runs slower the larger its share; the job with the
lowest clock has the next turn. A new job starts at the current virtual time, so that
its first tile comes at once and earlier time does not count.

Reference: Waldspurger and Weihl, Stride Scheduling, MIT/LCS/TM-528, 1995.
"""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass
from time import perf_counter
from traceback import format_exception
from typing import TYPE_CHECKING

from napari_unet.core.jobs import TrainJob
from napari_unet.core.messages import Ended, Failed, Happened

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_unet.core.events import Event
    from napari_unet.engine.worker.channel import Channel
    from napari_unet.engine.worker.inbox import JobInbox, Task

    Ticks = Generator[Event | None, None, None]

# Relative to the share of a training that runs at the same time.
_PREVIEW_SHARE = 0.05


@dataclass(slots=True, eq=False)
class Running:
    """A running job and its clock."""

    task: Task
    clock: float  # seconds used, divided by its share
    ticks: Ticks | None = None


class Scheduler:
    """Runs the jobs of a worker in turns until it is closed.

    An error ends its job, never the worker.

    `start` makes the generator of a job, which yields events, or None as a mere point
    where another job can take its turn; `clock` returns the time, in seconds.
    """

    def __init__(
        self,
        inbox: JobInbox,
        channel: Channel,
        start: Callable[[Task], Ticks],
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._inbox = inbox
        self._channel = channel
        self._start = start
        self._clock = clock
        self._jobs: list[Running] = []
        self._now = 0.0
        # clock of the last preview: successive previews share one
        self._previews = 0.0

    def run(self) -> None:
        """Work until the inbox closes; then end all jobs as if they were cancelled.

        No message is sent for them: napari, if it still runs, sees the process end.
        """
        while not self._inbox.closing:
            self._inbox.wait(self._has_work)
            self.turn()
        for job in list(self._jobs):
            self._close(job)

    def turn(self) -> None:
        """Add new jobs, end cancelled ones, and run one tick of the next job."""
        for task in self._inbox.new_tasks():
            clock = self._now
            if task.what.is_preview:
                clock = max(clock, self._previews)
            self._jobs.append(Running(task, clock))
        for job in [j for j in self._jobs if j.task.cancelled]:
            if self._close(job):
                self._channel.send(Ended(job.task.number, cancelled=True))
        ready = [job for job in self._jobs if not job.task.paused]
        if not ready:
            return
        # of equals the newest: it has had no tick yet
        job = min(reversed(ready), key=lambda j: j.clock)
        self._now = max(self._now, job.clock)
        began = self._clock()
        self._tick(job)
        # time in which a job was paused does not count in its favour
        took = (self._clock() - began) / self._share(job.task)
        job.clock = max(job.clock, self._now) + took
        if job.task.what.is_preview:
            self._previews = job.clock

    def _has_work(self) -> bool:
        return any(j.task.cancelled or not j.task.paused for j in self._jobs)

    def _share(self, task: Task) -> float:
        """Return the share of a job: small for a preview while a training goes on."""
        trains = any(
            isinstance(j.task.what, TrainJob) and not j.task.paused for j in self._jobs
        )
        return _PREVIEW_SHARE if task.what.is_preview and trains else 1.0

    def _tick(self, job: Running) -> None:
        try:
            if job.ticks is None:
                job.ticks = self._start(job.task)
            event = next(job.ticks)
            if event is not None:
                self._channel.send(Happened(job.task.number, event))
        except StopIteration:
            self._drop(job)
            self._channel.send(Ended(job.task.number, cancelled=False))
        except Exception as error:
            self._fail(job, error)

    def _close(self, job: Running) -> bool:
        """Close a job, which may write a checkpoint; return whether it succeeded."""
        try:
            if job.ticks is not None:
                job.ticks.close()
        except Exception as error:
            self._fail(job, error)
            return False
        self._drop(job)
        return True

    def _fail(self, job: Running, error: Exception) -> None:
        self._drop(job)
        failed = Failed(
            job.task.number,
            error=type(error).__name__,
            sentence=_sentence(error),
            traceback="".join(format_exception(error)),
            out_of_memory=_is_out_of_memory(error),
        )
        # the frames of an error keep their arrays alive
        error.__traceback__ = None
        error.__context__ = error.__cause__ = None
        gc.collect()
        self._channel.send(failed)

    def _drop(self, job: Running) -> None:
        self._jobs.remove(job)
        self._inbox.forget(job.task)
        job.ticks = None


def _sentence(error: Exception) -> str:
    """Return the sentence for people, without the debugging hints that torch adds."""
    lines = str(error).strip().splitlines()
    if not lines:
        return f"{type(error).__name__} without an explanation."
    if isinstance(error, ImportError):
        return f"A part of the installation cannot be loaded: {lines[0]}."
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}."
    if isinstance(error, (OSError, ValueError, MemoryError, RuntimeError)):
        return lines[0]
    return f"{type(error).__name__}: {lines[0]}"


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, RuntimeError) and "torch" in sys.modules:
        from napari_unet.engine.device import is_out_of_memory

        return is_out_of_memory(error)
    return False
