"""Several jobs take turns in one thread: stride scheduling of generators.

Each job has a clock that runs slower the larger its share; whose clock is behind has
the next turn. A job that comes in is set to the present, so that its first tile comes
at once and it neither owes nor is owed what went before.

Reference: Waldspurger and Weihl, Stride Scheduling, MIT/LCS/TM-528, 1995.
"""

from __future__ import annotations

import gc
import sys
from time import perf_counter
from traceback import format_exception
from typing import TYPE_CHECKING

from napari_unet.core.jobs import PredictJob, TrainJob
from napari_unet.core.messages import Ended, Failed, Happened

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_unet.core.events import Event
    from napari_unet.engine.worker.channel import Channel
    from napari_unet.engine.worker.inbox import JobInbox, Task

    Ticks = Generator[Event | None, None, None]
    Begin = Callable[[Task], Ticks]

# Of the time that a training has, while both are at work.
_PREVIEW_SHARE = 0.05


class Running:
    """A job at work, and its clock.

    Attributes
    ----------
    clock : float
        Seconds it had, divided by its share.
    """

    def __init__(self, task: Task, clock: float) -> None:
        self.task = task
        self.clock = clock
        self.ticks: Ticks | None = None

    @property
    def is_preview(self) -> bool:
        """Whether it may take only a small share while a network trains."""
        return isinstance(self.task.what, PredictJob) and self.task.what.preview

    @property
    def trains(self) -> bool:
        """Whether it is a training that goes on."""
        return isinstance(self.task.what, TrainJob) and not self.task.paused


class Scheduler:
    """Lets the jobs of a worker take turns until it is closed.

    An error ends its job, never the worker.

    Parameters
    ----------
    begin : callable
        Makes the generator of a job; it yields events, or None as a mere point where
        another job can take its turn.
    clock : callable, optional
        Returns the time, in seconds.
    """

    def __init__(
        self,
        inbox: JobInbox,
        channel: Channel,
        begin: Begin,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._desk = inbox
        self._channel = channel
        self._begin = begin
        self._clock = clock
        self._jobs: list[Running] = []
        self._now = 0.0
        # Previews come one after the other: together they must not take more either.
        self._previews = 0.0

    def run(self) -> None:
        """Work until the inbox closes; then end all jobs as if they were cancelled.

        Nobody is told that they ended: who is still there hears of the process.
        """
        while not self._desk.closing:
            self._desk.wait(self._has_work)
            self.turn()
        for job in list(self._jobs):
            self._close(job)

    def turn(self) -> None:
        """Take in and end what is wished, and give the job that is behind one tick."""
        for task in self._desk.new_tasks():
            self._jobs.append(Running(task, self._now))
            if self._jobs[-1].is_preview:
                self._jobs[-1].clock = max(self._now, self._previews)
        for job in [j for j in self._jobs if j.task.cancelled]:
            self._cancel(job)
        ready = [job for job in self._jobs if not job.task.paused]
        if not ready:
            return
        # of equals the one that came last: it has waited for no tick yet
        job = min(reversed(ready), key=lambda j: j.clock)
        self._now = max(self._now, job.clock)
        began = self._clock()
        self._tick(job)
        share = _PREVIEW_SHARE if self._is_held_back(job) else 1.0
        # who was paused does not get the time back
        job.clock = max(job.clock, self._now) + (self._clock() - began) / share
        if job.is_preview:
            self._previews = job.clock

    def _has_work(self) -> bool:
        return any(j.task.cancelled or not j.task.paused for j in self._jobs)

    def _is_held_back(self, job: Running) -> bool:
        return job.is_preview and any(other.trains for other in self._jobs)

    def _tick(self, job: Running) -> None:
        try:
            if job.ticks is None:
                job.ticks = self._begin(job.task)
            event = next(job.ticks)
            if event is not None:
                self._channel.send(Happened(job.task.number, event))
        except StopIteration:
            self._drop(job)
            self._channel.send(Ended(job.task.number, cancelled=False))
        except Exception as error:
            self._fail(job, error)

    def _cancel(self, job: Running) -> None:
        if self._close(job):
            self._channel.send(Ended(job.task.number, cancelled=True))

    def _close(self, job: Running) -> bool:
        """Have a job write what is to be kept; whether it could."""
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
        # the frames of an error keep all arrays alive that they worked with
        error.__traceback__ = None
        error.__context__ = error.__cause__ = None
        gc.collect()
        self._channel.send(failed)

    def _drop(self, job: Running) -> None:
        self._jobs.remove(job)
        self._desk.forget(job.task)
        job.ticks = None


def _sentence(error: Exception) -> str:
    """Return what people are told: torch adds lines on how to find errors in it."""
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
