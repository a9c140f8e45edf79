from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget

from fake_worker import FakeWorker
from napari_unet.core.jobs import FreeMemoryJob
from napari_unet.core.messages import Status
from napari_unet.core.text import duration
from napari_unet.core.training.training_settings import Training
from napari_unet.gui.forms import SettingsForm
from napari_unet.gui.number_box import FloatBox
from napari_unet.gui.run_bar import RunBar, progress_text
from napari_unet.session.training.run_progress import RunProgress

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

LEFT = Qt.MouseButton.LeftButton


class TrainingStandIn:
    """What the run bar knows of `session.training.control.TrainingControl`."""

    changed = Signal()

    def __init__(self) -> None:
        self.state = "idle"
        self.progress = RunProgress()
        self.can_start = (True, "")
        self.asked: list[str] = []

    def start(self) -> None:
        self.asked.append("start")

    def pause(self) -> None:
        self.asked.append("pause")

    def resume(self) -> None:
        self.asked.append("resume")

    def stop(self) -> None:
        self.asked.append("stop")

    def enter(self, state: str) -> None:
        self.state = state
        self.changed.emit()


class GuideStandIn:
    shown = False

    def set_shown(self, shown: bool) -> None:
        self.shown = shown


class WorkspaceStandIn:
    def __init__(self) -> None:
        self.guide = GuideStandIn()
        self.training = TrainingStandIn()
        self.worker = FakeWorker()
        self.freed = 0

    def free_memory(self) -> None:
        self.freed += 1


@pytest.fixture
def workspace() -> WorkspaceStandIn:
    return WorkspaceStandIn()


@pytest.fixture
def bar(qtbot: QtBot, workspace: WorkspaceStandIn) -> RunBar:
    made = RunBar(workspace)
    qtbot.addWidget(made)
    made.resize(320, made.sizeHint().height())
    made.show()
    qtbot.waitExposed(made)
    return made


def _enabled(bar: RunBar) -> tuple[bool, ...]:
    return tuple(b.isEnabled() for b in (bar.train, bar.pause, bar.stop))


@pytest.mark.parametrize(
    ("state", "enabled"),
    [
        ("idle", (True, False, False)),
        ("starting", (False, False, True)),
        ("training", (False, True, True)),
        ("paused", (False, True, True)),
        ("stopping", (False, False, False)),
    ],
)
def test_only_what_makes_sense_can_be_pressed(
    bar: RunBar, workspace: WorkspaceStandIn, state: str, enabled: tuple[bool, ...]
) -> None:
    workspace.training.enter(state)
    assert _enabled(bar) == enabled
    assert bar.pause.text() == ("Resume" if state == "paused" else "Pause")


def test_why_nothing_can_be_trained_stands_in_the_bar_and_the_tooltip(
    bar: RunBar, workspace: WorkspaceStandIn
) -> None:
    reason = "Paint some cells and some background first."
    workspace.training.can_start = (False, reason)
    workspace.training.changed.emit()
    assert _enabled(bar) == (False, False, False)
    assert bar.line.isVisible()
    assert bar.line.text() == reason
    assert reason in bar.train.toolTip()
    workspace.training.can_start = (True, "")
    workspace.training.changed.emit()
    assert bar.line.text() == "Ready to train."
    assert reason not in bar.train.toolTip()


def test_buttons_ask_the_training(
    qtbot: QtBot, bar: RunBar, workspace: WorkspaceStandIn
) -> None:
    training = workspace.training
    with qtbot.waitActive(bar):
        bar.activateWindow()
    bar.train.setFocus()
    qtbot.waitUntil(bar.train.hasFocus)
    qtbot.keyClick(bar.train, Qt.Key.Key_Space)
    training.enter("training")
    # the keyboard keeps its place, but not where a second press would stop it
    assert bar.more.hasFocus()
    qtbot.mouseClick(bar.pause, LEFT)
    training.enter("paused")
    qtbot.mouseClick(bar.pause, LEFT)
    training.enter("training")
    qtbot.mouseClick(bar.stop, LEFT)
    assert training.asked == ["start", "pause", "resume", "stop"]


def test_progress_loss_and_time_left_are_shown(
    bar: RunBar, workspace: WorkspaceStandIn
) -> None:
    training = workspace.training
    training.progress = RunProgress(share=0.25, seconds_left=42.2)
    training.progress.curve.loss = 0.1234
    training.enter("training")
    assert bar.progress.isVisible()
    assert not bar.line.isVisible()
    assert bar.progress.value() == 0.25 * bar.progress.maximum()
    assert bar.progress.text() == "error 0.12 · 0:42 left"


@pytest.mark.parametrize("state", ["training", "stopping"])
def test_while_the_model_is_judged_no_time_is_left_to_stop(
    bar: RunBar, workspace: WorkspaceStandIn, state: str
) -> None:
    training = workspace.training
    training.progress = RunProgress(share=1.0, judging=True)
    training.progress.curve.loss = 0.1
    training.enter(state)
    assert bar.progress.text() == "judging the model …"
    assert _enabled(bar) == (False, False, False)
    assert "judged" in bar.stop.toolTip()
    # who paused just before can go on
    training.enter("paused")
    assert _enabled(bar) == (False, True, True)
    training.progress.judging = False
    training.enter("idle")
    assert bar.line.text() == "Ready to train."


@pytest.mark.parametrize(
    ("state", "loss", "left", "text"),
    [
        ("training", None, None, "training"),
        ("training", 1.5, None, "error 1.5"),
        ("training", 0.00123, 3700.0, "error 0.0012 · 1:01:40 left"),
        ("paused", 0.5, 30.0, "paused · error 0.5"),
        ("starting", None, None, "starting"),
        ("stopping", 0.5, 10.0, "stopping · error 0.5"),
    ],
)
def test_progress_in_words(
    state: str, loss: float | None, left: float | None, text: str
) -> None:
    progress = RunProgress(seconds_left=left)
    progress.curve.loss = loss
    assert progress_text(state, progress) == text


def test_durations_are_written_as_on_a_clock() -> None:
    seconds = (-3, 0, 59.4, 59.6, 3599, 3600, 36061)
    clocks = ["0:00", "0:00", "0:59", "1:00", "59:59", "1:00:00", "10:01:01"]
    assert [duration(s) for s in seconds] == clocks


def test_device_and_memory_are_shown_as_soon_as_they_are_known(
    qtbot: QtBot, bar: RunBar, workspace: WorkspaceStandIn
) -> None:
    assert bar.where.text() == "Not started yet"
    assert not bar.free.isEnabled()
    workspace.worker.report(
        Status(
            0,
            "CPU, 2 threads",
            "torch is built for the CPU only",
            830_000_000,
            8_000_000_000,
        )
    )
    assert bar.where.text() == "CPU, 2 threads · 0.8 GB"
    assert "No GPU: torch is built for the CPU only" in bar.where.toolTip()
    assert not bar.device.isVisible()
    workspace.training.enter("training")
    assert bar.device.isVisible()
    assert bar.device.text() == bar.where.text()
    bar.free.trigger()
    assert workspace.freed == 1


def test_with_a_gpu_there_is_nothing_to_explain(
    bar: RunBar, workspace: WorkspaceStandIn
) -> None:
    workspace.worker.report(Status(0, "NVIDIA H200", "", 10**9, 10**11))
    assert "No GPU" not in bar.where.toolTip()


def test_everything_has_a_tooltip(bar: RunBar) -> None:
    parts = (bar.train, bar.pause, bar.stop, bar.more, bar.progress, bar.line)
    assert all(part.toolTip() for part in (*parts, bar.device))


def test_help_and_guide_are_called_from_any_dock(
    qtbot: QtBot, bar: RunBar, workspace: WorkspaceStandIn
) -> None:
    with qtbot.waitSignal(bar.help_asked):
        bar.help.trigger()
    bar.guide.trigger()
    assert workspace.guide.shown
    # the menu opens above the button: it stands at the lower end of the window
    qtbot.mouseClick(bar.more, LEFT)
    menu = bar.help.parent()
    qtbot.waitUntil(menu.isVisible)
    menu.close()


def test_it_is_low_and_fits_a_narrow_dock(
    qtbot: QtBot, bar: RunBar, workspace: WorkspaceStandIn
) -> None:
    workspace.training.can_start = (False, "A very long reason. " * 20)
    workspace.training.changed.emit()
    workspace.worker.report(Status(0, "A very long name of a GPU " * 5, "", 1, 10**11))
    assert bar.minimumSizeHint().width() <= 300
    assert bar.minimumSizeHint().height() <= 58
    assert bar.height() <= 58
    workspace.training.can_start = (True, "")
    workspace.training.changed.emit()
    qtbot.waitUntil(lambda: bar.minimumSizeHint().height() <= 36)
    # a row more, for the progress, while a network trains
    workspace.training.enter("training")
    qtbot.waitUntil(lambda: bar.minimumSizeHint().width() <= 300)
    assert bar.minimumSizeHint().height() <= 75


def test_a_number_that_is_being_typed_counts_when_train_is_pressed(
    qtbot: QtBot, workspace: WorkspaceStandIn
) -> None:
    bar, form = RunBar(workspace), SettingsForm(Training, ["minutes"])
    page = QWidget()
    qtbot.addWidget(page)
    layout = QVBoxLayout(page)
    layout.addWidget(form)
    layout.addWidget(bar)
    page.show()
    qtbot.waitActive(page)
    # as on macOS, where a click leaves the focus where it is
    bar.train.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    box = form.widget("minutes")
    assert isinstance(box, FloatBox)
    box.setFocus()
    qtbot.waitUntil(box.hasFocus)
    box.lineEdit().selectAll()
    qtbot.keyClicks(box, "12")
    assert form.value().minutes == 5
    qtbot.mouseClick(bar.train, LEFT)
    assert form.value().minutes == 12
    assert workspace.training.asked == ["start"]


def test_a_bar_that_is_gone_is_not_told_of_changes(
    qtbot: QtBot, workspace: WorkspaceStandIn
) -> None:
    bar = RunBar(workspace)
    with qtbot.waitSignal(bar.destroyed):
        bar.deleteLater()
    workspace.training.enter("training")
    assert len(workspace.training.changed) == 0
    assert len(workspace.worker.status_changed) == 0


def test_what_failed_stays_in_the_line_until_it_is_tried_again(
    workspace: WorkspaceStandIn, bar: RunBar
) -> None:
    training, worker = workspace.training, workspace.worker
    worker.fail(worker.submit(FreeMemoryJob()), "The disk is full.")
    assert bar.line.text() == "Free memory: The disk is full."
    assert bar.line.level == "error"
    training.changed.emit()
    assert bar.line.text() == "Free memory: The disk is full."
    training.enter("training")
    worker.fail(worker.submit(FreeMemoryJob()), "The disk is full.")
    assert bar.device.toolTip() == "Free memory: The disk is full."
    training.state = "idle"
    worker.submit(FreeMemoryJob())
    assert "disk" not in bar.line.text() + bar.device.toolTip()
    assert bar.line.level == "info"
