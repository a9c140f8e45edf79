"""The foot of every dock: train, pause, stop, how it goes, and what it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from napari_unet.gui.progress_bar import ProgressBar
from napari_unet.gui.widgets import (
    MARGIN,
    SPACING,
    Elided,
    Hint,
    allow,
    button,
    follow,
    set_tooltip,
)

if TYPE_CHECKING:
    from napari_unet.session.training.run_progress import RunProgress
    from napari_unet.session.workspace import Workspace

_GB = 1e9
_TICKS = 1000
# Pixels of one line, and of two for a reason that does not fit in one.
_LINE, _TWO_LINES = 20, 34


class RunBar(QWidget):
    """Shows and steers the training of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._training, self._worker = workspace.training, workspace.worker
        # WIDGETS
        self.train = button("Train", "Learn from the annotation of ticked images.")
        self.pause = button("Pause", "Let it wait.")
        self.stop = button("Stop", "End the training now and keep what it learnt.")
        self.progress = ProgressBar()
        self.progress.setRange(0, _TICKS)
        self.progress.setToolTip("Loss of the training (lower is better), time left.")
        self.line = Hint()
        self.line.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.device = Elided()
        self.memory = QLabel()
        self.free = button("Free", "Give back the memory that no job needs.")
        # LAYOUT
        buttons, foot = QHBoxLayout(), QHBoxLayout()
        for wide in (self.train, self.pause, self.stop):
            wide.setMinimumWidth(0)
            buttons.addWidget(wide, 1)
        self._middle = QWidget()
        self._stack = QStackedLayout(self._middle)
        self._stack.addWidget(self.line)
        self._stack.addWidget(self.progress)
        foot.addWidget(self.device, 1)
        foot.addWidget(self.memory)
        foot.addWidget(self.free)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN, 4, MARGIN, 4)
        layout.setSpacing(3)
        layout.addLayout(buttons)
        layout.addWidget(self._middle)
        layout.addLayout(foot)
        for line in (buttons, foot):
            line.setSpacing(SPACING)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        # CONNECTIONS
        self.train.clicked.connect(self._on_train)
        self.pause.clicked.connect(self._on_pause)
        self.stop.clicked.connect(self._training.stop)
        self.free.clicked.connect(workspace.free_memory)
        follow(self, self._training.changed, self._show_training)
        follow(self, self._worker.status_changed, self._show_status)
        follow(self, self._worker.faults_changed, self._show_training)
        follow(self, self._worker.faults_changed, self._show_status)
        self._show_training()
        self._show_status()

    def sizeHint(self) -> QSize:
        """Return a size that leaves the room to the page above."""
        return QSize(300, super().sizeHint().height())

    def _on_train(self) -> None:
        # a number that is still being typed counts, also where buttons take no focus
        typing = QApplication.focusWidget()
        if typing is not None:
            typing.clearFocus()
        self._training.start()

    def _on_pause(self) -> None:
        if self._training.state == "paused":
            self._training.resume()
        else:
            self._training.pause()

    def _show_training(self) -> None:
        state, progress = self._training.state, self._training.progress
        possible, reason = self._training.can_start
        busy, paused = state != "idle", state == "paused"
        judging = progress.judging and state in ("training", "stopping")
        running = state in ("training", "paused") and not judging
        why = "The model is being judged and saved." if judging else ""
        why = why if busy else "Nothing is being trained."
        self.pause.setText("Resume" if paused else "Pause")
        set_tooltip(
            self.pause, "Go on with the training." if paused else "Let it wait."
        )
        allow(self.train, possible and not busy, reason)
        allow(self.pause, running, why)
        allow(self.stop, running or state == "starting", why)
        # what failed stays in the line until it is tried again
        fault = self._worker.fault
        if busy:
            self.progress.setValue(round(_TICKS * progress.share))
            self.progress.setFormat(
                "judging the model" if judging else progress_text(state, progress)
            )
        else:
            ready = "Ready to train." if possible else reason
            self.line.setText(fault or ready, "error" if fault else "info")
            self.line.setToolTip(self.line.text())
        self._stack.setCurrentWidget(self.progress if busy else self.line)
        one_line = busy or (possible and not fault)
        self._middle.setFixedHeight(_LINE if one_line else _TWO_LINES)

    def _show_status(self, _status: object = None) -> None:
        status, fault = self._worker.status, self._worker.fault
        if fault and self._training.state != "idle":
            # the line above shows the training
            self.device.setText(fault)
        elif status is None:
            self.device.setText("Not started yet", "Starts with the first job.")
        else:
            why = f"No GPU: {status.why_not_gpu}" if status.why_not_gpu else ""
            self.device.setText(status.device, why)
        self.memory.setText(f"{status.used / _GB:.1f} GB" if status else "")
        if status is not None:
            self.memory.setToolTip(
                f"Memory of the worker, of {status.total / _GB:.0f} GB in all."
            )
        allow(self.free, status is not None, "No memory is in use.")


def progress_text(state: str, progress: RunProgress) -> str:
    """Say in a few words how the training goes."""
    parts = [state] if state in ("starting", "paused", "stopping") else []
    if progress.curve.loss is not None:
        parts.append(f"loss {progress.curve.loss:.2g}")
    if progress.seconds_left is not None and state == "training":
        parts.append(f"{clock(progress.seconds_left)} left")
    return " · ".join(parts) or "training"


def clock(seconds: float) -> str:
    """Write a duration as 0:42 or 1:05:00."""
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}"
