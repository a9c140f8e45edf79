"""Widgets are tested without a screen, in their own home, and leave none behind."""

from __future__ import annotations

import gc
import os
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QWidget

from fake_worker import FakeWorker
from waiting import DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari.components import ViewerModel
    from pytestqt.qtbot import QtBot

    from napari_unet.session.workspace import Workspace


def pytest_collection_finish(session: pytest.Session) -> None:
    """Draw into memory, unless tests that need a window were chosen and have one.

    Qt reads this when its application is made, which is when the first test begins.
    """
    windows = any(item.get_closest_marker("viewer") for item in session.items)
    if not (windows and os.environ.get("DISPLAY")):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


@pytest.fixture(autouse=True)
def own_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep projects of tests out of the user's data folder."""
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def shown(qapp: object) -> Callable[[], list[str]]:
    """Return what gives the notifications of napari since the test began."""
    from napari.utils.notifications import notification_manager

    before = len(notification_manager.records)
    return lambda: [str(record) for record in notification_manager.records[before:]]


@pytest.fixture(autouse=True)
def no_widget_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail when a test leaves a top-level widget alive.

    What keeps one alive is most often a lambda or partial that holds `self` and is
    connected to something that lives longer; `gc.get_referrers(widget)` finds it.
    napari's own fixtures watch over the windows of tests marked `viewer`.
    """
    if request.node.get_closest_marker("viewer"):
        yield
        return
    before = _top_level()
    yield
    # Menus of pyqtgraph and fields of forms hold each other until they are collected,
    # which does nothing while another thread collects.
    for _ in range(10):
        left = sorted(map(repr, _top_level() - before))
        if not left:
            return
        gc.collect()
        time.sleep(0.1)
    pytest.fail(f"the test leaves widgets: {left}")


@pytest.fixture
def qtbot(qtbot: QtBot) -> QtBot:
    """Return pytest-qt's, which waits longer."""
    qtbot.waitUntil = partial(qtbot.waitUntil, timeout=round(1000 * DEADLINE))
    qtbot.waitSignal = partial(qtbot.waitSignal, timeout=round(1000 * DEADLINE))
    return qtbot


@pytest.fixture
def viewer() -> ViewerModel:
    """Return napari's viewer without its window."""
    from napari.components import ViewerModel

    return ViewerModel()


@pytest.fixture
def fake() -> FakeWorker:
    return FakeWorker()


@pytest.fixture
def workspace(
    viewer: ViewerModel,
    tmp_path: Path,
    fake: FakeWorker,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Workspace]:
    """Return an empty workspace whose jobs go to the fake worker."""
    from napari_unet.session.preferences import Preferences
    from napari_unet.session.workspace import Workspace

    workspace = Workspace(
        viewer, lambda call: call(), Preferences(), tmp_path / "projects"
    )
    monkeypatch.setattr(workspace.worker, "submit", fake.submit)
    yield workspace
    workspace.close()


def _top_level() -> set[QWidget]:
    if QApplication.instance() is None:
        return set()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    return set(QApplication.topLevelWidgets())
