"""Prediction by the workers of a Dask cluster: the bits of one machine."""

from __future__ import annotations

import random
import threading
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from example_models import cropping_model
from large_images import ALL, CPU, SIZES, outputs, told, write_image
from napari_unet.core import events
from napari_unet.engine import file_prediction
from napari_unet.engine.batch_prediction import predict_files
from napari_unet.engine.cluster.jobs import ModelSource
from napari_unet.engine.file_prediction import FilePredictor
from napari_unet.engine.inference import block_prediction, block_segmentation
from napari_unet.engine.network.network import prepare
from napari_unet.io import resumable_output
from napari_unet.io.model_file import load_model, save_model
from napari_unet.io.prediction_folder import KINDS, PredictionFolder
from napari_unet.io.resumable_output import ResumableOutput
from napari_unet.io.write_behind import WriteBehind
from waiting import DEADLINE, until

distributed = pytest.importorskip("distributed")
executor_module = pytest.importorskip("napari_unet.engine.cluster.executor")
flight_module: Any = pytest.importorskip("napari_unet.engine.cluster.in_flight")
pool_module: Any = pytest.importorskip("napari_unet.engine.cluster.pool")
worker_module: Any = pytest.importorskip("napari_unet.engine.cluster.worker")
files_module: Any = pytest.importorskip("napari_unet.engine.cluster.files")
Pool: Any = pool_module.Pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.core.settings import Prediction


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers that are threads of this process."""
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def model_in(folder: Path, ndim: int = 2) -> Path:
    path = folder / "model.safetensors"
    if not path.exists():
        save_model(cropping_model(2, ndim), path)
    return path


def predictor(
    path: Path,
    target: Path,
    client: Any = None,
    *,
    settings: Prediction = CPU,
    kinds: tuple[str, ...] = KINDS,
    **rest: Any,
) -> FilePredictor:
    """One that computes here, or by a cluster's workers."""
    model, pool = load_model(path), None
    network = prepare(model, "cpu", "fp32")
    stamp = sha256(path.read_bytes()).hexdigest()
    if client is not None:
        pool = Pool(client, model, ModelSource(path, stamp), settings)
        network, settings = pool.network, pool.settings
    folder = PredictionFolder(target, kinds)
    rest = {"sizes": SIZES, "segmentation": ALL, **rest}
    return FilePredictor(
        network,
        model.card,
        settings,
        folder=folder,
        model=path,
        stamp=stamp,
        pool=pool,
        **rest,
    )


def assert_same(found: Path, right: Path, kinds: tuple[str, ...] = KINDS) -> None:
    for kind, expected in outputs(right, "zarr", kinds).items():
        np.testing.assert_array_equal(outputs(found, "zarr", kinds)[kind], expected)


@pytest.mark.parametrize(
    ("ndim", "shape", "axes", "settings"),
    [
        (2, (150, 170), "yx", ALL),
        (2, (3, 100, 90), "zyx", ALL.replace(clear_border=True)),
        (3, (10, 36, 40), "zyx", ALL),
        (2, (3, 70, 60), "tyx", ALL.replace(track=True)),
    ],
)
def test_workers_give_the_bits_of_one_machine(
    tmp_path: Path, client: Any, ndim: int, shape: Any, axes: str, settings: Any
) -> None:
    write_image(tmp_path / "a.zarr", shape, axes)
    path, rest = model_in(tmp_path, ndim), {"segmentation": settings}
    here = list(predictor(path, tmp_path / "one", **rest).events(tmp_path / "a.zarr"))
    many = predictor(path, tmp_path / "many", client, **rest)
    there = list(many.events(tmp_path / "a.zarr"))
    assert_same(tmp_path / "many", tmp_path / "one")
    assert there[-1] == here[-1]
    assert here[-1].cells > 3
    tiles = told(there, events.TileDone)
    assert np.all(np.diff([tile.progress for tile in tiles]) > 0)
    assert tiles[-1].progress == 1
    done = [(e.t, e.z) for e in tiles if e.field_done]
    assert sorted(done) == sorted(
        {(e.t, e.z) for e in told(here, events.TileDone) if e.field_done}
    )
    for stage in ("classes", "cells", "numbers"):
        shares = [e.progress for e in told(there, events.BlockDone) if e.stage == stage]
        # tracks are written in place of the cells of each time, so once more
        assert settings.track or shares == sorted(shares)
        assert shares[-1] == 1
    (ended,) = told(there, events.PredictionFinished)
    assert ended.device == "2 workers on cpu"
    assert not (tmp_path / "many" / "unfinished").exists()


def stopped(running: Any, count: int) -> list[Any]:
    """Take so many events that are told of steps, and close the generator."""
    seen = []
    for event in running:
        if not isinstance(event, events.Waits):
            seen.append(event)
        if len(seen) == count:
            break
    running.close()
    return seen


def test_what_was_cancelled_goes_on_here_or_there(
    tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, path = tmp_path / "a.zarr", model_in(tmp_path)
    write_image(file, (150, 170), "yx")
    many = predictor(path, tmp_path / "many", client)
    first = stopped(many.events(file), 3)
    notes = tmp_path / "many" / "unfinished" / "a" / "done"
    before = {note.name for note in notes.iterdir()}
    assert len(before) >= 3
    done: list[str] = []
    does = block_prediction.BlockPrediction.do

    def do(self: Any, step: Any, writer: Any) -> Any:
        done.append(step.name)
        return does(self, step, writer)

    monkeypatch.setattr(block_prediction.BlockPrediction, "do", do)
    second = stopped(many.events(file), 2)
    list(predictor(path, tmp_path / "many").events(file))
    assert len(first) + len(second) == 5
    assert not before & set(done)
    # what was on its way when the second ended may be done once more
    assert len(done) - len(set(done)) <= 8
    list(predictor(path, tmp_path / "one").events(file))
    assert_same(tmp_path / "many", tmp_path / "one")


def failing(
    monkeypatch: pytest.MonkeyPatch, error: Exception, times: int
) -> list[threading.Thread]:
    """Let finding the parts of cells fail so often."""
    monkeypatch.setattr(executor_module, "_PAUSES_S", (0.0, 0.0))
    found, failed = block_segmentation.segment_instances, []

    def segment(*given: Any, **named: Any) -> Any:
        if len(failed) < times:
            failed.append(threading.current_thread())
            raise error
        return found(*given, **named)

    monkeypatch.setattr(block_segmentation, "segment_instances", segment)
    return failed


def test_a_step_that_fails_is_tried_again(
    tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, path = tmp_path / "a.zarr", model_in(tmp_path)
    write_image(file, (100, 90), "yx")
    failed = failing(monkeypatch, OSError("the disk is away"), 2)
    list(predictor(path, tmp_path / "many", client).events(file))
    assert len(failed) == 2
    list(predictor(path, tmp_path / "one").events(file))
    assert_same(tmp_path / "many", tmp_path / "one")


@pytest.mark.parametrize(
    "error", [ValueError("no such cells"), OSError("the disk is away")]
)
def test_what_always_fails_ends_the_job_with_its_reason(
    tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    file, path = tmp_path / "a.zarr", model_in(tmp_path)
    write_image(file, (100, 90), "yx")
    with monkeypatch.context() as patch:
        failed = failing(patch, error, 100)
        with pytest.raises(type(error), match=str(error)):
            list(predictor(path, tmp_path / "many", client).events(file))
        # bad input is not tried again
        assert len(failed) <= 4 if isinstance(error, ValueError) else len(failed) >= 3
    list(predictor(path, tmp_path / "many", client).events(file))


def test_without_memory_a_block_is_done_in_smaller_tiles(
    tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, path = tmp_path / "a.zarr", model_in(tmp_path)
    write_image(file, (100, 90), "yx")
    tiles: list[Any] = []
    predict = block_prediction.predict

    def too_large(*given: Any, tiles: Any, **named: Any) -> Any:
        seen.append(tiles.output)
        if named["region"][0].start == 0 and tiles.output[0] > 16:
            raise MemoryError
        return predict(*given, tiles=tiles, **named)

    seen = tiles
    monkeypatch.setattr(block_prediction, "predict", too_large)
    list(predictor(path, tmp_path / "many", client).events(file))
    assert {output[0] for output in seen} == {32, 16}
    monkeypatch.undo()
    list(predictor(path, tmp_path / "one").events(file))
    assert_same(tmp_path / "many", tmp_path / "one")


def test_no_more_steps_are_on_their_way_than_keep_the_workers_busy(
    tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, path = tmp_path / "a.zarr", model_in(tmp_path)
    write_image(file, (200, 220), "yx")
    made: list[Any] = []
    of_pool = Pool.executor

    def executor(self: Any, work: Any) -> Any:
        made.append(of_pool(self, work))
        return made[-1]

    monkeypatch.setattr(Pool, "executor", executor)
    list(predictor(path, tmp_path / "many", client).events(file))
    assert 2 <= made[0].most <= 4


def test_an_orphan_of_a_run_does_not_write_into_the_next(
    tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, path = tmp_path / "a.zarr", model_in(tmp_path)
    write_image(file, (100, 90), "yx")
    wakes, slept, ended = threading.Event(), threading.Event(), []
    predict = block_prediction.predict

    def sleeping(*given: Any, **named: Any) -> Any:
        if not slept.is_set():
            slept.set()
            wakes.wait()
            try:
                yield from predict(*given, **named)
            finally:
                ended.append("orphan")
            return
        yield from predict(*given, **named)

    monkeypatch.setattr(block_prediction, "predict", sleeping)
    monkeypatch.setattr(flight_module, "_END_S", 0.0)
    running = predictor(path, tmp_path / "many", client).events(file)
    while not slept.is_set():
        next(running)
    running.close()
    again = predictor(path, tmp_path / "many", client, settings=CPU.replace(tile=16))
    running = again.events(file)
    next(running)
    wakes.set()
    list(running)
    assert ended == ["orphan"]
    list(predictor(path, tmp_path / "one").events(file))
    assert_same(tmp_path / "many", tmp_path / "one")


@pytest.mark.parametrize("known", [1, 1000])
def test_what_hangs_is_begun_by_another_worker_too(
    tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch, known: int
) -> None:
    file, path = tmp_path / "a.zarr", model_in(tmp_path)
    write_image(file, (150, 170), "yx")
    wakes, hung = threading.Event(), []
    find = block_segmentation.segment_instances

    def hanging(*given: Any, **named: Any) -> Any:
        if not hung:
            hung.append(threading.current_thread())
            wakes.wait(60)
        return find(*given, **named)

    monkeypatch.setattr(block_segmentation, "segment_instances", hanging)
    monkeypatch.setattr(flight_module, "_HUNG_S", 0.0)
    # also where it is not known how long others take
    monkeypatch.setattr(flight_module, "_UNKNOWN_S", 0.0)
    monkeypatch.setattr(flight_module, "_KNOWN", known)
    running = predictor(path, tmp_path / "many", client).events(file)
    cells = 0
    for event in running:
        if isinstance(event, events.BlockDone) and event.stage == "cells":
            cells += 1
            if event.progress == 1:  # also that of the block that hangs
                wakes.set()
    assert cells == 16
    list(predictor(path, tmp_path / "one").events(file))
    assert_same(tmp_path / "many", tmp_path / "one")


def test_a_file_whose_worker_hangs_is_begun_by_another_worker_too(
    tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the first holds the lock of the file, and wakes up in the end."""
    path, source = model_in(tmp_path), tmp_path / "in"
    source.mkdir()
    files = [source / f"{name}.tif" for name in "abc"]
    for number, file in enumerate(files):
        write_image(file, (70, 60), "yx", seed=number)
    wakes, hung, woken = threading.Event(), [], []
    predict, network = file_prediction.predict, worker_module._network

    def hanging(*given: Any, **named: Any) -> Any:
        if not hung:
            hung.append(threading.current_thread())
            wakes.wait(DEADLINE)
            woken.append(True)
        yield from predict(*given, **named)

    def of_a_process(*given: Any) -> Any:
        # here all workers are threads, and would wait for one lock
        return *network(*given)[:2], threading.Lock()

    monkeypatch.setattr(file_prediction, "predict", hanging)
    monkeypatch.setattr(worker_module, "_network", of_a_process)
    for name in ("_HUNG_S", "_UNKNOWN_S"):
        monkeypatch.setattr(flight_module, name, 0.0)
    kinds = (*KINDS, "table")
    many = predictor(path, tmp_path / "many", client, kinds=kinds)
    try:
        done = told(predict_files(many, files), events.FilePredicted)
        assert not woken
    finally:
        wakes.set()
    assert sorted(Path(event.path).name for event in done) == [f.name for f in files]
    assert [event.problem for event in done] == [None] * 3
    # who wakes up writes the same once more
    until(lambda: not (tmp_path / "many" / "unfinished").exists())
    monkeypatch.undo()
    list(predict_files(predictor(path, tmp_path / "one", kinds=kinds), files))
    found, right = (
        {
            file.relative_to(tmp_path / out): file.read_bytes()
            for file in (tmp_path / out).rglob("*")
            if file.is_file() and file.name != "prediction.json"
        }
        for out in ("many", "one")
    )
    assert found == right


def test_what_takes_long_does_not_go_to_all_workers() -> None:
    """Each further one has twice the time of the one before."""
    now, sent = [0.0], []

    class Client:
        def nthreads(self) -> dict[str, int]:
            return {"idle": 1}

        def processing(self) -> dict[str, list[str]]:
            return {}

    class Future:
        key = property(lambda self: id(self))

        def add_done_callback(self, _: Any) -> None:
            pass

    def send(_: Any, workers: list[str]) -> Future:
        assert workers == ["idle"]
        sent.append(now[0])
        return Future()

    flight = flight_module.InFlight(Client(), lambda: now[0])
    flight.follow(flight_module.Piece(), Future())
    for now[0] in range(0, 6000, 100):
        flight.duplicate_slow(lambda _: "scale", send)
    assert sent == [700, 1300, 2500, 4900]


@pytest.mark.parametrize("of_files", [False, True])
def test_workers_that_do_not_see_the_folder_are_told(
    tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch, of_files: bool
) -> None:
    monkeypatch.setattr(executor_module, "_PAUSES_S", (0.0, 0.0))
    path, file = model_in(tmp_path), tmp_path / ("a.tif" if of_files else "a.zarr")
    write_image(file, (100, 90), "yx")
    many = predictor(path, tmp_path / "many", client)
    elsewhere = tmp_path / "elsewhere"
    if of_files:
        told = many.files_job
        monkeypatch.setattr(
            many,
            "files_job",
            lambda *given, **named: replace(told(*given, **named), claim=elsewhere),
        )
    else:
        joined = ResumableOutput.joined
        monkeypatch.setattr(
            ResumableOutput, "joined", lambda _, run: joined(elsewhere, run)
        )
    with pytest.raises(OSError, match=r"does not see .*; see that all machines"):
        list(predict_files(many, [file]) if of_files else many.events(file))
    assert not elsewhere.exists()
    assert not list((tmp_path / "many").rglob("*.tif"))


def test_a_hole_is_told_and_no_zeros(tmp_path: Path, client: Any) -> None:
    file, path = tmp_path / "a.zarr", model_in(tmp_path)
    write_image(file, (100, 90), "yx")
    running = predictor(path, tmp_path / "one").events(file)
    for event in running:
        if isinstance(event, events.PredictionFinished):
            break
    running.close()
    work = tmp_path / "one" / "unfinished" / "a" / "probabilities"
    next(p for p in work.rglob("c/1/*/*") if p.is_file()).unlink()
    with pytest.raises(OSError, match="is not there, although this part was written"):
        list(predictor(path, tmp_path / "one").events(file))


def test_what_cannot_be_published_is_whole_for_other_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among them what the first command was to remove in the end."""
    file, path = tmp_path / "a.zarr", model_in(tmp_path)
    write_image(file, (100, 90), "yx")

    def refuse(_: Path, target: Path) -> None:
        raise OSError(f"{target}: cannot be written, the disk is away.")

    with monkeypatch.context() as patch:
        patch.setattr(resumable_output, "move", refuse)
        with pytest.raises(OSError, match="the disk is away"):
            list(predictor(path, tmp_path / "two", kinds=("instances",)).events(file))
    kinds = ("probabilities", "instances")
    list(predictor(path, tmp_path / "two", kinds=kinds).events(file))
    list(predictor(path, tmp_path / "one", kinds=kinds).events(file))
    assert_same(tmp_path / "two", tmp_path / "one", kinds)
    assert not (tmp_path / "two" / "unfinished").exists()


def test_shards_are_written_at_once_and_hold_the_same(
    tmp_path: Path, client: Any
) -> None:

    file, path = tmp_path / "a.zarr", model_in(tmp_path)
    write_image(file, (150, 170), "yx")
    sizes = replace(SIZES, shards_from=1)
    made = predictor(path, tmp_path / "many", client, sizes=sizes)
    list(made.events(file))
    list(predictor(path, tmp_path / "one").events(file))
    assert_same(tmp_path / "many", tmp_path / "one")
    files = [
        [p for p in (tmp_path / out / "probabilities").rglob("c/**/*") if p.is_file()]
        for out in ("many", "one")
    ]
    assert len(files[0]) == len(SIZES.predicted((150, 170)))
    assert len(files[1]) == 2 * len(files[0])


def test_files_go_to_workers_one_by_one_and_large_ones_by_steps(
    tmp_path: Path, client: Any
) -> None:
    path, source = model_in(tmp_path), tmp_path / "in"
    source.mkdir()
    for number, name in enumerate(("a.tif", "b.tif", "c.zarr")):
        write_image(source / name, (100, 90 + number), "yx", seed=number)
    (source / "broken.tif").write_bytes(b"no image")
    files = sorted(source.iterdir())
    made = {}
    for out, where in (("one", None), ("many", client)):
        # of a.tif, the smallest, alone the probabilities are kept in memory
        one = predictor(path, tmp_path / out, where, in_memory=100 * 90 * 2 * 4)
        made[out] = list(predict_files(one, files))
    done = {
        out: sorted(
            (event.path, event.cells, event.problem)
            for event in told(every, events.FilePredicted)
        )
        for out, every in made.items()
    }
    assert done["one"] == done["many"]
    assert [problem is None for *_, problem in done["one"]] == [True, True, False, True]
    shares = [e.progress for e in told(made["many"], events.FilePredicted)]
    assert shares == [0.25, 0.5, 0.75, 1.0]
    for kind in KINDS:
        names = sorted(p.name for p in (tmp_path / "one" / kind).iterdir())
        assert names == ["a.tif", "b.zarr", "c.zarr"]
        assert names == sorted(p.name for p in (tmp_path / "many" / kind).iterdir())
    np.testing.assert_array_equal(
        outputs(tmp_path / "many", "tif")["instances"],
        outputs(tmp_path / "one", "tif")["instances"],
    )
    # what is there is not done again
    again = list(predict_files(predictor(path, tmp_path / "many", client), files[:1]))
    assert told(again, events.FilePredicted)[0].there


class Shuffled:
    """Does steps here in a random order that their needs allow, each once or twice."""

    device = ""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def run(self, steps: Any, does: Any) -> Iterator[tuple[Any, Any]]:
        left = {step.name: step for step in steps}
        while left:
            ready = [
                step for step in left.values() if left.keys().isdisjoint(step.needs)
            ]
            step = self._random.choice(ready)
            for _ in range(self._random.choice((1, 2))):
                with WriteBehind() as writer:
                    list(does(step, writer))
            del left[step.name]
            yield step, None


@pytest.mark.parametrize(
    ("shape", "axes", "settings"),
    [
        ((2, 70, 60), "zyx", ALL.replace(clear_border=True)),
        ((2, 70, 60), "tyx", ALL.replace(track=True)),
    ],
)
def test_any_order_of_the_steps_gives_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shape: Any,
    axes: str,
    settings: Any,
) -> None:
    write_image(tmp_path / "a.zarr", shape, axes)
    path, rest = model_in(tmp_path), {"segmentation": settings}
    list(predictor(path, tmp_path / "one", **rest).events(tmp_path / "a.zarr"))
    for seed in range(5):
        monkeypatch.setattr(
            block_prediction, "Serial", lambda seed=seed: Shuffled(seed)
        )
        list(predictor(path, tmp_path / str(seed), **rest).events(tmp_path / "a.zarr"))
        assert_same(tmp_path / str(seed), tmp_path / "one")


def test_what_a_worker_did_not_tell_before_it_died_is_done_again(
    tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a future has it whose worker is gone before it was asked for its result."""
    file, path = tmp_path / "a.zarr", model_in(tmp_path)
    write_image(file, (100, 90), "yx")
    next_ended, lost = flight_module.InFlight.ended, []

    def losing(self: Any) -> Any:
        ended = next_ended(self)
        if ended and len(lost) < 2:
            lost.append(ended[0].key)
            ended[0]._state.lose()
        return ended

    monkeypatch.setattr(flight_module.InFlight, "ended", losing)
    told_of = list(predictor(path, tmp_path / "many", client).events(file))
    assert len(lost) == 2
    assert told_of[-1].problem is None
    list(predictor(path, tmp_path / "one").events(file))
    assert_same(tmp_path / "many", tmp_path / "one")


@pytest.mark.parametrize("name", ["torch", "napari-unet"])
def test_workers_of_another_version_are_refused_whenever_they_join(
    tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = model_in(tmp_path)
    others = {**worker_module.VERSIONS, name: "0.0"}
    with monkeypatch.context() as patch:
        patch.setattr(pool_module, "VERSIONS", others)
        with pytest.raises(ValueError, match=f"here is {name} 0.0, and the worker"):
            predictor(path, tmp_path / "many", client)
    write_image(tmp_path / "a.zarr", (70, 60), "yx")
    many = predictor(path, tmp_path / "many", client)
    # one that joins after the others were asked
    monkeypatch.setitem(worker_module.VERSIONS, name, "0.0")
    with pytest.raises(ValueError, match=f"{name} .*has 0.0; install one version"):
        list(many.events(tmp_path / "a.zarr"))


def test_a_file_that_others_are_at_work_on_is_waited_for(
    tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, file = model_in(tmp_path), tmp_path / "a.tif"
    write_image(file, (70, 60), "yx")
    pauses: list[float] = []
    monkeypatch.setattr(files_module, "sleep", pauses.append)
    many = predictor(path, tmp_path / "many", client)
    waits = 0
    with (
        predictor(path, tmp_path / "many").folder.at_work(file) as _,
        closing(predict_files(many, [file])) as running,
    ):
        for event in running:
            waits += isinstance(event, events.FileWaits)
            if waits == 3:
                break
    # none is asked for without a pause while there is nothing else
    assert len(pauses) == 3
