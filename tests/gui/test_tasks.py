from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtCore import QTimer

from fake_worker import FakeWorker
from napari_unet.core.jobs import PredictFolderJob
from napari_unet.gui import tasks
from napari_unet.gui.tasks import JobTask, show_as_task

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from napari.components import ViewerModel
    from pytestqt.qtbot import QtBot

    from napari_unet.session.worker.client import Handle

TITLE = "Predict the images in slices"


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


def _train(worker: FakeWorker) -> Handle:
    return worker.submit(PredictFolderJob("model", "slices", "results"))


def _bars() -> list[Any]:
    from napari.utils import progress

    return [bar for bar in progress._all_instances if bar.desc.startswith(TITLE)]


def test_a_viewer_without_a_window_shows_nothing(
    qtbot: QtBot, viewer: ViewerModel, worker: FakeWorker
) -> None:
    show_as_task(_train(worker), viewer)
    qtbot.wait(20)
    assert _bars() == []


@pytest.mark.viewer
@pytest.mark.parametrize("problem", [False, True])
def test_a_job_is_shown_until_it_is_over(
    make_napari_viewer: Callable[[], napari.Viewer],
    qtbot: QtBot,
    worker: FakeWorker,
    problem: bool,
) -> None:
    viewer = make_napari_viewer()
    handle = _train(worker)
    manager = viewer.window._task_status_manager
    show_as_task(handle, viewer)
    # not at once: whoever submits a job is not prepared for other events
    assert _bars() == []
    qtbot.waitUntil(lambda: len(_bars()) == 1)
    assert manager.is_busy()
    assert TITLE in manager.get_status()[-1]
    handle.progress = 0.425
    qtbot.waitUntil(lambda: _bars()[0].n == 42)
    if problem:
        worker.fail(handle, "The disk is full.")
    else:
        worker.end(handle)
    qtbot.waitUntil(lambda: _bars() == [])
    assert not manager.is_busy()
    last = list(manager._tasks.values())[-1].state()[2]
    assert str(last) == ("failed" if problem else "completed")
    assert not JobTask._shown
    assert len(handle.failed) == 0
    assert not worker.cancelled


@pytest.mark.viewer
def test_a_job_of_less_than_a_second_is_never_shown(
    make_napari_viewer: Callable[[], napari.Viewer], qtbot: QtBot, worker: FakeWorker
) -> None:
    viewer = make_napari_viewer()
    handle = _train(worker)
    show_as_task(handle, viewer)
    worker.end(handle)
    passed: list[bool] = []
    QTimer.singleShot(tasks._BRIEF_MS + 1, lambda: passed.append(True))
    qtbot.waitUntil(lambda: passed == [True])
    assert _bars() == []
    assert not viewer.window._task_status_manager.is_busy()


@pytest.mark.viewer
def test_napari_that_ends_its_tasks_cancels_no_job(
    make_napari_viewer: Callable[[], napari.Viewer], qtbot: QtBot, worker: FakeWorker
) -> None:
    # the workspace ends them: a training on another computer would stop there, too
    viewer = make_napari_viewer()
    handle = _train(worker)
    show_as_task(handle, viewer)
    qtbot.waitUntil(lambda: len(_bars()) == 1)
    viewer.window._task_status_manager.cancel_all()
    assert not worker.cancelled
    worker.end(handle)
    qtbot.waitUntil(lambda: _bars() == [])
