"""A training on another computer, as the session sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from napari_unet.core import events
from napari_unet.core.jobs import PredictJob, RemoteTrainJob
from napari_unet.session.compute_place import ComputePlace, known_hosts
from session.test_training_control import Bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from session.conftest import Pump


@pytest.fixture
def bench(tmp_path: Path, pump: Pump) -> Iterator[Bench]:
    bench = Bench(tmp_path, pump, (60, 60))
    bench.paint_both()
    bench.control.place.choose("me@lab", "slurm --time=60")
    yield bench
    bench.close()


def ticked(bench: Bench, condition: Callable[[], object]) -> None:
    def ticks() -> object:
        bench.control.tick()
        return condition()

    bench.pump.until(ticks)


def test_it_goes_to_the_worker_that_has_no_torch_and_is_written_down(
    bench: Bench,
) -> None:
    handle = bench.start()
    job = handle.job
    assert isinstance(job, RemoteTrainJob)
    assert job.worker == "cpu"
    assert job.remote is not None
    assert (job.remote.where, job.remote.queue) == ("me@lab", "slurm --time=60")
    assert job.title.endswith(" on me@lab")
    assert not job.resume
    bench.begin(handle, steps=3)
    assert bench.control.state == "training"
    assert bench.control.progress.step == 3
    bench.worker.emit(handle, events.Notice("lab: a GPU."))
    assert ("info", "lab: a GPU.") in bench.messages


def test_the_preview_follows_the_weights_that_come_back(
    bench: Bench, tmp_path: Path
) -> None:
    handle = bench.begin(bench.start(), steps=30)
    bench.control.tick()
    assert not bench.worker.jobs(PredictJob)
    weights = tmp_path / "weights.safetensors"
    bench.worker.emit(handle, events.CheckpointWritten(30, weights))
    ticked(bench, lambda: bench.worker.jobs(PredictJob))
    assert bench.worker.jobs(PredictJob)[0].model == str(weights)


def test_closing_loses_nothing_and_train_looks_again(
    bench: Bench, tmp_path: Path
) -> None:
    job = bench.begin(bench.start()).job
    assert isinstance(job, RemoteTrainJob)
    bench.reopen()
    bench.control.plan.read_unfinished()
    found = bench.control.plan.unfinished
    assert found is not None
    assert found.far == job.remote
    assert not Path(job.checkpoint).exists()
    # wherever the next one would train
    bench.control.place.choose("")
    again = bench.control.plan.interrupted
    assert again == found


def test_what_is_painted_meanwhile_waits_and_this_is_said_once(bench: Bench) -> None:
    handle = bench.begin(bench.start())
    for at in (5, 45):
        bench.paint(2, at, at)
        ticked(bench, lambda: bench.messages)
    told = [text for _, text in bench.messages if "does not see" in text]
    assert len(told) == 1
    assert not bench.worker.corrections(handle)


def test_a_place_is_a_host_and_perhaps_a_queue() -> None:
    place, seen = ComputePlace(), []
    place.changed.connect(lambda: seen.append(place.where))
    assert place.new_run() is None
    place.choose(" me@lab ")
    assert seen == ["me@lab"]
    for where, queue, told in (
        ("-oProxyCommand=x", "", "as for ssh"),
        ("me@lab", "pbs", "queue is slurm"),
    ):
        with pytest.raises(ValueError, match=told):
            place.choose(where, queue)
    assert place.where == "me@lab"
    one, other = place.new_run(), place.new_run()
    assert one is not None
    assert other is not None
    assert one.job != other.job


def test_the_hosts_that_ssh_knows(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        "Host lab lab2\n  HostName x\nHost *.edu !no\nhost=gpu\nMatch all\n"
    )
    assert known_hosts(config) == ["lab", "lab2", "gpu"]
    assert known_hosts(tmp_path / "none") == []
