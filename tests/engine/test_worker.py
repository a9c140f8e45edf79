"""The inside of the worker, in this process: turns, messages, errors, comparisons."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import import_module
from itertools import count
from math import prod
from multiprocessing import Pipe
from threading import Event, Thread
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import torch
from torch.utils.flop_counter import FlopCounterMode

from example_jobs import CPU, SMALL, predict_job, stored_image
from example_models import cropping_model, random_model
from napari_unet.core import events, jobs, messages
from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.images.image import Field, Image
from napari_unet.core.images.normalisation import measure
from napari_unet.core.jobs import (
    LIVE,
    Job,
    LoadModelJob,
    PredictFolderJob,
    PredictJob,
    TrainJob,
)
from napari_unet.core.network.architecture import paper, u_shape
from napari_unet.core.settings import Segmentation
from napari_unet.core.training.training_set import Example, HeldOut
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.network.network import prepare
from napari_unet.engine.network.unet import UNet
from napari_unet.engine.worker import (
    folder_job,
    model_jobs,
    prediction_job,
)
from napari_unet.engine.worker.__main__ import JobStarter
from napari_unet.engine.worker.channel import Channel
from napari_unet.engine.worker.inbox import JobInbox, Task
from napari_unet.engine.worker.model_cache import Context, ModelCache
from napari_unet.engine.worker.model_comparison import (
    Figures,
    comparable,
    compare,
    judge,
    unknown,
)
from napari_unet.engine.worker.scheduler import Scheduler
from napari_unet.io.export import write_labels, write_probabilities
from napari_unet.io.images import read_image, read_labels
from napari_unet.io.model_file import save_model
from napari_unet.io.objects.catalogue import FORMATS
from waiting import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_unet.core.model import Model
    from napari_unet.engine.worker.scheduler import Ticks

NARROW = u_shape(ndim=2, channels=1, classes=3, width=4, depth=2)
TICK = events.ValidationTile()


class Work:
    """A scheduler that runs in a thread, with jobs that are functions of the task."""

    def __init__(self, jobs: dict[int, Callable[[Task], Ticks]]) -> None:
        self.pipe, far = Pipe()
        self.gave_up: list[float] = []
        channel = Channel(far, os.getpid())
        self.inbox = JobInbox(
            channel, lambda: self.gave_up.append(perf_counter()), grace=0.3
        )
        self.inbox.start()
        scheduler = Scheduler(self.inbox, channel, lambda task: jobs[task.number](task))
        self.thread = Thread(target=scheduler.run, daemon=True)
        self.thread.start()

    def submit(self, number: int, job: Job | None = None) -> None:
        self.pipe.send(messages.Submit(number, job or Job()))

    def receive(self, kind: type[messages.Message], number: int) -> Any:
        """Return the next message of a kind about a job, skipping others."""
        while self.pipe.poll(DEADLINE):
            message = self.pipe.recv()
            if isinstance(message, kind) and message.job == number:
                return message
        pytest.fail(f"no {kind.__name__} about {number} came")

    def close(self) -> None:
        self.pipe.send(messages.Shutdown(0))
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()


def ticking(seconds: float, ticks: list[float], limit: int = 10**9) -> Any:
    def job(task: Task) -> Ticks:
        for _ in range(limit):
            sleep(seconds)
            ticks.append(perf_counter())
            yield TICK

    return job


class Turns:
    """A scheduler whose turns the test gives, in a time that only its jobs take."""

    def __init__(self) -> None:
        self.now = 0.0
        self.took: list[int] = []
        self._jobs: dict[int, tuple[float, int]] = {}
        self._near, far = Pipe()
        channel = Channel(far, os.getpid())
        self.inbox = JobInbox(channel, lambda: None)
        self._scheduler = Scheduler(self.inbox, channel, self._job, lambda: self.now)

    def submit(
        self, number: int, seconds: float, ticks: int = 10**9, job: Job | None = None
    ) -> None:
        """Have a job come in whose ticks take some seconds each."""
        self._jobs[number] = seconds, ticks
        self.tell(messages.Submit(number, job or Job()))

    def tell(self, message: messages.Message) -> None:
        self.inbox._note(message)
        while self._near.poll():
            self._near.recv()

    def give(self, turns: int) -> list[int]:
        """Return which jobs took the turns."""
        before = len(self.took)
        for _ in range(turns):
            self._scheduler.turn()
        return self.took[before:]

    def _job(self, task: Task) -> Ticks:
        seconds, ticks = self._jobs[task.number]
        for _ in range(ticks):
            self.now += seconds
            self.took.append(task.number)
            yield None


def preview() -> PredictJob:
    return PredictJob(LIVE, None, None, preview=True)  # type: ignore[arg-type]


def training() -> TrainJob:
    return TrainJob((), (), (), SMALL, "", "")


def test_two_jobs_share_the_time() -> None:
    work = Turns()
    work.submit(1, 0.03)
    work.submit(2, 0.01)
    took = work.give(400)
    for end in range(4, 400):
        slow, quick = (took[:end].count(number) for number in (1, 2))
        assert abs(0.03 * slow - 0.01 * quick) < 0.031
    assert took.count(1) == pytest.approx(100, abs=1)


def test_previews_take_a_small_share_while_a_network_trains() -> None:
    work = Turns()
    work.submit(1, 0.02, job=training())
    # one after the other, as a live preview comes
    for number in range(2, 60):
        work.submit(number, 0.01, ticks=3, job=preview())
        while number in {task.number for task in work.inbox._tasks.values()}:
            work.give(1)
    steps = work.took.count(1)
    share = 0.01 * (len(work.took) - steps) / (0.02 * steps)
    assert share == pytest.approx(0.05, abs=0.01)


def test_a_preview_alone_has_all_the_time() -> None:
    work = Turns()
    work.submit(1, 0.01, job=training())
    work.tell(messages.Pause(1))
    work.submit(2, 0.01, job=preview())
    assert work.give(20) == [2] * 20


def test_a_job_that_comes_in_has_its_first_turn_at_once() -> None:
    work = Turns()
    work.submit(1, 0.05)
    assert work.give(20) == [1] * 20
    work.submit(2, 0.05)
    # and it is not owed the time before it came
    assert work.give(1) == [2]
    assert abs(work.give(40).count(2) - 20) <= 1


def test_who_was_paused_does_not_get_the_time_back() -> None:
    work = Turns()
    work.submit(1, 0.02)
    work.submit(2, 0.02)
    work.give(4)
    work.tell(messages.Pause(1))
    assert work.give(40) == [2] * 40
    work.tell(messages.Resume(1))
    assert abs(work.give(40).count(1) - 20) <= 1


def test_messages_are_acknowledged_while_a_step_runs() -> None:
    begun, go_on = Event(), Event()

    def job(task: Task) -> Ticks:
        while True:
            begun.set()
            go_on.wait(DEADLINE)
            yield TICK

    work = Work({1: job})
    work.submit(1)
    assert begun.wait(DEADLINE)
    for message in (messages.Pause, messages.Resume, messages.Finish, messages.Cancel):
        work.pipe.send(message(1))
        work.receive(messages.Acknowledged, 1)
    go_on.set()
    assert work.receive(messages.Ended, 1).cancelled
    work.close()


def test_a_cancelled_job_is_closed_before_its_end_is_told() -> None:
    closed: list[int] = []

    def job(task: Task) -> Ticks:
        try:
            while True:
                sleep(0.01)
                yield TICK
        finally:
            closed.append(task.number)

    work = Work({1: job, 2: job})
    work.submit(1)
    # without a turn there would be nothing to close
    work.receive(messages.Happened, 1)
    work.submit(2)
    work.receive(messages.Happened, 2)
    work.pipe.send(messages.Cancel(1))
    assert work.receive(messages.Ended, 1).cancelled
    assert closed == [1]
    work.receive(messages.Happened, 2)
    work.close()
    assert closed == [1, 2]


def test_a_job_that_waits_its_first_turn_can_be_cancelled() -> None:
    work = Work({1: ticking(0.2, []), 2: ticking(0.01, [])})
    work.submit(1)
    work.submit(2)
    work.pipe.send(messages.Pause(2))
    work.pipe.send(messages.Cancel(2))
    assert work.receive(messages.Ended, 2).cancelled
    work.close()


def test_work_for_later_begins_when_no_job_was_there_for_a_while() -> None:
    ticks: list[float] = []
    work = Work({n: ticking(0.02, ticks, limit=10) for n in (1, 2)})
    work.submit(1)
    work.receive(messages.Happened, 1)
    rested: list[tuple[bool, float]] = []
    waiter = Thread(
        target=lambda: rested.append((work.inbox.rest(0.4), perf_counter()))
    )
    waiter.start()
    work.receive(messages.Ended, 1)
    work.submit(2)
    work.receive(messages.Ended, 2)
    waiter.join(DEADLINE)
    (told, at) = rested[0]
    assert told
    # where the second job came too late for it, the first was the last
    assert at - max(tick for tick in ticks if tick < at) > 0.38
    work.close()


def test_who_waits_for_rest_is_told_of_the_end() -> None:
    work = Work({1: ticking(0.01, [])})
    work.submit(1)
    rested: list[bool] = []
    waiter = Thread(target=lambda: rested.append(work.inbox.rest(60)))
    waiter.start()
    work.close()
    waiter.join(DEADLINE)
    assert rested == [False]


def test_a_tick_without_an_event_tells_nothing() -> None:
    def job(task: Task) -> Ticks:
        yield None
        yield TICK
        yield None

    work = Work({1: job})
    work.submit(1)
    assert isinstance(work.pipe.recv(), messages.Happened)
    assert work.pipe.recv() == messages.Ended(1, cancelled=False)
    work.close()


@pytest.mark.parametrize(
    ("error", "told", "full"),
    [
        (ValueError("no such thing."), "no such thing.", False),
        (RuntimeError("mat1 and mat2 cannot be multiplied"), "mat1 and mat2", False),
        (torch.OutOfMemoryError("CUDA out of memory."), "CUDA out of memory", True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "can't", True),
        (MemoryError("too much"), "too much", True),
        (MemoryError(), "MemoryError without an explanation", True),
        (StopIteration("lost"), "generator raised StopIteration", False),
    ],
)
def test_an_error_ends_its_job_and_no_other(
    error: Exception, told: str, full: bool
) -> None:
    def job(task: Task) -> Ticks:
        yield TICK
        raise error

    work = Work({1: ticking(0.01, []), 2: job})
    work.submit(1)
    work.submit(2)
    failed = work.receive(messages.Failed, 2)
    assert told in failed.sentence
    assert failed.out_of_memory is full
    assert failed.error in failed.traceback
    work.receive(messages.Happened, 1)
    work.close()


def test_of_what_torch_says_only_the_first_line_is_told() -> None:
    def job(task: Task) -> Ticks:
        raise RuntimeError("a kernel failed.\n\nCompile with more checks to find it.")
        yield

    work = Work({1: job})
    work.submit(1)
    failed = work.receive(messages.Failed, 1)
    assert failed.sentence == "a kernel failed."
    assert "more checks" in failed.traceback
    work.close()


def test_an_error_while_closing_is_told() -> None:
    def job(task: Task) -> Ticks:
        try:
            while True:
                yield TICK
        finally:
            raise OSError("the disk is full.")

    work = Work({1: job})
    work.submit(1)
    work.receive(messages.Happened, 1)
    work.pipe.send(messages.Cancel(1))
    assert work.receive(messages.Failed, 1).sentence == "the disk is full."
    work.close()


def test_an_event_that_cannot_be_sent_fails_its_job() -> None:
    def job(task: Task) -> Ticks:
        yield lambda: None  # type: ignore[misc]

    work = Work({1: job})
    work.submit(1)
    assert "pickle" in work.receive(messages.Failed, 1).traceback.lower()
    work.close()


def test_when_napari_is_gone_jobs_are_closed_and_the_end_is_forced_later() -> None:
    closed: list[float] = []

    def job(task: Task) -> Ticks:
        try:
            while True:
                sleep(0.01)
                yield TICK
        finally:
            closed.append(perf_counter())

    work = Work({1: job})
    work.submit(1)
    work.receive(messages.Happened, 1)
    gone = perf_counter()
    work.pipe.close()
    work.thread.join(DEADLINE)
    assert not work.thread.is_alive()
    assert len(closed) == 1
    until(lambda: work.gave_up)
    assert work.gave_up[0] - gone > 0.29


def test_corrections_and_the_end_asked_for_reach_their_job() -> None:
    seen: list[Any] = []

    def job(task: Task) -> Ticks:
        while not task.finishing:
            sleep(0.01)
            yield TICK
        seen.extend(task.corrections)

    work = Work({1: job})
    work.submit(1)
    correction = ("a", "correction")
    work.pipe.send(messages.Correct(1, correction))  # type: ignore[arg-type]
    work.pipe.send(messages.Pause(1))
    work.receive(messages.Acknowledged, 1)
    # also a paused job ends
    work.pipe.send(messages.Finish(1))
    assert work.receive(messages.Ended, 1) == messages.Ended(1, cancelled=False)
    assert seen == [correction]
    work.close()


@pytest.mark.parametrize(
    "kind",
    [k for k in vars(jobs).values() if isinstance(k, type) and issubclass(k, Job)][1:],
)
def test_each_job_names_a_function_of_the_worker(kind: type[Job]) -> None:
    module, name = kind.function.split(".")
    found = import_module(f"napari_unet.engine.worker.{module}")
    assert callable(getattr(found, name))


def test_a_job_of_the_other_worker_is_refused() -> None:
    with pytest.raises(ValueError, match="the cpu worker does not take TrainJob"):
        JobStarter("cpu")(Task(1, training()))


@pytest.fixture
def cache() -> ModelCache:
    return ModelCache()


def context(cache: ModelCache, job: Job) -> Context:
    return Context(Task(1, job), cache)


@pytest.fixture
def model() -> Model:
    return random_model(NARROW)


@pytest.fixture
def model_path(model: Model, tmp_path: Path) -> str:
    save_model(model, tmp_path / "model.safetensors")
    return str(tmp_path / "model.safetensors")


def done(job: PredictJob, cache: ModelCache) -> list[Any]:
    return list(prediction_job.run(job, context(cache, job)))


@pytest.mark.parametrize("axes", ["yx", "zyx", "tzyx", "cyx", "yxc", "tcyx"])
def test_probabilities_classes_and_entropy_are_those_of_the_model(
    axes: str, tmp_path: Path, cache: ModelCache, rng: np.random.Generator
) -> None:
    sizes = {"t": 2, "z": 3, "c": 2, "y": 50, "x": 60}
    table = NARROW.replace(channels=2 if "c" in axes else 1)
    model = random_model(table)
    save_model(model, tmp_path / "m.safetensors")
    image = stored_image(tmp_path, rng.random([sizes[a] for a in axes]), axes)
    job = predict_job(tmp_path / "out", str(tmp_path / "m.safetensors"), image, 3)
    done(job, cache)
    own = "c" + axes.replace("c", "")
    *_, last = predict(model, image.open(), axes=own, settings=CPU)
    expected = last.probabilities  # type: ignore[attr-defined]
    found = job.probabilities.open()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert job.classes is not None
    assert job.entropy is not None
    np.testing.assert_array_equal(job.classes.open(), found.argmax(axis=0))
    entropy = -(expected * np.log(expected)).sum(axis=0) / np.log(3)
    np.testing.assert_allclose(job.entropy.open(), entropy, atol=1e-5)


def test_a_volume_network_predicts_a_plane_too(
    tmp_path: Path, cache: ModelCache, rng: np.random.Generator
) -> None:
    table = u_shape(ndim=3, channels=1, classes=2, width=4, depth=1)
    save_model(random_model(table), tmp_path / "m.safetensors")
    image = stored_image(tmp_path, rng.random((20, 24)), "yx")
    job = predict_job(tmp_path / "out", str(tmp_path / "m.safetensors"), image)
    done(job, cache)
    assert job.classes is not None
    found = job.probabilities.open()
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(job.classes.open(), found.argmax(axis=0))


def test_arrays_hold_a_tile_before_its_event_comes(
    tmp_path: Path, cache: ModelCache, model_path: str, rng: np.random.Generator
) -> None:
    image = stored_image(tmp_path, rng.random((3, 90, 100)), "zyx")
    job = predict_job(
        tmp_path / "out",
        model_path,
        image,
        3,
        places=((0, 2), (0, 0)),
        region=(slice(10, 80), slice(20, 90)),
        focus=(50.0, 50.0),
        settings=CPU.replace(tile=20),
    )
    assert job.classes is not None
    out, written = job.probabilities.open(), np.zeros((3, 90, 100), bool)
    events_ = []
    for event in prediction_job.run(job, context(cache, job)):
        events_.append(event)
        if isinstance(event, events.TileDone):
            written[(event.z, *event.box)] = True
        np.testing.assert_array_equal(out.sum(axis=0) > 0, written)
    tiles = [e for e in events_ if isinstance(e, events.TileDone)]
    assert len(tiles) > 20
    assert {t.z for t in tiles[: len(tiles) // 2]} == {2}
    assert written[0].sum() == written[2].sum() == 70 * 70
    last = events_[-1]
    assert isinstance(last, events.PredictionFinished)
    assert last.probabilities is None


def test_entropy_is_one_where_nothing_is_known_and_zero_where_all_is() -> None:
    even = np.full((4, 1), 0.25, np.float32)
    sure = np.array([[1], [0], [0], [0]], np.float32)
    assert prediction_job.uncertainty(even)[0] == pytest.approx(1)
    assert prediction_job.uncertainty(sure)[0] == 0


def test_a_small_tile_at_the_focus_comes_first_and_changes_nothing(
    tmp_path: Path, cache: ModelCache, model_path: str, rng: np.random.Generator
) -> None:
    image = stored_image(tmp_path, rng.random((1200, 1200)), "yx")
    job = predict_job(tmp_path / "out", model_path, image, 3, focus=(650.0, 500.0))
    network = cache.network(model_path, CPU)[0]
    # as slow as this, a tile of 0.6 s is 400 pixels large
    cache.speed.note(network, NARROW.flops((404, 404)), 0.6)
    tiles = [e for e in done(job, cache) if isinstance(e, events.TileDone)]
    first, second = tiles[:2]
    area = [prod(b.stop - b.start for b in tile.box) for tile in (first, second)]
    assert area[0] <= area[1] / 2
    assert first.progress == 0.0
    assert not first.field_done
    assert all(
        b.start <= f < b.stop for b, f in zip(first.box, (650, 500), strict=True)
    )
    assert tiles[-1].progress == 1.0
    assert tiles[-1].field_done
    *_, whole = predict(network, image.open(), settings=CPU.replace(tile=1300))
    np.testing.assert_allclose(
        job.probabilities.open(),
        whole.probabilities,  # type: ignore[attr-defined]
        atol=1e-5,
    )


def test_tiles_shrink_with_the_speed_of_the_machine_but_not_below_sense(
    tmp_path: Path, cache: ModelCache, model_path: str, rng: np.random.Generator
) -> None:
    image = stored_image(tmp_path, rng.random((900, 900)), "yx")
    network = cache.network(model_path, CPU)[0]
    counts = []
    for seconds in (0.01, 5.0, 500.0):
        cache.speed = type(cache.speed)()
        cache.speed.note(network, NARROW.flops((404, 404)), seconds)
        job = predict_job(tmp_path / "out", model_path, image, 3, preview=True)
        counts.append(len(done(job, cache)))
    assert counts[0] == 2
    # with a halo of 20 pixels, 22 are the fewest that are not lost in what is read
    assert 20 < counts[1] <= counts[2] < (900 / 22) ** 2


def test_how_fast_the_network_is_is_learnt_from_its_tiles(
    tmp_path: Path,
    cache: ModelCache,
    model_path: str,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = cache.network(model_path, CPU)[0]
    guess = cache.speed.rate(network)
    image = stored_image(tmp_path, rng.random((300, 300)), "yx")
    job = predict_job(
        tmp_path / "out", model_path, image, 3, settings=CPU.replace(tile=50)
    )
    now = count()
    monkeypatch.setattr(prediction_job, "perf_counter", lambda: next(now) / 4)
    done(job, cache)
    measured = cache.speed.rate(network)
    assert measured != guess
    # each tile of 50 pixels took a quarter of a second
    assert measured == pytest.approx(NARROW.flops((52, 52)) / 0.25)


def test_the_live_network_is_only_there_while_a_training_runs(
    tmp_path: Path, cache: ModelCache, rng: np.random.Generator
) -> None:
    image = stored_image(tmp_path, rng.random((60, 60)), "yx")
    with pytest.raises(ValueError, match="no training is running"):
        done(predict_job(tmp_path / "out", LIVE, image), cache)


def test_a_model_is_read_once_and_again_when_its_file_changes(
    model_path: str, model: Model
) -> None:
    models = ModelCache()
    first, card = models.network(model_path, CPU)
    assert models.network(model_path, CPU)[0] is first
    assert card.name == "model"
    assert models.network(model_path, CPU.replace(precision="bf16"))[0] is not first
    save_model(random_model(NARROW, seed=1), model_path)
    os.utime(model_path, ns=(1, 1))
    assert models.network(model_path, CPU)[0] is not first
    models.free()
    with pytest.raises(FileNotFoundError, match="no model file"):
        models.network(model_path + "x", CPU)


def test_the_networks_used_last_are_kept(model: Model, tmp_path: Path) -> None:
    models = ModelCache()
    paths = [str(tmp_path / f"{n}.safetensors") for n in range(5)]
    for path in paths:
        save_model(model, path)
    kept = models.network(paths[0], CPU)[0]
    for path in paths[1:]:
        models.network(path, CPU)
        assert models.network(paths[0], CPU)[0] is kept
    dropped = models.network(paths[1], CPU)[0]
    assert models.network(paths[1], CPU)[0] is dropped


def test_loading_a_model_tells_its_card_and_the_device(
    model_path: str, cache: ModelCache
) -> None:
    job = LoadModelJob(model_path, CPU)
    *_, loaded = model_jobs.load_model(job, context(cache, job))
    assert isinstance(loaded, events.ModelLoaded)
    assert loaded.card.architecture == NARROW
    assert "cpu" in loaded.device


def test_grey_values_are_measured_again_when_the_file_changes(tmp_path: Path) -> None:
    cache = ModelCache()
    image = stored_image(tmp_path, np.zeros((30, 30)), "yx")
    cache.scales(image, "structure")[0, None] = measure(image.open())
    assert (0, None) in cache.scales(image, "structure")
    # models of another rule have other values
    assert (0, None) not in cache.scales(image, "frame")
    os.utime(image.channels[0].path, ns=(5, 5))
    assert (0, None) not in cache.scales(image, "structure")


def test_the_work_of_a_tile_is_what_torch_counts() -> None:
    for table in (
        NARROW,
        paper(width=4),
        u_shape(ndim=3, channels=2, classes=3, width=3, depth=2),
    ):
        size = table.min_output
        with torch.device("meta"):
            module, image = (
                UNet(table),
                torch.empty(1, table.channels, *table.min_input),
            )
        with FlopCounterMode(display=False) as counter:
            module(image)
        assert 2 * table.flops(size) == counter.get_total_flops()


def test_a_folder_is_predicted_file_by_file(
    tmp_path: Path, cache: ModelCache, model_path: str, rng: np.random.Generator
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a", "b"):
        labels = rng.integers(0, 200, (40, 44)).astype(np.uint8)
        write_labels(source / f"{name}.tif", labels, "yx")
    (source / "broken.tif").write_bytes(b"no image")
    (source / "scan.svs").write_bytes(b"not read")
    write_probabilities(source / "wrong.tif", rng.random((2, 40, 44)), "cyx")
    job = PredictFolderJob(model_path, str(source), str(target), CPU)

    def run() -> list[events.FilePredicted]:
        made = list(folder_job.run(job, context(cache, job)))
        notice = made[0]
        assert isinstance(notice, events.Notice)
        assert notice.lasting
        assert notice.sentence.endswith("left out: 1 .svs.")
        return [e for e in made if isinstance(e, events.FilePredicted)]

    told = run()
    assert [os.path.basename(e.path) for e in told] == [
        "a.tif",
        "b.tif",
        "broken.tif",
        "wrong.tif",
    ]
    assert [e.progress for e in told] == [0.25, 0.5, 0.75, 1.0]
    assert [e.problem is None for e in told] == [True, True, False, False]
    assert "trained on 1 channel" in (told[3].problem or "")
    cells = np.asarray(read_labels(target / "instances" / "a.tif").data)
    assert cells.shape == (40, 44)
    assert cells.max() == told[0].cells
    # what is there is not done again
    assert [(e.there, e.problem) for e in run()][:2] == [(True, None)] * 2
    job = PredictFolderJob(
        model_path, str(source), str(target), CPU, Segmentation(threshold=0.9)
    )
    assert all("use another folder." in (e.problem or "") for e in run()[:2])


def test_a_large_image_of_a_folder_shows_how_far_it_is() -> None:
    def made() -> Any:
        box = (slice(0, 1),)
        for number, name in enumerate(("a", "b"), start=1):
            yield events.FileBegun(name, number, 2)
            for k in range(1, 1001):
                yield events.TileDone(0, 0, box, k / 1000, field_done=False)
            yield events.BlockDone("tracks", 0.5)  # of which nothing is known
            yield events.BlockDone("cells", 1.0)
            yield events.FilePredicted(name, 3, number / 2)

    told = [e for e in folder_job.overall(made()) if e is not None]
    shares = [
        e.progress
        for e in told
        if isinstance(e, events.BlockDone | events.FilePredicted)
    ]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert 60 < len(told) < 110  # enough to see it move, too few to be in the way
    assert [e.path for e in told if isinstance(e, events.FilePredicted)] == ["a", "b"]


def test_the_cells_of_a_folder_are_written_for_other_programs(
    cache: ModelCache, model_path: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    write_labels(source / "a.tif", rng.integers(0, 200, (40, 44)).astype("u1"), "yx")
    with tifffile.TiffWriter(source / "b.tif") as file:  # two images of two channels
        for side in (40, 44):
            file.write(
                rng.integers(0, 200, (2, side, side)).astype("u1"),
                photometric="minisblack",
                metadata={"axes": "CYX"},
            )
    cells = Segmentation(threshold=0.2, min_size=0)
    kinds = ("table", "geojson", "coco")
    job = PredictFolderJob(model_path, str(source), str(target), CPU, cells, kinds, 1)
    every = list(folder_job.run(job, context(cache, job)))
    (told, *others) = [e for e in every if isinstance(e, events.FilePredicted)]
    assert [os.path.basename(e.path) for e in others] == ["b.tif#1", "b.tif#2"]
    assert [e.problem for e in (told, *others)] == [None] * 3
    image = read_image(source / "a.tif")
    for kind in ("geojson", "coco"):
        file = target / kind / f"a{FORMATS[kind].suffixes[0]}"
        objects = FORMATS[kind].read(file, image)
        assert len(np.unique(objects.labels.read())) - 1 == told.cells > 0
    rows = (target / "table" / "a.csv").read_text().splitlines()
    assert len(rows) - 1 == told.cells
    assert not (target / "instances").exists()


def held_out(truth: np.ndarray) -> tuple[HeldOut, np.ndarray]:
    """The right half of a plane, whose pixels are the truth of a cropping model."""
    image = Image(np.stack([1.0 - (truth > 1), truth > 1]).astype("f4"), "cyx")
    classes = np.where(truth == 0, IGNORED, np.maximum(truth, 1) - 1)
    classes = np.minimum(classes, 1).astype(np.uint8)
    classes[truth == 0] = IGNORED
    field = Field(image)
    example = Example(field, measure(image), classes, np.zeros(truth.shape, "f4"))
    box = (slice(0, 60), slice(30, 90))
    instances = np.where(truth > 1, truth, 0)[box].astype(np.int32)
    return HeldOut(example, box), instances


def judged(truth: np.ndarray, labels: np.ndarray) -> Figures:
    """Judge a model that sees `labels` by what `truth` says."""
    model = cropping_model()
    seen, _ = held_out(labels)
    known, instances = held_out(truth)
    part = HeldOut(replace(seen.example, classes=known.example.classes), known.box)
    card = model.card.replace(segmentation=Segmentation(min_size=10, ridge=0))
    steps = judge(prepare(model, "cpu", "fp32"), card, [part], [instances])
    return last_value(steps)


def last_value(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def four_cells() -> np.ndarray:
    truth = np.ones((60, 90), np.int32)
    for number, (y, x) in enumerate([(5, 35), (5, 60), (35, 35), (35, 60)], start=2):
        truth[y : y + 12, x : x + 12] = number
    return truth


def test_a_perfect_model_is_judged_perfect() -> None:
    assert judged(four_cells(), four_cells()) == Figures(1.0, 1.0, 4)


def test_a_missed_cell_costs_what_it_should() -> None:
    seen = four_cells()
    seen[seen == 5] = 1
    # tp 3, fp 0, fn 1; 432 of 576 pixels
    assert judged(four_cells(), seen) == Figures(0.75, pytest.approx(6 / 7), 4)


def test_what_is_found_where_nobody_looked_does_not_count() -> None:
    truth = four_cells()
    truth[20:, :] = 0
    assert judged(truth, four_cells()) == Figures(1.0, 1.0, 2)


def test_a_sliver_of_a_cell_at_the_edge_is_no_cell() -> None:
    truth = four_cells()
    truth[20:30, 89] = 9
    truth[20:29, 30] = 10
    assert judged(truth, truth).count == 5  # of ten pixels one, of nine none


def test_without_cells_only_pixels_are_judged() -> None:
    truth = np.ones((60, 90), np.int32)
    assert judged(truth, truth).cells is None


@pytest.mark.parametrize(
    ("new", "old", "outcome", "words"),
    [
        (Figures(0.9, 0.8, 5), None, "first", "The model has 80 % of the cells right"),
        (Figures(0.9, 0.8, 5), Figures(0.8, 0.7, 5), "better", "before 70 % of the"),
        (Figures(0.8, 0.7, 5), Figures(0.9, 0.8, 5), "worse", "Worse than the model"),
        (Figures(0.81, 0.8, 5), Figures(0.8, 0.8, 5), "similar", "As good as"),
        (Figures(0.9, 0.7, 5), Figures(0.8, 0.79, 5), "similar", "with 5 cells"),
        (Figures(0.9, 0.7, 1), None, "first", "with 1 cell:"),
        (Figures(0.9, None, 0), Figures(0.8, None, 0), "better", "has IoU 0.90 on"),
    ],
)
def test_the_comparison_is_of_the_mean_of_the_figures_in_words(
    new: Figures, old: Figures | None, outcome: str, words: str
) -> None:
    told = compare(new, old, "a corner of each of 2 slices is held out")
    assert told.outcome == outcome
    assert words in told.sentence
    assert "a corner of each of 2 slices" in told.sentence
    assert (told.iou, told.cells) == (new.iou, new.cells)
    assert (told.before_iou, told.before_cells) == (
        (None, None) if old is None else (old.iou, old.cells)
    )


def test_without_held_out_parts_nothing_is_claimed() -> None:
    few, asked = unknown(requested=False), unknown(requested=True)
    assert few.outcome == asked.outcome == "unknown"
    assert "Too few labels for validation" in few.sentence
    assert "as requested" in asked.sentence


def test_models_of_other_classes_or_channels_cannot_be_compared() -> None:
    one = random_model(NARROW).card
    assert comparable(one, one.replace(name="other"))
    wider = NARROW.replace(channels=2)
    assert not comparable(one, one.replace(architecture=wider))
    named = tuple(c.replace(name=c.name + "x") for c in one.classes)
    assert not comparable(one, one.replace(classes=named))
