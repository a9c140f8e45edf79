"""The worker from napari's side, with real processes."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

from example_jobs import (
    CPU,
    SMALL,
    discs,
    predict_job,
    stored,
    stored_annotation,
    stored_image,
    train_job,
)
from napari_unet.core import events
from napari_unet.core.images.array_reference import ArrayReference
from napari_unet.core.jobs import (
    LIVE,
    Correction,
    FreeMemoryJob,
    LoadModelJob,
    WeightsJob,
)
from napari_unet.core.settings import BorderWeights
from napari_unet.io.model_file import load_model, read_card
from napari_unet.session.worker import worker_process
from napari_unet.session.worker.client import WORKER_ENDED, Worker
from waiting import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.jobs import Job
    from napari_unet.core.messages import Failed
    from napari_unet.session.worker.client import Handle

# Tests share the cores with each other: spinning threads would only slow them.
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}
LONG = SMALL.replace(steps=100_000)


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Worker, list[Any]]]:
    """One worker for most tests, and the pumps they use in turn."""
    pumps: list[Any] = []
    worker = Worker(lambda call: pumps[-1].post(call), environment=ENVIRONMENT)
    yield worker, pumps
    worker.close()
    assert worker.pids == {}


@pytest.fixture
def worker(shared: tuple[Worker, list[Any]], pump: Any) -> Worker:
    shared[1].append(pump)
    return shared[0]


class Deaths(list[SimpleNamespace]):
    """Processes that ended on their own."""

    def note(self, sentence: str, jobs: tuple[Handle, ...]) -> None:
        self.append(SimpleNamespace(sentence=sentence, jobs=jobs))


class Log:
    """What a job says."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self.events: list[Any] = []
        self.failed: list[Failed] = []
        self.ended: list[bool] = []
        handle.event.connect(self.events.append)
        handle.failed.connect(self.failed.append)
        handle.ended.connect(self.ended.append)

    def of(self, kind: type) -> list[Any]:
        return [e for e in self.events if isinstance(e, kind)]

    @property
    def steps(self) -> int:
        found = self.of(events.StepDone)
        return int(found[-1].step) if found else 0

    @property
    def over(self) -> bool:
        return not self.handle.running


def begin(worker: Worker, job: Job) -> Log:
    return Log(worker.submit(job))


def cancel(log: Log, pump: Any) -> None:
    log.handle.cancel()
    pump.until(lambda: log.over)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_training_tells_its_steps_its_verdict_and_its_model(
    worker: Worker, pump: Any, tmp_path: Path
) -> None:
    started: list[Handle] = []
    worker.started.connect(started.append)
    settings = SMALL.replace(steps=30, validation=0.2)
    log = begin(worker, train_job(tmp_path, settings, size=160))
    assert worker.busy
    pump.until(lambda: log.over)
    worker.started.disconnect(started.append)
    assert started == [log.handle]
    assert log.failed == []
    assert log.ended == [False]
    assert not worker.busy
    assert isinstance(log.events[0], events.TrainingStarted)
    assert [e.step for e in log.of(events.StepDone)] == [*range(1, 31)]
    assert log.handle.progress == 1.0
    told, saved = log.events[-2:]
    assert isinstance(told, events.ModelComparison)
    assert told.outcome == "first"
    assert "cells right and IoU" in told.sentence
    assert isinstance(saved, events.ModelSaved)
    assert read_card(saved.path) == saved.card.replace(name="model")
    assert saved.steps == 30
    assert log.of(events.TrainingFinished) == []


def test_a_model_is_compared_with_the_one_it_started_from(
    worker: Worker, pump: Any, tmp_path: Path
) -> None:
    settings = SMALL.replace(steps=5, validation=0.2)
    job = train_job(tmp_path, settings, size=160)
    first = begin(worker, job)
    pump.until(lambda: first.over)
    again = replace(
        job,
        start=job.output,
        output=str(tmp_path / "second.safetensors"),
        settings=settings.replace(steps=120, width=8),
    )
    second = begin(worker, again)
    pump.until(lambda: second.over)
    (told,) = second.of(events.ModelComparison)
    assert told.outcome == "better"
    assert told.iou > told.before_iou
    assert told.before_iou == first.of(events.ModelComparison)[0].iou
    assert load_model(again.output).card.parent == "model"


@pytest.fixture(scope="module")
def model(
    shared: tuple[Worker, list[Any]], tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A trained model file."""
    job = train_job(tmp_path_factory.mktemp("model"))
    waiting: list[Any] = []
    shared[1].append(type("Later", (), {"post": staticmethod(waiting.append)}))
    handle = shared[0].submit(job)
    until(lambda: not handle.running, lambda: waiting and waiting.pop(0)())
    return job.output


def test_a_prediction_goes_on_while_a_network_trains(
    worker: Worker, pump: Any, tmp_path: Path, model: str
) -> None:
    training = begin(worker, train_job(tmp_path, LONG))
    pump.until(lambda: training.steps > 3)
    job = predict_job(tmp_path / "out", model, training.handle.job.images[0])  # type: ignore[attr-defined]
    prediction = begin(worker, job)
    pump.until(lambda: prediction.over)
    before = training.steps
    pump.until(lambda: training.steps > before + 3)
    assert training.handle.running
    tiles = prediction.of(events.TileDone)
    assert [t.z for t in tiles if t.field_done] == [0, 1, 2]
    assert prediction.handle.progress == 1.0
    assert job.classes is not None
    found = job.probabilities.open()
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(job.classes.open(), found.argmax(axis=0))
    cancel(training, pump)
    assert training.ended == [True]


def test_cancel_is_acknowledged_at_once_and_leaves_a_checkpoint(
    worker: Worker, pump: Any, tmp_path: Path
) -> None:
    # steps of this size take a while
    slow = LONG.replace(width=16, patch=148, batch=4)
    job = train_job(tmp_path, slow, size=200)
    training = begin(worker, job)
    pump.until(lambda: training.steps >= 1)
    answers: list[bool] = []
    training.handle.acknowledged.connect(lambda: answers.append(training.over))
    training.handle.cancel()
    pump.until(lambda: training.over)
    assert answers == [False]
    assert training.ended == [True]
    assert load_model(job.checkpoint).card.steps == training.steps
    assert not Path(job.output).exists()
    assert training.of(events.ModelSaved) == []


def test_a_paused_training_takes_no_step_and_goes_on_when_told(
    worker: Worker, pump: Any, tmp_path: Path
) -> None:
    training = begin(worker, train_job(tmp_path, LONG))
    answers: list[int] = []
    training.handle.acknowledged.connect(lambda: answers.append(training.steps))
    pump.until(lambda: training.steps > 3)
    training.handle.pause()
    pump.until(lambda: answers)
    seen = []
    for _ in range(3):
        # it would have a turn after each of these
        idle = begin(worker, FreeMemoryJob())
        pump.until(lambda log=idle: log.over)  # type: ignore[misc]
        seen.append(training.steps)
    paused_at = seen[0]
    assert seen == [paused_at] * 3
    assert paused_at <= answers[0] + 2
    training.handle.resume()
    pump.until(lambda: training.steps > paused_at + 3)
    training.handle.pause()
    cancel(training, pump)
    assert training.ended == [True]


def test_a_training_that_is_told_to_finish_saves_its_model(
    worker: Worker, pump: Any, tmp_path: Path
) -> None:
    training = begin(worker, train_job(tmp_path, LONG))
    pump.until(lambda: training.steps > 3)
    training.handle.pause()
    training.handle.finish()
    pump.until(lambda: training.over)
    assert training.ended == [False]
    (saved,) = training.of(events.ModelSaved)
    assert 3 < saved.steps < 1000
    assert load_model(saved.path).card.steps == saved.steps
    (told,) = training.of(events.ModelComparison)
    assert told.outcome == "unknown"


def test_training_with_live_previews_is_training_without(
    worker: Worker, pump: Any, tmp_path: Path
) -> None:
    # with this schedule no step depends on how many there will be
    settings = LONG.replace(dropout=0.3, schedule="constant")
    job = train_job(tmp_path / "watched", settings)
    watched = begin(worker, job)
    pump.until(lambda: watched.of(events.TrainingStarted))
    previews = []
    for number in range(4):
        preview = predict_job(
            tmp_path / f"preview {number}",
            LIVE,
            job.images[0],
            preview=True,
            places=((0, 2),),
        )
        log = begin(worker, preview)
        pump.until(lambda log=log: log.over)  # type: ignore[misc]
        assert log.failed == []
        previews.append(preview)
        step = watched.steps
        pump.until(lambda step=step: watched.steps > step + 30)  # type: ignore[misc]
    watched.handle.finish()
    pump.until(lambda: watched.over)
    steps = watched.of(events.ModelSaved)[0].steps
    alone = begin(worker, train_job(tmp_path / "alone", settings.replace(steps=steps)))
    pump.until(lambda: alone.over)
    one, other = (load_model(t.handle.job.output) for t in (alone, watched))  # type: ignore[attr-defined]
    for name, weight in one.weights.items():
        np.testing.assert_array_equal(weight, other.weights[name])
    early, late = (p.probabilities.open() for p in (previews[0], previews[-1]))
    assert early[:, 2].any()
    assert not early[:, :2].any()
    assert np.abs(late - early).max() > 0.01
    # the training is over
    assert "no training is running" in begin_and_fail(worker, pump, preview).sentence


def begin_and_fail(worker: Worker, pump: Any, job: Job) -> Failed:
    log = begin(worker, job)
    pump.until(lambda: log.over)
    (failed,) = log.failed
    assert log.ended == []
    return failed


def test_corrections_are_used_from_the_next_step_on(
    worker: Worker, pump: Any, tmp_path: Path
) -> None:
    job = train_job(tmp_path, LONG)
    training = begin(worker, job)
    pump.until(lambda: training.steps > 3)
    # a slice that had no annotation, painted where napari and the worker both look
    labels = job.annotations[0].labels.open(writable=True)
    labels[2] = discs(2)[1]
    box = (slice(0, 96), slice(0, 96))
    training.handle.correct(Correction(0, 0, 2, box, job.annotations[0]))
    pump.until(lambda: training.of(events.CorrectionUsed))
    (used,) = training.of(events.CorrectionUsed)
    assert used.step > 3
    training.handle.finish()
    pump.until(lambda: training.over)
    card = load_model(job.output).card
    assert [r.name for r in card.images] == ["image z=0", "image z=1", "image z=2"]
    assert card.images[2].annotated == 96 * 96


def test_a_correction_with_a_new_class_leaves_the_networks_classes_alone(
    worker: Worker, pump: Any, tmp_path: Path
) -> None:
    job = train_job(tmp_path, LONG)
    training = begin(worker, job)
    pump.until(lambda: training.steps > 1)
    first = job.annotations[0]
    more = replace(
        first, classes=(*first.classes, first.classes[0]), class_of={2: 2, 3: 1}
    )
    training.handle.correct(Correction(0, 0, 1, None, more))
    pump.until(lambda: training.of(events.CorrectionUsed))
    training.handle.finish()
    pump.until(lambda: training.over)
    assert training.failed == []
    card = load_model(job.output).card
    assert card.architecture.classes == 2
    # the cell of the new class is as if it were not annotated
    cell = int((first.labels.open()[1] == 2).sum())
    assert card.images[1].annotated == 96 * 96 - cell


def test_a_job_that_cannot_be_done_says_why_and_the_worker_lives_on(
    worker: Worker, pump: Any, tmp_path: Path, model: str
) -> None:
    image = stored_image(tmp_path, np.zeros((2, 30, 30), "f4"), "cyx")
    failed = begin_and_fail(worker, pump, predict_job(tmp_path / "out", model, image))
    assert failed.error == "ValueError"
    assert "trained on 1 channel" in failed.sentence
    assert "Traceback" in failed.traceback
    assert not failed.out_of_memory
    loaded = begin(worker, LoadModelJob(model, CPU))
    pump.until(lambda: loaded.over)
    assert loaded.of(events.ModelLoaded)[0].card.name == "model"


def test_the_status_comes_again_and_again_and_says_why_there_is_no_gpu(
    worker: Worker, pump: Any
) -> None:
    seen: list[Any] = []
    worker.warm_up("network")
    worker.status_changed.connect(seen.append)
    pump.until(lambda: len(seen) >= 3)
    worker.status_changed.disconnect(seen.append)
    assert worker.status is not None
    assert 2**26 < worker.status.used < worker.status.total
    if "cpu" in worker.status.device:
        assert "No GPU is used" in worker.status.why_not_gpu


def test_the_cpu_lane_works_beside_the_network_and_never_loads_torch(
    worker: Worker, pump: Any, tmp_path: Path
) -> None:
    training = begin(worker, train_job(tmp_path, LONG))
    job = weights_job(tmp_path / "weights")
    log = begin(worker, job)
    pump.until(lambda: log.over)
    assert log.failed == []
    assert job.weights.open().max() == pytest.approx(
        10 * np.exp(-(3**2) / 50), rel=1e-5
    )
    assert set(worker.pids) == {"network", "cpu"}
    cpu, network = (
        {m.path for m in psutil.Process(worker.pids[kind]).memory_maps()}
        for kind in ("cpu", "network")
    )
    assert not any("torch" in path for path in cpu)
    assert any("torch" in path for path in network)
    cancel(training, pump)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_worker_gives_way_to_napari(worker: Worker, pump: Any) -> None:
    for kind in ("network", "cpu"):
        worker.warm_up(kind)  # type: ignore[arg-type]
        log = begin(worker, FreeMemoryJob())
        pump.until(lambda log=log: log.over)  # type: ignore[misc]
        process = psutil.Process(worker.pids[kind])  # type: ignore[index]
        score = Path(f"/proc/{process.pid}/oom_score_adj").read_text()
        assert int(score) == 500
        command = " ".join(process.cmdline())
        assert "pymp-" not in command
        assert command.endswith(f"--kind {kind}")
    network = psutil.Process(worker.pids["network"])
    assert network.environ()["OMP_WAIT_POLICY"] == "passive"
    if worker.status is not None and "cpu" in worker.status.device:
        assert network.nice() == min(psutil.Process().nice() + 10, 19)


def test_a_killed_worker_is_told_once_and_training_goes_on_from_its_checkpoint(
    worker: Worker, pump: Any, tmp_path: Path
) -> None:
    job = train_job(tmp_path, LONG)
    training = begin(worker, job)
    pump.until(lambda: training.steps > 3)
    cancel(training, pump)
    kept = load_model(job.checkpoint).card.steps
    deaths = Deaths()
    worker.died.connect(deaths.note)
    again = begin(worker, replace(job, resume=True))
    other = begin(worker, train_job(tmp_path / "other", LONG))
    pump.until(lambda: again.steps > kept + 3 and other.steps > 3)
    psutil.Process(worker.pids["network"]).kill()
    pump.until(lambda: deaths)
    (death,) = deaths
    # Windows knows no signals
    how = "(signal 9)" if os.name == "posix" else "ended unexpectedly (status "
    assert how in death.sentence
    assert death.jobs == (again.handle, other.handle)
    for log in (again, other):
        assert log.over
        assert log.ended == []
        assert log.failed[0].error == WORKER_ENDED
        assert how in log.failed[0].sentence
    assert "Training goes on from its last checkpoint" in again.failed[0].sentence
    assert "There is no checkpoint" in other.failed[0].sentence
    # it stays until such a job is begun again
    assert other.failed[0].sentence in worker.fault
    # a smaller patch, as after memory ran out
    smaller = replace(job, resume=True, settings=LONG.replace(patch=20))
    resumed = begin(worker, smaller)
    assert other.failed[0].sentence not in worker.fault
    pump.until(lambda: resumed.steps > kept + 1)
    assert resumed.of(events.TrainingStarted)[0].step == kept
    cancel(resumed, pump)
    assert len(deaths) == 1
    worker.died.disconnect(deaths.note)


def weights_job(folder: Path) -> WeightsJob:
    """The border weights between two cells three pixels apart."""
    folder.mkdir(exist_ok=True)
    labels = np.ones((20, 20), np.int32)
    labels[:, 4:8], labels[:, 10:14] = 2, 3
    weights = ArrayReference.create(folder / "w.raw", (20, 20), "float32")
    annotation = stored_annotation(folder, labels, "yx")
    return WeightsJob(annotation, 0, 0, (1.0, 1.0), BorderWeights(), weights)


def test_a_job_submitted_to_a_dead_worker_starts_another(
    worker: Worker, pump: Any, tmp_path: Path
) -> None:
    deaths = Deaths()
    worker.died.connect(deaths.note)
    worker.warm_up("cpu")
    pid = worker.pids["cpu"]
    psutil.Process(pid).kill()
    until(lambda: "cpu" not in worker.pids)
    # nobody has been told yet
    log = begin(worker, weights_job(tmp_path))
    assert worker.pids["cpu"] != pid
    pump.until(lambda: log.over and deaths)
    assert log.ended == [False]
    assert deaths[0].jobs == ()
    worker.died.disconnect(deaths.note)


BROKEN = """
from napari_unet.engine.network import network
import torch

def broken(self, window, averaging="none"):
    if averaging == "dihedral":
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    if window.shape[-1] > 0:
        raise torch.OutOfMemoryError("CUDA out of memory.")

network.Network.start = broken
"""


def test_errors_of_torch_reach_napari_and_memory_that_ran_out_is_marked(
    pump: Any, tmp_path: Path, model: str
) -> None:
    """In a worker in which each run of a network fails."""
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    broken = Worker(pump.post, environment={**ENVIRONMENT, "PYTHONPATH": str(tmp_path)})
    image = stored_image(tmp_path, discs()[0], "yx")
    job = predict_job(tmp_path / "out", model, image)
    turned = replace(job, settings=CPU.replace(averaging="dihedral"))
    failed = begin_and_fail(broken, pump, turned)
    assert failed.error == "RuntimeError"
    assert failed.sentence == "mat1 and mat2 shapes cannot be multiplied"
    assert not failed.out_of_memory
    full = begin_and_fail(broken, pump, job)
    assert full.error == "MemoryError"
    assert "the smallest tile does not fit" in full.sentence
    assert full.out_of_memory
    broken.close()


def test_closing_writes_a_checkpoint_and_leaves_no_process(
    pump: Any, tmp_path: Path, worker: Worker
) -> None:
    """Beside another worker, which does not notice."""
    bystander = begin(worker, train_job(tmp_path / "other", LONG))
    closing = Worker(pump.post, environment=ENVIRONMENT)
    deaths = Deaths()
    closing.died.connect(deaths.note)
    job = train_job(tmp_path / "mine", LONG)
    training = begin(closing, job)
    closing.warm_up("cpu")
    pump.until(lambda: training.steps > 3)
    pids = list(closing.pids.values())
    assert not set(pids) & set(worker.pids.values())
    closing.close(DEADLINE)
    assert all(gone(pid) for pid in pids)
    assert load_model(job.checkpoint).card.steps >= 3
    assert training.over
    assert not closing.busy
    with pytest.raises(RuntimeError, match="was closed"):
        closing.submit(job)
    before = bystander.steps
    pump.until(lambda: bystander.steps > before + 3)
    assert deaths == []
    cancel(bystander, pump)


NAPARI = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from example_jobs import SMALL, train_job
from napari_unet.core.events import StepDone
from napari_unet.session.worker.client import Worker

calls = []
worker = Worker(calls.append, environment={{"OMP_NUM_THREADS": "1"}})
handle = worker.submit(train_job(Path({folder!r}), SMALL.replace(steps=100000)))
handle.event.connect(lambda e: isinstance(e, StepDone) and steps.append(e.step))
steps = []
told = False
while True:
    while calls:
        calls.pop(0)()
    if steps and steps[-1] > 3 and not told:
        told = True
        print(worker.pids["network"], "torch" in sys.modules, flush=True)
    time.sleep(0.01)
"""


def test_a_worker_whose_napari_is_killed_writes_a_checkpoint_and_ends(
    tmp_path: Path,
) -> None:
    tests = str(Path(__file__).parents[1])
    script = NAPARI.format(tests=tests, folder=str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as napari:
        assert napari.stdout is not None
        pid, torch_loaded = napari.stdout.readline().split()
        assert torch_loaded == "False"
        napari.kill()
    until(lambda: gone(int(pid)))
    assert load_model(tmp_path / "checkpoint.safetensors").card.steps > 3


def test_a_process_that_cannot_start_is_told_with_its_last_words(pump: Any) -> None:
    worker = Worker(pump.post, environment={"PYTHONHOME": "/nowhere"})
    deaths = Deaths()
    worker.died.connect(deaths.note)
    log = begin(worker, FreeMemoryJob())
    pump.until(lambda: deaths)
    assert log.handle in deaths[0].jobs
    (failed,) = log.failed
    for sentence in (failed.sentence, deaths[0].sentence):
        assert "could not be started (status 1)" in sentence
        assert "It said: " in sentence
    worker.close()
    assert len(deaths) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.parametrize("sent", ["SIGTERM", "SIGHUP"])
def test_a_worker_that_is_asked_to_end_writes_a_checkpoint_and_fails_its_jobs(
    worker: Worker, pump: Any, tmp_path: Path, sent: str
) -> None:
    job = train_job(tmp_path, LONG)
    training = begin(worker, job)
    deaths = Deaths()
    worker.died.connect(deaths.note)
    pump.until(lambda: training.steps > 3)
    number = getattr(signal, sent)
    os.kill(worker.pids["network"], number)
    pump.until(lambda: deaths)
    worker.died.disconnect(deaths.note)
    assert training.ended == []
    (failed,) = training.failed
    assert f"ended from outside (signal {int(number)})" in failed.sentence
    assert "goes on from its last checkpoint" in failed.sentence
    assert load_model(job.checkpoint).card.steps >= training.steps
    resumed = begin(worker, replace(job, resume=True))
    pump.until(lambda: resumed.steps > training.steps)
    cancel(resumed, pump)


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_ctrl_c_in_the_terminal_of_napari_ends_no_training(
    worker: Worker, pump: Any, tmp_path: Path
) -> None:
    training = begin(worker, train_job(tmp_path, LONG))
    pump.until(lambda: training.steps > 3)
    os.kill(worker.pids["network"], signal.SIGINT)
    step = training.steps
    pump.until(lambda: training.steps > step + 3)
    cancel(training, pump)


def test_a_process_that_the_system_does_not_start_fails_its_job(
    pump: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(pump.post)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    worker.warm_up("cpu")
    log = begin(worker, FreeMemoryJob())
    assert log.handle.running
    log.handle.cancel()
    pump.until(lambda: log.over)
    assert "could not be started: " in log.failed[0].sentence
    if os.name == "posix":  # Windows does not name it
        assert "/nowhere/python" in log.failed[0].sentence
    assert not worker.busy
    worker.close()


HOLD = """
import os, signal, sys
if "--kind" in sys.orig_argv:
    {what}
"""


@pytest.mark.parametrize(
    ("what", "words"),
    [
        pytest.param(
            "os.kill(os.getpid(), signal.SIGKILL)",
            "from outside while it started",
            marks=pytest.mark.skipif(os.name != "posix", reason="sends signals"),
        ),
        ("os._exit(3)", "could not be started (status 3)"),
        ("raise SystemExit('no torch here')", "no torch here."),
    ],
)
def test_a_process_that_ends_before_it_connects_fails_its_job(
    pump: Any, tmp_path: Path, what: str, words: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HOLD.format(what=what))
    worker = Worker(pump.post, environment={"PYTHONPATH": str(tmp_path)})
    log = begin(worker, FreeMemoryJob())
    pump.until(lambda: log.over)
    assert words in log.failed[0].sentence
    worker.close()


@pytest.mark.skipif(sys.platform == "win32", reason="connects to a socket")
@pytest.mark.parametrize("can_be_killed", [True, False])
def test_a_process_that_hangs_while_it_starts_is_ended_and_fails_its_jobs(
    pump: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_be_killed: bool
) -> None:
    """A silent stranger does not pass for it, and it is waited for no longer."""
    pythonpath = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), pythonpath]))
    hang = tmp_path / "sitecustomize.py"
    hang.write_text(HOLD.format(what="print('A drive.', flush=True); signal.pause()"))
    worker = Worker(pump.post, environment=ENVIRONMENT)
    deaths = Deaths()
    worker.died.connect(deaths.note)
    logs = [begin(worker, weights_job(tmp_path / name)) for name in ("a", "b")]
    process = worker._processes["cpu"]
    with (
        monkeypatch.context() as patched,
        socket.socket(socket.AF_UNIX) as stranger,
    ):
        stranger.connect(process._listener.address)
        until(lambda: process._printed)
        assert all(log.handle.running for log in logs)
        if not can_be_killed:
            patched.setattr(process._process, "kill", lambda: None)
            patched.setattr(worker_process, "_PARTING", 0.0)
        # that was long enough
        patched.setattr(worker_process, "_STARTING", 0.0)
        pump.until(lambda: deaths)
        told = "The worker process had not started after 0 s and was ended."
        (death,) = deaths
        assert death.sentence.startswith(f"{told} It said: A drive.")
    assert death.jobs == tuple(log.handle for log in logs)
    for log in logs:
        assert log.over
        assert log.ended == []
        (failed,) = log.failed
        assert failed.error == WORKER_ENDED
        assert failed.sentence.startswith(f"{told} It said: A drive. It starts again")
        assert not failed.out_of_memory
    assert process.alive != can_be_killed
    process.kill()
    hang.unlink()
    again = begin(worker, weights_job(tmp_path / "c"))
    pump.until(lambda: again.over)
    assert again.ended == [False]
    worker.close()
    assert len(deaths) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="connects to a socket")
@pytest.mark.parametrize("says", ["nothing", "half", "nonsense", "goes"])
def test_strangers_at_the_socket_hold_up_nobody(
    pump: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    """They are there before the process, which starts when they have had their say."""
    pythonpath = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), pythonpath]))
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    (tmp_path / "sitecustomize.py").write_text(
        HOLD.format(what=f"open({str(gate)!r}).read()")
    )
    worker = Worker(pump.post, environment=ENVIRONMENT)
    log = begin(worker, weights_job(tmp_path / "job"))
    address = worker._processes["cpu"]._listener.address
    strangers = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for stranger in strangers:
        stranger.connect(address)
        if says == "half":
            stranger.sendall(b"\0\0")
        elif says == "nonsense":
            stranger.sendall(b"\0\0\0\4nono" * 3)
        elif says == "goes":
            stranger.close()
    gate.write_text("go on")
    pump.until(lambda: log.over)
    assert log.ended == [False]
    # nobody else is let in from now on
    with (
        pytest.raises(OSError, match=r"No such|refused"),
        socket.socket(socket.AF_UNIX) as late,
    ):
        late.connect(address)
    for stranger in strangers:
        stranger.close()
    worker.close()


def test_the_system_counts_the_processes_it_ends_for_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, container = tmp_path / "vmstat", tmp_path / "memory.events"
    machine.write_text("nr_free_pages 7\noom_kill 3\noom_kill_x 50\n")
    container.write_text("low 0\noom 9\noom_kill 2\n")
    monkeypatch.setattr(worker_process, "_OOM_COUNTERS", (machine, container))
    assert worker_process.processes_ended_for_memory() == 5
    container.unlink()
    assert worker_process.processes_ended_for_memory() == 3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_killed_while_the_system_ran_out_of_memory_is_told_so(
    pump: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = tmp_path / "vmstat"
    counter.write_text("oom_kill 3\n")
    monkeypatch.setattr(worker_process, "_OOM_COUNTERS", (counter,))
    worker = Worker(pump.post, environment=ENVIRONMENT)
    deaths = Deaths()
    worker.died.connect(deaths.note)
    worker.warm_up("cpu")
    pump.until(lambda: worker.status is not None)
    counter.write_text("oom_kill 4\n")
    os.kill(worker.pids["cpu"], signal.SIGKILL)
    pump.until(lambda: deaths)
    assert "ran out of memory" in deaths[0].sentence
    assert "starts again with the next job" in deaths[0].sentence
    worker.close()


def test_a_job_is_sent_as_it_is_when_submitted(
    worker: Worker, pump: Any, tmp_path: Path, model: str
) -> None:
    # another error from Python 3.14 on, other words from 3.13 on
    with pytest.raises((AttributeError, pickle.PicklingError), match="local object"):
        worker.submit(replace(LoadModelJob(model), settings=lambda: None))  # type: ignore[arg-type]
    good = begin(worker, LoadModelJob(model, CPU))
    pump.until(lambda: good.over)
    assert good.failed == []
    assert not worker.busy
    assert stored(tmp_path, "a", np.arange(3)).open().tolist() == [0, 1, 2]


def test_an_idle_worker_that_rests_gives_its_memory_back_and_starts_again(
    pump: Any, tmp_path: Path
) -> None:
    worker = Worker(pump.post, environment=ENVIRONMENT)
    deaths = Deaths()
    worker.died.connect(deaths.note)
    try:
        worker.warm_up("cpu")
        pump.until(lambda: "cpu" in worker.pids)
        pid = worker.pids["cpu"]
        worker.stop_idle()
        assert worker.pids == {}
        assert worker.status is None
        pump.until(lambda: gone(pid))
        assert worker.status is None
        log = begin(worker, weights_job(tmp_path))
        pump.until(lambda: log.over)
        assert log.of(events.WeightsComputed)
        assert deaths == []
    finally:
        worker.close()


def test_a_worker_at_work_does_not_rest(pump: Any, tmp_path: Path) -> None:
    worker = Worker(pump.post, environment=ENVIRONMENT)
    try:
        log = begin(worker, weights_job(tmp_path))
        worker.stop_idle()
        assert "cpu" in worker.pids
        pump.until(lambda: log.over)
        assert log.of(events.WeightsComputed)
    finally:
        worker.close()
