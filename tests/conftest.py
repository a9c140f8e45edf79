"""A machine whose speed the test decides, and signals that reach the tests."""

from __future__ import annotations

import gc
import signal
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from napari_unet.engine.training.sampling import Batch

# On Windows torch can be loaded before Qt only (pytorch/pytorch#166628), and pytest-qt
# loads Qt as soon as this module is there.
if sys.platform == "win32":
    import torch  # noqa: F401


# In the background of a shell, and under nohup, some are ignored, and what the tests
# start would ignore them too.
for _name, _usual in (
    ("SIGINT", signal.default_int_handler),
    ("SIGTERM", signal.SIG_DFL),
    ("SIGHUP", signal.SIG_DFL),
):
    if hasattr(signal, _name):
        signal.signal(getattr(signal, _name), _usual)


def pytest_collection_finish() -> None:
    """Have the garbage collector pass over what was imported, half a second each time.

    napari and the worker ask for it hundreds of times in a run.
    """
    gc.freeze()


class Machine:
    """Time stands still but for the steps of a training.

    Attributes
    ----------
    now : float
        What the clock shows, in seconds.
    step : float
        Seconds that each step takes.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.step = 0.0


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    from napari_unet.engine.training import stopwatch as clock
    from napari_unet.engine.training.sampling import Sampler

    machine = Machine()
    draw = Sampler.draw

    def slow(self: Sampler, step: int, size: int) -> Batch:
        machine.now += machine.step
        return draw(self, step, size)

    monkeypatch.setattr(clock, "perf_counter", lambda: machine.now)
    monkeypatch.setattr(Sampler, "draw", slow)
    return machine
