"""The menu of projects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtWidgets import QMessageBox

from napari_unet.gui.annotate.project_menu import ProjectButton
from napari_unet.gui.widgets import plain

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_unet.session.workspace import Workspace

LONG = "2026-11-30 HeLa H2B-GFP control well B03 field 4 flat-fielded"


@pytest.fixture
def button(workspace: Workspace, qtbot: QtBot) -> ProjectButton:
    for number, name in enumerate(("H&E slide", LONG)):
        pixels = np.full((8, 10), number, np.uint8)
        workspace.images.add([workspace.viewer.add_image(pixels, name=name)])
    workspace.new_project()
    button = ProjectButton(workspace)
    qtbot.addWidget(button)
    button.refresh()
    return button


def test_recent_projects_are_named_as_their_images_are(button: ProjectButton) -> None:
    (action,) = button.recent.actions()
    # Qt shows && as &, and an & as a line under the next letter
    assert action.text().startswith("H&&E slide, 2026-11-30 HeLa ")
    # not wider than a screen
    assert LONG not in action.text()
    assert "flat-fielded" in action.text()
    assert button.recent.toolTipsVisible()
    assert LONG in action.toolTip()


def test_names_of_menus_are_short_and_underline_nothing() -> None:
    assert plain("H&E") == "H&&E"
    short = plain("a" * 50 + "b" * 50, 11)
    assert short == "aaaaa…bbbbb"


def test_nobody_is_asked_to_leave_what_cannot_be_left(
    button: ProjectButton, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[QMessageBox] = []
    told: list[str] = []
    workspace.message.connect(lambda _level, sentence: told.append(sentence))
    monkeypatch.setattr(QMessageBox, "exec", asked.append)
    monkeypatch.setattr(workspace.prediction, "unexported", lambda: ["H&E slide"])
    exporter = workspace.prediction.exporter
    monkeypatch.setattr(type(exporter), "running", True)
    before = workspace.store
    (action,) = button.recent.actions()
    button.open_folder(action.toolTip().splitlines()[-1])
    assert (asked, workspace.store) == ([], before)
    assert told == [
        "Files are being written: wait for them, or press Cancel in the Predict dock, "
        "before opening another project."
    ]
