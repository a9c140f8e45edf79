from __future__ import annotations

import sys
from threading import Thread, get_ident
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import QTimer

from napari_unet.gui.main_thread import MainThread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytestqt.qtbot import QtBot


@pytest.fixture
def main_thread(qtbot: QtBot) -> Iterator[MainThread]:
    made = MainThread()
    yield made
    made.close()


def pass_time(qtbot: QtBot) -> None:
    """Let everything happen that was asked for within the next 50 ms."""
    passed: list[bool] = []
    QTimer.singleShot(50, lambda: passed.append(True))
    qtbot.waitUntil(lambda: passed == [True])


def test_calls_from_a_thread_run_in_the_main_thread_in_order(
    qtbot: QtBot, main_thread: MainThread
) -> None:
    seen: list[tuple[int, int]] = []

    def background() -> None:
        for number in range(100):
            main_thread.post(lambda n=number: seen.append((n, get_ident())))

    thread = Thread(target=background)
    thread.start()
    thread.join()
    assert seen == []
    qtbot.waitUntil(lambda: len(seen) == 100)
    assert seen == [(number, get_ident()) for number in range(100)]


def test_a_call_from_the_main_thread_does_not_run_at_once(
    qtbot: QtBot, main_thread: MainThread
) -> None:
    seen: list[int] = []
    main_thread.post(lambda: seen.append(1))
    assert seen == []
    qtbot.waitUntil(lambda: seen == [1])


def test_what_a_call_raises_reaches_the_excepthook(
    qtbot: QtBot, main_thread: MainThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    caught: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda _t, error, _tb: caught.append(error))
    seen: list[int] = []

    def fail() -> None:
        raise RuntimeError("out of memory")

    main_thread.post(fail)
    main_thread.post(lambda: seen.append(1))
    qtbot.waitUntil(lambda: seen == [1])
    assert [str(error) for error in caught] == ["out of memory"]


def test_after_close_calls_are_dropped_also_those_that_wait(
    qtbot: QtBot, main_thread: MainThread
) -> None:
    seen: list[int] = []
    main_thread.post(lambda: seen.append(1))
    main_thread.close()
    main_thread.post(lambda: seen.append(2))
    pass_time(qtbot)
    assert seen == []
