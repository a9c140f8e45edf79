"""The main thread of tests without Qt: what is posted runs when the test pumps."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

import pytest
from napari.utils.triangulation_backend import TriangulationBackend, set_backend

from napari_unet.session.annotating import edits, object_index
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Pump:
    """Stands in for the event loop of the GUI."""

    def __init__(self) -> None:
        self._calls: queue.Queue[Callable[[], None]] = queue.Queue()

    def post(self, call: Callable[[], None]) -> None:
        self._calls.put(call)

    def until(self, condition: Callable[[], object]) -> None:
        """Run what is posted until the condition holds; fail after the deadline."""
        until(condition, self._run_one)

    def _run_one(self) -> None:
        try:
            call = self._calls.get(timeout=0.05)
        except queue.Empty:
            return
        call()


@pytest.fixture
def pump() -> Pump:
    return Pump()


@pytest.fixture(autouse=True, scope="session")
def no_compiling() -> Iterator[None]:
    """Have napari draw shapes without what it would compile for ten seconds first."""
    usual = set_backend(TriangulationBackend.pure_python)
    yield
    set_backend(usual)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ticks of the annotation end what they begin, on a slow machine too."""
    for module in (edits, object_index):
        monkeypatch.setattr(module, "perf_counter", lambda: 0.0)


@pytest.fixture(autouse=True)
def own_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep projects of tests out of the user's data folder."""
    monkeypatch.setenv("NAPARI_UNET_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of all throttles, which stands until a test sets it."""
    now = [100.0]
    monkeypatch.setattr("napari_unet.session.throttle.monotonic", lambda: now[0])
    return now
