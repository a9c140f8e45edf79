"""Closing a window with predictions that are in no file, or work that is not done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QDockWidget, QMainWindow, QMessageBox, QWidget

from fake_worker import FakeProcess
from napari_unet.core.images.array_reference import ImageReference
from napari_unet.core.jobs import (
    ExportModelJob,
    FreeMemoryJob,
    PredictFolderJob,
    RemotePredictFolderJob,
    RemoteTrainJob,
    TrainJob,
)
from napari_unet.core.messages import Ended
from napari_unet.core.remote_messages import RemoteRun
from napari_unet.core.training.training_settings import Training
from napari_unet.gui import preferences, workspaces
from napari_unet.gui.preferences import keep, load_preferences
from napari_unet.gui.unexported import question
from napari_unet.gui.workspaces import WorkspaceHost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_unet.core.jobs import Job
    from napari_unet.session.worker.client import Handle


class Person:
    """Answers the question; notes what it was."""

    def __init__(self) -> None:
        self.answer = QMessageBox.StandardButton.Cancel
        self.no_more = False
        self.asked: list[str] = []

    def exec(self, box: QMessageBox) -> QMessageBox.StandardButton:
        self.asked.append(box.text())
        tick = box.checkBox()
        if tick is not None:
            tick.setChecked(self.no_more)
        return self.answer


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Person:
    person = Person()
    monkeypatch.setattr(QMessageBox, "exec", lambda box: person.exec(box))
    return person


@pytest.fixture
def host(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WorkspaceHost]:
    from napari.components import ViewerModel

    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path / "home"))
    host = WorkspaceHost(ViewerModel())
    yield host
    host.close()


def shown_window(host: WorkspaceHost, qtbot: QtBot) -> QWidget:
    window = QWidget()
    qtbot.addWidget(window)
    window.show()
    host.watch(window)
    return window


def test_nothing_is_asked_where_nothing_would_be_lost(
    host: WorkspaceHost, qtbot: QtBot, person: Person
) -> None:
    window = shown_window(host, qtbot)
    assert window.close()
    qtbot.waitUntil(lambda: host.workspace.closed)
    assert person.asked == []


def test_the_window_stays_until_the_person_agrees(
    host: WorkspaceHost, qtbot: QtBot, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    unexported = ["nuclei", "membranes"]
    monkeypatch.setattr(host.workspace.prediction, "unexported", lambda: unexported)
    window = shown_window(host, qtbot)
    assert not window.close()
    assert window.isVisible()
    (asked,) = person.asked
    assert "“nuclei”, “membranes” are in no file" in asked
    qtbot.wait(20)
    assert not host.workspace.closed
    unexported.remove("nuclei")
    person.answer = QMessageBox.StandardButton.Close
    assert window.close()
    assert "nuclei" not in person.asked[1]
    qtbot.waitUntil(lambda: host.workspace.closed)


def test_who_wants_no_more_questions_is_asked_no_more(
    host: WorkspaceHost, qtbot: QtBot, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[tuple[str, bool]] = []
    monkeypatch.setattr(workspaces, "keep", lambda *kept: stopped.append(kept))
    monkeypatch.setattr(host.workspace.prediction, "unexported", lambda: ["nuclei"])
    person.no_more = True
    assert not shown_window(host, qtbot).close()
    assert stopped == []
    person.answer = QMessageBox.StandardButton.Close
    window = shown_window(host, qtbot)
    host._windows[:] = [window]
    assert window.close()
    assert stopped == [("ask_before_closing", False)]


def test_it_is_remembered_in_the_file_where_napari_keeps_no_preferences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preferences, "_section", lambda: None)
    file = tmp_path / "folder" / "preferences.json"
    assert load_preferences(file).ask_before_closing
    keep("ask_before_closing", False, file)
    assert not load_preferences(file).ask_before_closing


def test_of_many_images_the_first_are_named(qtbot: QtBot) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    names = [f"image {n}" for n in range(8)]
    assert "“image 4” and 3 more" in question(window, names).text()


def test_the_answer_says_what_it_does(qtbot: QtBot) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    box = question(window, ["nuclei"], "the project is left", "Leave without it?")
    leave = box.button(QMessageBox.StandardButton.Close)
    assert leave.text() == "Leave without it"
    assert box.defaultButton() is box.button(QMessageBox.StandardButton.Cancel)


def folder_prediction(host: WorkspaceHost, monkeypatch: pytest.MonkeyPatch) -> Handle:
    monkeypatch.setattr(host.workspace.worker, "_start", FakeProcess)
    job = PredictFolderJob("model", "here/slices", "here/results")
    return host.workspace.worker.submit(job)


def test_work_that_is_not_done_is_asked_about(
    host: WorkspaceHost, qtbot: QtBot, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = folder_prediction(host, monkeypatch)
    window = shown_window(host, qtbot)
    assert not window.close()
    (asked,) = person.asked
    assert "“slices” stops: finished results stay in “results”" in asked
    process: Any = handle.process
    process.received(process, Ended(handle.number, cancelled=False))
    qtbot.waitUntil(lambda: not host.workspace.worker.busy)
    assert window.close()
    assert len(person.asked) == 1


def test_a_dock_that_floats_is_no_reason_not_to_ask(
    host: WorkspaceHost, qtbot: QtBot, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host.workspace.prediction, "unexported", lambda: ["nuclei"])
    window = QMainWindow()
    qtbot.addWidget(window)
    dock = QDockWidget(window)
    dock.setFloating(True)
    window.show()
    dock.show()
    for one in (window, dock):
        host.watch(one.window())
    assert not window.close()
    assert len(person.asked) == 1
    dock.close()
    assert len(person.asked) == 1
    person.answer = QMessageBox.StandardButton.Close
    assert window.close()
    qtbot.waitUntil(lambda: host.workspace.closed)


class PressedClose(QCloseEvent):
    """The button of the window was pressed."""

    def spontaneous(self) -> bool:
        return True


def test_who_agreed_is_not_asked_again_by_napari(
    host: WorkspaceHost, qtbot: QtBot, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_prediction(host, monkeypatch)
    window = shown_window(host, qtbot)
    person.answer = QMessageBox.StandardButton.Close
    pressed = PressedClose()
    # napari's own questions would come next, were it passed on
    assert host.eventFilter(window, pressed)
    assert not pressed.isAccepted()
    qtbot.waitUntil(lambda: not window.isVisible())
    assert len(person.asked) == 1
    qtbot.waitUntil(lambda: host.workspace.closed)


def of_images(job: type[TrainJob], annotated: bool, **more: Any) -> TrainJob:
    image = ImageReference((), "yx", None, "noisy")
    notes: Any = ("annotation",) if annotated else ()
    return job((image,), notes, (), Training(), "m", "c", **more)


FAR = RemoteRun(where="lab", job="0" * 32)


@pytest.mark.parametrize(
    ("job", "said"),
    [
        pytest.param(
            of_images(TrainJob, annotated=True),
            "what it has learnt is kept",
            id="training",
        ),
        pytest.param(
            of_images(TrainJob, annotated=False),
            "the noise in “noisy” is lost",
            id="denoising",
        ),
        pytest.param(
            of_images(RemoteTrainJob, annotated=True, remote=FAR), "", id="far training"
        ),
        pytest.param(
            RemotePredictFolderJob("m", "slices", "results", remote=FAR),
            "goes on on lab",
            id="far folder",
        ),
        pytest.param(
            ExportModelJob("m", "there/nuclei.onnx", "onnx"),
            "nuclei.onnx is not",
            id="model",
        ),
        pytest.param(FreeMemoryJob(), "", id="nothing asked for"),
    ],
)
def test_each_kind_of_work_says_what_is_lost_and_what_is_kept(
    job: Job, said: str
) -> None:
    assert said in job.if_closed
    assert bool(said) == bool(job.if_closed)
