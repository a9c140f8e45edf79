"""The main thread of tests without Qt: what is posted runs when the test pumps."""

from __future__ import annotations

import queue
from time import monotonic
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


class Pump:
    """Stands in for the event loop of the GUI."""

    def __init__(self) -> None:
        self._calls: queue.Queue[Callable[[], None]] = queue.Queue()

    def post(self, call: Callable[[], None]) -> None:
        self._calls.put(call)

    def until(self, condition: Callable[[], object], seconds: float = 30) -> None:
        """Run what is posted until the condition holds; fail after some seconds."""
        end = monotonic() + seconds
        while not condition():
            left = end - monotonic()
            if left <= 0:
                pytest.fail(f"it did not happen within {seconds} s")
            try:
                call = self._calls.get(timeout=min(left, 0.05))
            except queue.Empty:
                continue
            call()


@pytest.fixture
def pump() -> Pump:
    return Pump()


@pytest.fixture(autouse=True)
def own_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep projects of tests out of the user's data folder."""
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path_factory.mktemp("home")))
