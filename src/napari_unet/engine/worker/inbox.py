"""Where a worker's wishes arrive: read in a thread of its own, answered at once.

The main thread computes and looks here between two ticks of a job, so that napari has
its answer within milliseconds even while a step of training takes seconds.
"""

from __future__ import annotations

from collections import deque
from threading import Condition, Thread, Timer
from typing import TYPE_CHECKING

from napari_unet.core.messages import (
    Acknowledged,
    Cancel,
    Correct,
    Finish,
    Message,
    Pause,
    Resume,
    Shutdown,
    Submit,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.core.jobs import Correction, Job
    from napari_unet.engine.worker.channel import Channel


class Task:
    """A job and what is wished of it.

    Attributes
    ----------
    cancelled, paused, finishing : bool
        Set in the thread that reads, looked at by the one that computes.
    corrections : deque of Correction
        Those that were not taken up yet.
    """

    def __init__(self, number: int, what: Job) -> None:
        self.number = number
        self.what = what
        self.cancelled = False
        self.paused = False
        self.finishing = False
        self.corrections: deque[Correction] = deque()


class JobInbox:
    """Takes in messages.

    Parameters
    ----------
    give_up : callable
        Called if napari is gone and the jobs do not end in `grace` seconds.
    """

    def __init__(
        self, channel: Channel, give_up: Callable[[], None], grace: float = 10.0
    ) -> None:
        self.closing = False
        self._channel = channel
        self._give_up = give_up
        self._grace = grace
        self._tasks: dict[int, Task] = {}
        self._arrived: deque[Task] = deque()
        self._changed = Condition()

    def start(self) -> None:
        """Begin to read."""
        Thread(target=self._read, daemon=True).start()

    @property
    def empty(self) -> bool:
        """Whether there is no job."""
        with self._changed:
            return not self._tasks

    def new_tasks(self) -> list[Task]:
        """Return the jobs that came in since the last call."""
        with self._changed:
            arrived = list(self._arrived)
            self._arrived.clear()
        return arrived

    def forget(self, task: Task) -> None:
        """Take no more wishes for a job that is over."""
        with self._changed:
            self._tasks.pop(task.number, None)
            self._changed.notify_all()

    def wait(self, ready: Callable[[], bool]) -> None:
        """Wait until there is something to do."""
        with self._changed:
            self._changed.wait_for(lambda: self.closing or self._arrived or ready())

    def sleep(self, seconds: float) -> None:
        """Wait some seconds, less if the inbox closes."""
        with self._changed:
            self._changed.wait_for(lambda: self.closing, seconds)

    def rest(self, seconds: float) -> bool:
        """Wait until there was no job for some seconds on end; False if it closes."""
        with self._changed:
            while not self.closing:
                self._changed.wait_for(lambda: self.closing or not self._tasks)
                if not self._changed.wait_for(
                    lambda: self.closing or bool(self._tasks), seconds
                ):
                    return True
        return False

    def close(self) -> None:
        """Have all jobs end, and the process."""
        with self._changed:
            self.closing = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """As `close`, for a napari that is gone: it can no longer end this process."""
        timer = Timer(self._grace, self._give_up)
        timer.daemon = True
        timer.start()
        self.close()

    def _read(self) -> None:
        while (message := self._channel.receive()) is not None:
            if isinstance(message, Shutdown):
                self.close()
            else:
                self._note(message)
        self.abandon()

    def _note(self, message: Message) -> None:
        with self._changed:
            if isinstance(message, Submit):
                task = Task(message.job, message.what)
                self._tasks[message.job] = task
                self._arrived.append(task)
            elif (known := self._tasks.get(message.job)) is not None:
                _apply(message, known)
            self._changed.notify_all()
        if isinstance(message, (Cancel, Pause, Resume, Finish)):
            self._channel.send(Acknowledged(message.job))


def _apply(message: Message, task: Task) -> None:
    if isinstance(message, Cancel):
        task.cancelled = True
    elif isinstance(message, Pause):
        task.paused = True
    elif isinstance(message, Resume):
        task.paused = False
    elif isinstance(message, Finish):
        task.finishing, task.paused = True, False
    elif isinstance(message, Correct):
        task.corrections.append(message.correction)
