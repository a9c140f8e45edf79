"""Closing a window with predictions that are in no file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtWidgets import QMessageBox, QWidget

from napari_unet.gui import preferences, workspaces
from napari_unet.gui.preferences import keep, load_preferences
from napari_unet.gui.unexported import question
from napari_unet.gui.workspaces import WorkspaceHost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot


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
