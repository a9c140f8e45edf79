"""The inbox of a worker: a thread of its own reads messages and answers at once.

The main thread computes and reads the inbox between two ticks of a job, so that napari
is answered within milliseconds even while a step of training takes seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from threading import Condition, Thread, Timer
from typing import TYPE_CHECKING

from napari_unet.core import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.core.jobs import Correction, Job
    from napari_unet.engine.worker.channel import Channel


@dataclass(slots=True, eq=False)
class Task:
    """A job and what napari has sent about it.

    The reading thread sets the flags, the computing thread reads them.
    """

    number: int
    what: Job
    cancelled: bool = False
    paused: bool = False
    finishing: bool = False
    corrections: deque[Correction] = field(default_factory=deque)  # not yet used


class JobInbox:
    """Receives messages.

    `give_up` is called if napari has ended and the jobs do not end in `grace` seconds.
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
        """Start the reading thread."""
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
        """Take no more messages about a job that is over."""
        with self._changed:
            self._tasks.pop(task.number, None)
            self._changed.notify_all()

    def wait(self, ready: Callable[[], bool]) -> None:
        """Wait until there is work or a message."""
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
        """As `close`, after napari has ended and can no longer end this process."""
        timer = Timer(self._grace, self._give_up)
        timer.daemon = True
        timer.start()
        self.close()

    def _read(self) -> None:
        while (message := self._channel.receive()) is not None:
            if isinstance(message, messages.Shutdown):
                self.close()
            else:
                self._note(message)
        self.abandon()

    def _note(self, message: messages.Message) -> None:
        with self._changed:
            task = self._tasks.get(message.job)
            match message:
                case messages.Submit(number, what):
                    self._tasks[number] = task = Task(number, what)
                    self._arrived.append(task)
                case messages.Cancel() if task:
                    task.cancelled = True
                case messages.Pause() if task:
                    task.paused = True
                case messages.Resume() if task:
                    task.paused = False
                case messages.Finish() if task:
                    task.finishing, task.paused = True, False
                case messages.Correct(_, correction) if task:
                    task.corrections.append(correction)
            self._changed.notify_all()
        if not isinstance(message, (messages.Submit, messages.Correct)):
            self._channel.send(messages.Acknowledged(message.job))
