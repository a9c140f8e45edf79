"""Jobs of the worker in napari's task manager and activity dock.

napari asks before it closes while a task is running, and ends the tasks then. What
becomes of the jobs is for the workspace to say, which closes with its window: a
training on another computer goes on there.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.QtCore import QTimer
from superqt.utils import WorkerBase

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.utils import progress

    from napari_unet.session.worker.client import Handle

_LOOK_MS = 250
# Progress that is worth a repaint.
_STEP_PERCENT = 5
# A job that is over sooner is not shown: its bar would only flicker, and napari
# handles events, painting among them, in the midst of adding one.
_BRIEF_MS = 1000


def show_as_task(handle: Handle, viewer: ViewerModel) -> None:
    """Show a job in the window of a viewer, if it has one, until the job is over."""
    if getattr(viewer, "window", None) is None:
        return
    # the timer must not keep the job and its listeners alive after the window
    QTimer.singleShot(_BRIEF_MS, partial(_show, ref(handle)))


def _show(reference: ref[Handle]) -> None:
    from napari.qt.threading import create_worker

    handle = reference()
    if handle is None or not handle.running:
        return
    title = _Title(handle.job.title)
    create_worker(
        title, handle, _worker_class=JobTask, _start_thread=True, _ignore_errors=True
    )


class _Title:
    """What napari's task manager shows as the name of the function."""

    def __init__(self, title: str) -> None:
        self._title = title

    def __str__(self) -> str:
        return self._title

    def __call__(self) -> None:
        """Do nothing: the worker process computes."""


class JobTask(WorkerBase):
    """A thread worker in napari's eyes, without a thread.

    A thread that waits would take one of the few of Qt's pool for the time of a whole
    training, and superqt redirects all warnings of the process while a thread worker
    runs. A timer looks at the job instead.
    """

    # keeps tasks alive where napari has no list of them
    _shown: set[JobTask] = set()  # noqa: RUF012 - like superqt's own set of workers

    def __init__(self, title: _Title, handle: Handle) -> None:
        super().__init__(title)
        self._handle: Handle | None = handle
        self._failed = False
        self._bar: progress[Any] | None = None
        self._title = str(title)
        self._timer = QTimer()
        self._timer.setInterval(_LOOK_MS)
        self._timer.timeout.connect(self.look)

    @property
    def is_running(self) -> bool:
        """Whether the job is not over yet."""
        return self._handle is not None and self._timer.isActive()

    def start(self) -> None:
        """Show the job, which the worker process has begun already."""
        from napari.utils import progress

        if self._handle is None or not self._handle.running:
            self.finished.emit()
            return
        JobTask._shown.add(self)
        self._handle.failed.connect(self._on_failed)
        self.started.emit()
        self._bar = progress(total=100, desc=self._title)
        self._timer.start()

    def work(self) -> None:
        """Do nothing, see above."""

    def look(self) -> None:
        """Bring the progress bar up to date, or end when the job is over."""
        if self._handle is None or self._bar is None:
            return
        if self._handle.running:
            # napari's bar repaints the window at once, which is felt on slow machines
            step = int(100 * self._handle.progress) - self._bar.n
            if step >= _STEP_PERCENT:
                self._bar.update(step)
            return
        self._timer.stop()
        self._handle.failed.disconnect(self._on_failed, missing_ok=True)
        # napari keeps tasks for good: let go of the job and what it holds
        self._handle = None
        JobTask._shown.discard(self)
        self._bar.close()
        self.finished.emit()
        if self._failed:
            # after `finished`, which marks the task as completed
            self.errored.emit(RuntimeError(f"{self._title} failed."))

    def _on_failed(self, _failed: object) -> None:
        self._failed = True
