"""Layers that are made beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.gui.main_thread import MainThread
from napari_unet.gui.warm_up import WarmUp

if TYPE_CHECKING:
    import pytest
    from pytestqt.qtbot import QtBot


def test_what_waits_runs_once_when_it_is_done_and_soon_afterwards(
    qtbot: QtBot,
) -> None:
    told: list[str] = []
    warm_up = WarmUp(MainThread())
    warm_up.made.then(lambda: told.append("waited"))
    assert told == []
    warm_up.begin()
    warm_up.begin()
    qtbot.waitUntil(lambda: told == ["waited"])
    warm_up.made.then(lambda: told.append("after"))
    qtbot.waitUntil(lambda: told == ["waited", "after"])


def test_one_that_fails_is_over_and_says_nothing(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("PYTEST_CURRENT_TEST")

    monkeypatch.setattr("napari.layers.Shapes", fail)
    warm_up, told = WarmUp(MainThread()), list[str]()
    warm_up.made.then(lambda: told.append("waited"))
    warm_up.begin()
    qtbot.waitUntil(lambda: told == ["waited"])
