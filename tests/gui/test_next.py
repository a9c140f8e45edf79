"""The list of tiles to annotate next, pressed by mouse and keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QPushButton

from fake_worker import FakeWorker
from napari_unet.core.events import TileSeen, TilesSuggested
from napari_unet.core.jobs import SuggestJob
from napari_unet.core.suggestions.reasons import Suggestion
from napari_unet.core.suggestions.sampling import TilePlace
from napari_unet.gui.annotate.next_panel import NextPanel
from napari_unet.gui.main_thread import MainThread
from napari_unet.session.preferences import Preferences
from napari_unet.session.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from pytestqt.qtbot import QtBot


@pytest.fixture
def workspace(
    viewer: ViewerModel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Workspace]:
    monkeypatch.setattr("napari_unet.session.workspace.Worker", FakeWorker)
    main_thread = MainThread()
    workspace = Workspace(viewer, main_thread.post, Preferences())
    yield workspace
    workspace.close()
    main_thread.close()


def buttons(panel: NextPanel) -> list[QPushButton]:
    return [b for b in panel.findChildren(QPushButton) if b.text() == "Go to"]


def test_tiles_come_with_pictures_reasons_and_a_way(
    workspace: Workspace, qtbot: QtBot
) -> None:
    layer = workspace.viewer.add_image(np.zeros((5, 90, 80), np.uint8), name="stack")
    image = workspace.images.add([layer])
    panel = NextPanel(workspace)
    qtbot.addWidget(panel)
    panel.resize(320, 400)
    panel.show()
    panel.start()
    worker = workspace.worker
    assert isinstance(worker, FakeWorker)
    qtbot.waitUntil(lambda: bool(worker.running(SuggestJob)))
    handle = worker.running(SuggestJob)[0]
    worker.emit(handle, TileSeen(0.25))
    qtbot.waitUntil(lambda: "25%" in panel.summary.text())
    assert panel.button.text() == "Cancel"
    place = TilePlace(0, 0, 3, (slice(10, 74), slice(4, 68)))
    thumbnail = np.arange(32, dtype=np.uint8).reshape(4, 8)
    reasons = ("borders between cells are uncertain", "looks unlike what is annotated")
    found = TilesSuggested((Suggestion(place, reasons, thumbnail),), "12 tiles seen.")
    worker.emit(handle, found)
    worker.end(handle)
    qtbot.waitUntil(lambda: len(buttons(panel)) == 1)
    assert panel.button.text() == "Suggest places"
    assert panel.summary.text() == "12 tiles seen."
    texts = [label.text() for label in panel.findChildren(QLabel)]
    assert f"stack, slice 3: {'; '.join(reasons)}." in texts
    (picture,) = [p for p in panel.findChildren(QLabel) if p.pixmap().width()]
    assert (picture.pixmap().width(), picture.pixmap().height()) == (64, 32)
    assert picture.accessibleName() == "Tile 1 of stack, slice 3"
    (go,) = buttons(panel)
    assert go.accessibleName() == "Go to tile 1, stack, slice 3"
    qtbot.waitUntil(go.isVisible)
    go.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.keyClick(go, Qt.Key.Key_Space)
    assert workspace.images.place_in_view(image.id) == (0, 3)
    # what was found stays while it is looked for anew, and on screen again
    panel.start()
    assert len(worker.jobs(SuggestJob)) == 1
    workspace.images.remove(image.id)
    told: list[str] = []
    workspace.message.connect(lambda _, sentence: told.append(sentence))
    qtbot.keyClick(go, Qt.Key.Key_Space)
    assert told == ["This image is no longer in the project."]
