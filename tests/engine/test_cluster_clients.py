"""Workers that are begun or reached: by a word, in processes, in jobs of a queue."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from example_models import cropping_model
from large_images import ALL, CPU, SIZES, outputs, write_image
from napari_unet.cli.main import main
from napari_unet.core import events
from napari_unet.core.cluster import parse_cluster
from napari_unet.engine.cluster.jobs import source_of
from napari_unet.engine.file_prediction import FilePredictor
from napari_unet.engine.inference import block_prediction
from napari_unet.engine.network.network import prepare
from napari_unet.io.model_file import save_model
from napari_unet.io.prediction_folder import KINDS, PredictionFolder
from waiting import DEADLINE, until

distributed = pytest.importorskip("distributed")
clients = pytest.importorskip("napari_unet.engine.cluster.clients")
pools = pytest.importorskip("napari_unet.engine.cluster.pool")

ROOT = Path(__file__).parents[2]


def predictor(folder: Path, target: str, client: Any = None) -> FilePredictor:
    path = folder / "model.safetensors"
    model = cropping_model(2)
    if not path.exists():
        save_model(model, path)
    network, pool = prepare(model, "cpu", "fp32"), None
    if client is not None:
        model, source = source_of(path)
        pool = pools.Pool(client, model, source, CPU)
        network = pool.network
    output = PredictionFolder(folder / target, KINDS)
    return FilePredictor(network, model.card, CPU, ALL, output, path, SIZES, pool=pool)


def assert_same(found: Path, right: Path) -> None:
    for kind, expected in outputs(right, "zarr").items():
        np.testing.assert_array_equal(outputs(found, "zarr")[kind], expected)


def test_a_scheduler_is_reached_by_its_address_and_by_its_file(tmp_path: Path) -> None:
    with (
        distributed.LocalCluster(
            n_workers=1,
            processes=False,
            protocol="tcp",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.write_scheduler_file(str(tmp_path / "scheduler.json"))
        for word in (cluster.scheduler_address, f"file:{tmp_path}/scheduler.json"):
            with clients.connected(parse_cluster(word)) as reached:
                assert len(reached.nthreads()) == 1
            with (
                pytest.raises(ValueError, match="has its own"),
                clients.connected(parse_cluster(word), {"cores": 1}),
            ):
                pass
    with (
        pytest.raises(FileNotFoundError, match="no such file of a scheduler"),
        clients.connected(parse_cluster(f"file:{tmp_path}/none.json")),
    ):
        pass


@pytest.mark.parametrize("says", [b"", b"HTTP/1.0 400 Bad request\r\n\r\n"])
def test_what_is_no_scheduler_is_told_before_long(
    monkeypatch: pytest.MonkeyPatch, says: bytes
) -> None:
    monkeypatch.setattr(clients, "_ANSWER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            taken = server.accept()[0]
            taken.sendall(says)
            over.wait(DEADLINE)
            taken.close()

        over = threading.Event()
        thread = threading.Thread(target=answer)
        thread.start()
        try:
            with (
                pytest.raises(OSError, match=f"{port}: no scheduler of Dask can be"),
                clients.connected(parse_cluster(f"tcp://127.0.0.1:{port}")),
            ):
                pass
        finally:
            over.set()
            thread.join()
    with (
        pytest.raises(OSError, match="it does not answer within 0 s"),
        clients.connected(parse_cluster(f"tcp://127.0.0.1:{port}")),
    ):
        pass


@pytest.mark.parametrize("text", ["no json", "[]", '{"id": 1}'])
def test_a_file_that_no_scheduler_wrote_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text(text)
    with (
        pytest.raises(ValueError, match=r"scheduler\.json: is no file that a sched"),
        clients.connected(parse_cluster(f"file:{file}")),
    ):
        pass


def test_a_function_may_return_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "from distributed import LocalCluster\n"
        "def workers():\n"
        "    return LocalCluster(n_workers=1, processes=False, "
        "dashboard_address='127.0.0.1:0')\n"
        "def nothing(): pass\n"
    )
    (tmp_path / "of_a_lab.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with clients.connected(parse_cluster("python:of_a_lab:workers")) as client:
        assert len(client.nthreads()) == 1
    with (
        pytest.raises(ValueError, match="python:of_a_lab:none"),
        clients.connected(parse_cluster("python:of_a_lab:none")),
    ):
        pass
    # of which Dask would begin workers here
    with (
        pytest.raises(ValueError, match=r"returns a Client or .*, found None"),
        clients.connected(parse_cluster("python:of_a_lab:nothing")),
    ):
        pass


def test_a_job_of_a_queue_has_what_is_easily_forgotten() -> None:
    made = clients.queue_options("slurm", {"walltime": "04:00:00", "cores": 8})
    assert made["job_script_prologue"] == ["export MALLOC_ARENA_MAX=1"]
    assert made["worker_extra_args"] == [
        "--lifetime",
        f"{4 * 3600 - 300}s",
        "--lifetime-stagger",
        "120s",
    ]
    own = ["--lifetime", "60s"]
    made = clients.queue_options(
        "pbs", {"walltime": "1-00:00", "worker_extra_args": own}
    )
    assert made["worker_extra_args"] == own
    short = clients.queue_options("sge", {"walltime": "00:05:00"})
    assert short["worker_extra_args"] == []


@pytest.mark.parametrize(
    ("kind", "walltime", "seconds"),
    [
        ("slurm", "90", 5400),
        ("slurm", "30:00", 1800),
        ("slurm", "01:30:00", 5400),
        ("slurm", "1-12", 129600),
        ("slurm", "2-01:30", 178200),
        ("lsf", "90", 5400),
        ("lsf", "01:30", 5400),
        ("pbs", "5400", 5400),
        ("oar", "01:30:00", 5400),
    ],
)
def test_each_queue_writes_times_in_its_own_way(
    kind: str, walltime: str, seconds: int
) -> None:
    made = clients.queue_options(kind, {"walltime": walltime})
    assert made["worker_extra_args"][1] == f"{seconds - 300}s"


@pytest.mark.skipif(sys.platform == "win32", reason="takes no script for a program")
def test_a_queue_that_is_not_here_or_lacks_a_number_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(FileNotFoundError, match="the command sbatch is not here"),
        clients.connected(parse_cluster("slurm:1-2"), {"cores": 1, "memory": "1GB"}),
    ):
        pass
    (tmp_path / "sbatch").write_text("#!/bin/sh\n")
    (tmp_path / "sbatch").chmod(0o755)
    with (
        pytest.raises(
            ValueError, match="--cluster slurm: the cores of a job are named neither"
        ),
        clients.connected(parse_cluster("slurm:1-2")),
    ):
        pass


@pytest.mark.parametrize(
    ("word", "tells"),
    [
        ("tcp://node1:8786", True),
        ("tcp://127.0.0.1:8786", False),
        ("tls://node1:8786", False),
        ("local:2", False),
    ],
)
def test_an_open_port_of_another_machine_is_told(word: str, tells: bool) -> None:
    assert ("not encrypted" in clients.note_of(parse_cluster(word))) == tells


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have processes that are begun find what the tests do."""
    paths = [str(Path(__file__).parents[1]), *sys.path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.usefixtures("importable")
def test_a_worker_that_is_killed_costs_nothing_but_time(tmp_path: Path) -> None:
    file = tmp_path / "a.zarr"
    write_image(file, (150, 170), "yx")
    with clients.connected(parse_cluster("local:2")) as client:
        many = predictor(tmp_path, "many", client)
        victim = client.run(os.getpid).popitem()[1]
        for event in many.events(file):
            if victim and isinstance(event, events.TileDone):
                os.kill(victim, signal.SIGKILL)
                victim = None
        assert victim is None
    list(predictor(tmp_path, "one").events(file))
    assert_same(tmp_path / "many", tmp_path / "one")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
@pytest.mark.usefixtures("importable")
def test_a_worker_that_hangs_from_the_beginning_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "_ANSWER_S", 2.0)
    with clients.connected(parse_cluster("local:1")) as client:
        ((where, victim),) = client.run(os.getpid).items()
        os.kill(victim, signal.SIGSTOP)
        try:
            with pytest.raises(OSError, match=f"does not answer within 2 s: .*{where}"):
                predictor(tmp_path, "many", client)
        finally:
            os.kill(victim, signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.usefixtures("importable")
def test_ctrl_c_in_a_terminal_is_answered_by_one_sentence(tmp_path: Path) -> None:
    """There the workers get the signal, too."""
    write_image(tmp_path / "a.zarr", (700, 700), "yx")
    model = tmp_path / "model.safetensors"
    save_model(cropping_model(2), model)
    command = [sys.executable, "-m", "napari_unet.cli.main", "predict", str(model)]
    command += [str(tmp_path / "a.zarr"), "--output", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*command, "--tile", "16", "--cluster", "local:1"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        until((tmp_path / "out" / "unfinished" / "a" / "run").exists)
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    assert (process.returncode, first) == (130, "local:1: 1 worker on cpu\n")
    assert told == (
        "interrupted; 0 of 1 image is done, and the same command goes on with the "
        "others.\n"
    )


DRIVER = """
import os, signal, sys
from pathlib import Path

folder, tests = Path(sys.argv[1]), sys.argv[2]
sys.path.insert(0, tests)
from test_cluster_clients import clients, events, parse_cluster, predictor

with clients.connected(parse_cluster("local:1")) as client:
    many = predictor(folder, "many", client)
    print(*client.run(os.getpid).values(), flush=True)
    tiles = 0
    for event in many.events(folder / "a.zarr"):
        tiles += isinstance(event, events.TileDone)
        if tiles == 3:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.usefixtures("importable")
def test_after_a_driver_that_was_killed_it_goes_on_with_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "a.zarr", (150, 170), "yx")
    command = [sys.executable, "-c", DRIVER, str(tmp_path), str(Path(__file__).parent)]
    killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    workers = [int(word) for word in killed.stdout.split()]
    assert workers
    until(lambda: not any(map(psutil.pid_exists, workers)))
    notes = tmp_path / "many" / "unfinished" / "a" / "done"
    before = {note.name for note in notes.iterdir()}
    assert len(before) >= 3
    done: list[str] = []
    does = block_prediction.BlockPrediction.do

    def do(self: Any, step: Any, writer: Any) -> Any:
        done.append(step.name)
        return does(self, step, writer)

    monkeypatch.setattr(block_prediction.BlockPrediction, "do", do)
    list(predictor(tmp_path, "many").events(tmp_path / "a.zarr"))
    assert not before & set(done)
    list(predictor(tmp_path, "one").events(tmp_path / "a.zarr"))
    assert_same(tmp_path / "many", tmp_path / "one")


JOBS = """
from dask_jobqueue.local import LocalCluster

def workers():
    cluster = LocalCluster(
        cores=1, processes=1, memory="2GB", log_directory="{folder}",
        scheduler_options={{"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}},
    )
    cluster.scale(1)
    return cluster
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a script of bash")
@pytest.mark.usefixtures("importable")
def test_the_script_for_slurm_does_it_with_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dask_jobqueue")
    write_image(tmp_path / "a.zarr", (100, 90), "yx")
    (tmp_path / "jobs.py").write_text(JOBS.format(folder=tmp_path / "logs"))
    command = tmp_path / "napari-unet"
    command.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m napari_unet.cli.main "$@"\n'
    )
    command.chmod(0o755)
    model = tmp_path / "model.safetensors"
    save_model(cropping_model(2), model)
    what = ["predict", str(model), str(tmp_path / "a.zarr")]
    assert main([*what, "--output", str(tmp_path / "one")]) == 0
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}",
        "CLUSTER": "python:jobs:workers",
        "MODEL": str(model),
    }
    script = ROOT / "docs" / "clusters" / "slurm.sh"
    done = subprocess.run(
        ["bash", str(script), str(tmp_path / "a.zarr"), str(tmp_path / "many")],
        env=environment,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "1 worker on cpu" in done.stderr
    many, one = (outputs(tmp_path / name, "zarr") for name in ("many", "one"))
    for kind in ("probabilities", "classes", "instances"):
        np.testing.assert_array_equal(many[kind], one[kind])
