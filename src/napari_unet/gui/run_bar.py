"""The foot of every dock: train, pause, stop, how it goes, what it takes, and help."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
from qtpy.QtCore import QPoint, QSize, Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QApplication,
    QMenu,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_unet.core.text import duration
from napari_unet.gui.progress_bar import ProgressBar
from napari_unet.gui.widgets import (
    MARGIN,
    Elided,
    Hint,
    allow,
    button,
    follow,
    row,
    set_tooltip,
)

if TYPE_CHECKING:
    from napari_unet.session.training.run_progress import RunProgress
    from napari_unet.session.workspace import Workspace

_GB = 1e9
_TICKS = 1000
# Pixels of lines: a longer reason, or fault, is cut; its tooltip has all of it.
_THREE_LINES, _SIX_LINES = 50, 100
_SMALL = 26
_SECOND_MS = 1000
# Processes ready to run per core from which on they have to wait.
_CROWDED = 1.5


class RunBar(QWidget):
    """Shows and steers the training of a workspace; one row while nothing runs."""

    help_asked = Signal()

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._training, self._worker = workspace.training, workspace.worker
        self._workspace = workspace
        # WIDGETS
        self.train = button("Train", "Learn from the annotation of ticked images.")
        self.pause = button("Pause", "Let it wait.")
        self.stop = button("Stop", "End the training now and keep what it learnt.")
        self.progress = ProgressBar()
        self.progress.setRange(0, _TICKS)
        self.progress.setToolTip(
            "Error of the network on what it learns from (loss, lower is better), "
            "time left."
        )
        self.line = Hint()
        self.line.setAlignment(
            Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        )
        self.device = Elided()
        self.more = button("?", "Help, the guide, and where networks compute.")
        self.more.setAccessibleName("Help and device")
        self.more.setFixedWidth(_SMALL)
        self._make_menu()
        self._clock = QTimer(self)
        self._clock.setInterval(_SECOND_MS)
        # LAYOUT
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN, 4, MARGIN, 4)
        layout.setSpacing(3)
        layout.addWidget(self.progress)
        buttons = row(self.train, self.pause, self.stop)
        buttons.addWidget(self.line, 1)
        buttons.addWidget(self.device, 1)
        buttons.addWidget(self.more)
        layout.addLayout(buttons)
        # as high as its sentence needs in this width: a fixed height would cut it
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        # CONNECTIONS
        self._clock.timeout.connect(self._show_training)
        self.train.clicked.connect(self._on_train)
        self.pause.clicked.connect(self._on_pause)
        self.stop.clicked.connect(self._training.stop)
        follow(self, self._training.changed, self._show_training)
        follow(self, self._worker.status_changed, self._show_status)
        follow(self, self._worker.faults_changed, self._show_training)
        follow(self, self._worker.faults_changed, self._show_status)
        self._show_training()
        self._show_status()

    def sizeHint(self) -> QSize:
        """Return a size that leaves the room to the page above."""
        return QSize(300, super().sizeHint().height())

    def _make_menu(self) -> None:
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        self.help = menu.addAction("Help on this dock")
        self.help.triggered.connect(self._on_help)
        self.guide = menu.addAction("Guide in five steps")
        self.guide.triggered.connect(self._on_guide)
        menu.addSeparator()
        # what networks compute on: to be read only
        self.where = menu.addAction("")
        self.where.setEnabled(False)
        self.free = menu.addAction("Free memory")
        self.free.setToolTip("Give back the memory that no job needs.")
        self.free.triggered.connect(self._workspace.free_memory)
        self._menu = menu
        self.more.clicked.connect(self._on_more)

    def _on_more(self) -> None:
        # above the button, which is at the lower end of the window
        corner = self.more.mapToGlobal(self.more.rect().topRight())
        size = self._menu.sizeHint()
        self._menu.popup(corner - QPoint(size.width(), size.height()))

    def _on_help(self) -> None:
        self.help_asked.emit()

    def _on_guide(self) -> None:
        self._workspace.guide.set_shown(True)

    def _on_train(self) -> None:
        # a number that is still being typed counts, also where buttons take no focus
        typing = QApplication.focusWidget()
        if typing is self.train:
            # it goes while the network trains, and the focus would be lost
            self.more.setFocus()
        elif typing is not None:
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
        # the time left changes between steps, too
        if busy:
            self._clock.start()
        else:
            self._clock.stop()
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
                "judging the model …" if judging else progress_text(state, progress)
            )
        else:
            ready = "Ready to train." if possible else reason
            self.line.setMaximumHeight(_SIX_LINES if fault else _THREE_LINES)
            self.line.setText(fault or ready, "error" if fault else "info")
            self.line.setToolTip(self.line.text())
        for part in (self.progress, self.pause, self.stop, self.device):
            part.setVisible(busy)
        for part in (self.train, self.line):
            part.setVisible(not busy)

    def _show_status(self, _status: object = None) -> None:
        status, fault = self._worker.status, self._worker.fault
        if status is None:
            where, why = "Not started yet", "Starts with the first job."
        else:
            where = f"{status.device} · {status.used / _GB:.1f} GB"
            why = f"Memory of the worker, of {status.total / _GB:.0f} GB in all."
            if status.why_not_gpu:
                why = f"No GPU: {status.why_not_gpu}\n{why}"
        self.where.setText(where)
        self.where.setToolTip(why)
        # the line that tells of faults is not there while a network trains
        self.device.setText(fault or where, "" if fault else why)
        self.free.setEnabled(status is not None)


def progress_text(state: str, progress: RunProgress) -> str:
    """Say in a few words how the training goes."""
    parts = [state] if state in ("starting", "paused", "stopping") else []
    slow = progress.slowness() if state == "training" else ""
    # both have no room in the narrowest dock
    if progress.curve.loss is not None and not slow:
        parts.append(f"error {progress.curve.loss:.2g}")
    if state != "training":
        return " · ".join(parts)
    if (left := progress.left()) is not None:
        parts.append(f"{duration(left)} left")
    if slow:
        parts.append(f"busy computer: {slow}" if is_busy() else slow)
    return " · ".join(parts) or "training"


def is_busy() -> bool:
    """Whether more processes want to compute than this computer has cores."""
    return bool(psutil.getloadavg()[0] > _CROWDED * (psutil.cpu_count() or 1))
