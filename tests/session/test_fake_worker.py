"""The fake worker of the tests is like a real one."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fake_worker import FakeProcess, FakeWorker
from napari_unet.core.events import TileDone
from napari_unet.core.jobs import FreeMemoryJob, LoadModelJob
from napari_unet.session.worker.client import WORKER_ENDED, Worker
from napari_unet.session.worker.worker_process import WorkerProcess

if TYPE_CHECKING:
    from napari_unet.core.messages import Failed


def interface(kind: type) -> dict[str, Any]:
    """Parameters of each public method, how the class is made among them."""
    public = {
        name: value
        for name, value in vars(kind).items()
        if name == "__init__" or not name.startswith("_")
    }
    return {
        name: [
            (p.name, p.kind, p.default)
            for p in inspect.signature(value).parameters.values()
        ]
        if inspect.isfunction(value)
        else type(value)
        for name, value in public.items()
    }


def test_a_fake_process_has_the_interface_of_a_real_one() -> None:
    assert interface(FakeProcess) == interface(WorkerProcess)
    made = inspect.getsource(WorkerProcess.__init__)
    attributes = set(re.findall(r"self\.([a-z]\w*) = ", made))
    assert attributes == {"kind", "dismissed"}
    fake = FakeProcess("cpu", {}, lambda *_: None, lambda *_: None)
    assert attributes <= set(vars(fake))


def test_a_fake_worker_replaces_nothing_of_the_real_one() -> None:
    own = {n for n in vars(FakeWorker) if not n.startswith("__")}
    assert own.isdisjoint(vars(Worker))


def test_what_happens_to_a_job_comes_by_the_signals_of_its_handle() -> None:
    worker = FakeWorker()
    handle = worker.submit(LoadModelJob("a"))
    seen: list[Any] = []
    for signal in (handle.event, handle.ended):
        signal.connect(seen.append)
    tile = TileDone(0, 0, np.s_[:2, :2], 0.5, field_done=False)
    worker.emit(handle, tile)
    assert (seen, handle.progress, worker.busy) == ([tile], 0.5, True)
    handle.cancel()
    assert worker.cancelled == [handle]
    worker.end(handle, cancelled=True)
    assert (seen[1:], handle.running, worker.busy) == ([True], False, False)


@pytest.mark.parametrize("dies", [True, False])
def test_a_job_fails_on_the_same_signal_whatever_ends_it(dies: bool) -> None:
    worker = FakeWorker()
    handle = worker.submit(FreeMemoryJob())
    failed: list[Failed] = []
    deaths: list[Any] = []
    handle.failed.connect(failed.append)
    worker.died.connect(lambda _, jobs: deaths.append(jobs))
    if dies:
        worker.die("network")
    else:
        worker.fail(handle, "It broke.", "OSError")
    (one,) = failed
    assert one.error == (WORKER_ENDED if dies else "OSError")
    assert not handle.running
    assert deaths == ([(handle,)] if dies else [])
    assert one.sentence in worker.fault
