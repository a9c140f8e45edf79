"""Training on another computer, which a script in place of ssh leads to."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

import team_runs
from napari_unet.cli import reporting
from napari_unet.cli.main import main
from napari_unet.cli.reporting import Reporter
from napari_unet.cli.stopping import Stopped
from napari_unet.core import events
from napari_unet.core.event_codec import encode, to_line
from napari_unet.core.remote_messages import Ask, RemoteRun
from napari_unet.engine import remote_job, served_job
from napari_unet.engine.remote_job import RemoteError, RemoteJob, remote_events
from napari_unet.engine.served_job import ServedJob, receive
from napari_unet.io import ssh
from napari_unet.io.model_file import load_model
from napari_unet.io.ssh import parted
from remote_ends import FOLDER, answers, fake_ssh, heard
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

JOB = "0123456789abcdef" * 2
STEPS = [events.StepDone(k, 1 / k, k / 4, 4.0 - k) for k in (1, 2, 3, 4)]
DONE = {"ended": "done", "error": "", "sentence": ""}
needs_scripts = pytest.mark.skipif(
    sys.platform == "win32", reason="takes no script for a program"
)


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an ssh of its own, and the remote computer in it."""
    program = fake_ssh(tmp_path)
    monkeypatch.setenv("PATH", f"{program}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(remote_job, "_TRIES", (0.0, 0.0))
    monkeypatch.setattr(remote_job, "_LOOK", 0.01)
    return tmp_path


def of(folder: Path, where: str = "light") -> RemoteJob:
    run = RemoteRun(where=where, job=JOB)
    return RemoteJob(run, folder / "model.safetensors", folder / "preview.safetensors")


def trained(
    folder: Path,
    bundle: bytes | None = b"a bundle",
    where: str = "light",
    said: list[str] | None = None,
) -> list[Any]:
    path = folder / "near.zip"
    path.write_bytes(bundle or b"")
    job = remote_events(
        of(folder, where),
        path if bundle else None,
        lambda: "resume",
        (said if said is not None else []).append,
    )
    return [event for event in job if event is not None]


def lines(*of_events: Any) -> list[Any]:
    return [encode(event) for event in of_events]


def test_the_model_comes_back_though_the_connection_was_cut(
    remote: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    near = remote / "near"
    near.mkdir()
    images, labels = team_runs.data((56, 56))
    for number, (image, known) in enumerate(zip(images, labels, strict=True)):
        tifffile.imwrite(near / f"image-{number}.tif", image)
        tifffile.imwrite(near / f"label-{number}.tif", known)
    monkeypatch.chdir(near)
    command = ["train", "image-*.tif", "label-*.tif", "--labels", "sparse"]
    command += ["--steps", "6", "--width", "4", "--depth", "1", "--patch", "36"]
    command += ["--batch", "2", "--device", "cpu", "--precision", "fp32"]
    command += ["--validation", "none", "--output"]
    assert main([*command, "remote.safetensors", "--on", "cut"]) == 0
    told = capsys.readouterr().err
    assert "napari-unet" in told
    assert "GB of disk free" in told
    assert "it is looked for again" in told
    assert (remote / FOLDER / "was-cut").exists()
    assert sorted(p.suffix for p in near.iterdir()) == [".safetensors"] + 6 * [".tif"]
    assert main([*command, "near.safetensors"]) == 0
    there, here = (
        load_model(Path("remote.safetensors")),
        load_model(Path("near.safetensors")),
    )
    for name, weight in here.weights.items():
        np.testing.assert_allclose(there.weights[name], weight, rtol=1e-3, atol=1e-5)
    (job,) = (remote / FOLDER / "home").rglob("bundle.zip")
    # nothing of where things are here went there
    assert str(near).encode() not in job.read_bytes()


def test_ssh_is_asked_for_no_password_and_runs_our_program_alone(remote: Path) -> None:
    answers(remote, DONE)
    trained(remote, where="light")
    given = json.loads((remote / FOLDER / "arguments").read_text())
    assert given[-2:] == ["light", "napari-unet serve"]
    assert "BatchMode=yes" in given


def test_events_and_files_come_back(remote: Path) -> None:
    model = {"file": "model", "size": 4}
    saved = events.CheckpointWritten(2, Path("/home/remote/checkpoint"))
    answers(
        remote,
        *lines(*STEPS[:2], saved),
        {"file": "preview", "size": 3},
        b"abc",
        model,
        b"wxyz",
        DONE,
    )
    said: list[str] = []
    found = trained(remote, said=said)
    assert found[:2] == STEPS[:2]
    assert found[2].path == remote / "preview.safetensors"
    assert (remote / "preview.safetensors").read_bytes() == b"abc"
    assert (remote / "model.safetensors").read_bytes() == b"wxyz"
    assert (remote / FOLDER / "bundle.zip").read_bytes() == b"a bundle"
    assert heard(remote) == [
        {"job": JOB, "size": 8, "queue": "", "device": "auto", "seen": 0}
    ]
    assert said[0].startswith("light: napari-unet ")


def test_after_a_cut_it_reads_on_and_sends_nothing_twice(remote: Path) -> None:
    answers(remote, *lines(*STEPS[:2]), {"cut": 1, "then": [*lines(*STEPS[2:]), DONE]})
    said: list[str] = []
    assert trained(remote, said=said) == STEPS
    first, second = heard(remote)
    assert (first["size"], second["size"]) == (8, None)
    assert second["seen"] == 2
    assert any("goes on there" in sentence for sentence in said)


def test_a_job_that_waits_in_a_queue_outlives_its_connection(remote: Path) -> None:
    """There is no event yet when the connection is cut."""
    answers(remote, {"cut": 1, "then": [*lines(*STEPS), DONE]})
    begun: list[bool] = []
    (remote / "near.zip").write_bytes(b"x")
    job = remote_events(
        of(remote),
        remote / "near.zip",
        lambda: "resume",
        begun=lambda: begun.append(True),
    )
    assert [event for event in job if event is not None] == STEPS
    assert [ask["size"] for ask in heard(remote) if "job" in ask] == [1, None]
    assert begun == [True]


def test_what_did_not_come_whole_is_sent_again(remote: Path) -> None:
    lost = {"ended": "failed", "error": "NoJobError", "sentence": "No such job."}
    again = [{"then": [*lines(*STEPS), DONE]}, lost]
    answers(remote, {"cut": 1, "then": again})
    said: list[str] = []
    assert trained(remote, said=said) == STEPS
    assert [ask["size"] for ask in heard(remote) if "job" in ask] == [8, None, 8]
    assert any("It is sent again." in sentence for sentence in said)


def test_after_a_cut_the_job_is_told_anew_what_to_do(remote: Path) -> None:
    """It was paused, and is to go on since the connection was cut."""
    cut = {"cut": 1, "then": [{"order": "resume"}, *lines(STEPS[1]), DONE]}
    answers(remote, *lines(STEPS[0]), {"order": "pause"}, cut)
    wanted: list[Any] = ["pause"]

    def say(sentence: str) -> None:
        if "goes on there" in sentence:
            wanted[0] = "resume"

    (remote / "near.zip").write_bytes(b"x")
    job = remote_events(of(remote), remote / "near.zip", lambda: wanted[0], say)
    assert [event for event in job if event is not None] == STEPS[:2]


def test_that_a_job_could_not_be_cancelled_is_told(
    remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_job, "_TRIES", (1000.0,))
    answers(remote, *lines(STEPS[0]), {"cut": 1, "then": []})
    said: list[str] = []
    (remote / "near.zip").write_bytes(b"x")
    job = remote_events(of(remote), remote / "near.zip", lambda: "cancel", said.append)
    until(lambda: next(job) is None and any("looked for" in one for one in said))
    with pytest.raises(ConnectionError, match="light cannot be reached now, so the j"):
        job.close()


def test_so_it_is_while_the_remote_end_has_not_answered_again(
    remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(remote, *lines(STEPS[0]), {"cut": 1, "then": []})
    (remote / "near.zip").write_bytes(b"x")
    hosts = ["light", "silent"]
    monkeypatch.setattr(ssh, "parted", lambda _: (hosts.pop(0), "napari-unet"))
    said: list[str] = []
    job = remote_events(of(remote), remote / "near.zip", lambda: "cancel", said.append)
    until(lambda: next(job) is None and not hosts)
    assert any("looked for" in one for one in said)
    with pytest.raises(ConnectionError, match="light cannot be reached now, so the j"):
        job.close()


def test_that_a_file_cannot_be_written_here_is_told(remote: Path) -> None:
    answers(remote, {"file": "model", "size": 4}, b"wxyz", DONE)
    (remote / "near.zip").write_bytes(b"x")
    nowhere = replace(of(remote), output=remote / "none" / "model.safetensors")
    job = remote_events(nowhere, remote / "near.zip", lambda: "resume")
    with pytest.raises(OSError, match="cannot be written, its folder does not exist"):
        list(job)


def test_a_connection_that_does_not_come_back_is_given_up(remote: Path) -> None:
    cut: dict[str, Any] = {"cut": 1, "then": []}
    cut["then"] = [{"cut": 1, "then": [{"cut": 1, "then": [{"cut": 1, "then": []}]}]}]
    answers(remote, *lines(STEPS[0]), cut)
    with pytest.raises(ConnectionError, match="light"):
        trained(remote)


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("gone", r"gone cannot be reached by ssh \(ssh: connect .*refused\): see"),
        ("missing", r"missing does not find napari-unet .*missing:/path/to/napari"),
    ],
)
def test_why_a_host_cannot_be_had(remote: Path, where: str, told: str) -> None:
    with pytest.raises(ConnectionError, match=told):
        trained(remote, where=where)


def test_a_remote_end_that_says_nothing_is_told_before_long(
    remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "_GREETING_S", 0.1)
    with pytest.raises(ConnectionError, match="silent: napari-unet does not answer th"):
        trained(remote, where="silent")


def test_others_have_their_turn_until_a_remote_end_answers(remote: Path) -> None:
    job = remote_events(of(remote, "silent"), None, lambda: "resume")
    assert [next(job) for _ in range(3)] == [None] * 3
    job.close()


def test_another_version_is_told_before_anything_is_sent(remote: Path) -> None:
    answers(remote, version="0.0.1")
    with pytest.raises(ValueError, match=r"light has napari-unet 0\.0\.1, here it is"):
        trained(remote)
    assert not heard(remote)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"no json\n", "what came is damaged"),
        (b"[1]\n", "what came is damaged"),
        (b'{"event": "Popen"}\n', "no event is called"),
        (b'{"file": "../x", "size": 1}\n', "what came is damaged"),
        (b'{"file": "model", "size": 1000000000000}\n', "what came is damaged"),
        (b'{"something": 1}\n', "something"),
    ],
)
def test_what_no_remote_side_says_is_refused(
    remote: Path, answer: bytes, told: str
) -> None:
    answers(remote, answer)
    with pytest.raises(ValueError, match=told):
        trained(remote)
    assert not (remote / "model.safetensors").exists()


def test_a_failure_there_is_told_here(remote: Path) -> None:
    answers(
        remote, {"ended": "failed", "error": "MemoryError", "sentence": "Too large."}
    )
    with pytest.raises(RemoteError, match=r"^Too large\.$") as failed:
        trained(remote)
    assert failed.value.error == "MemoryError"


@pytest.mark.parametrize("order", ["pause", "finish", "cancel"])
def test_orders_reach_the_job(remote: Path, order: str) -> None:
    answers(remote, *lines(STEPS[0]), {"order": order}, *lines(STEPS[1]), DONE)
    wanted: list[Any] = ["resume"]
    (remote / "near.zip").write_bytes(b"x")
    job = remote_events(of(remote), remote / "near.zip", lambda: wanted[-1])
    found = []
    for event in job:
        if event is not None:
            found.append(event)
            wanted.append(order)
    assert found == STEPS[:2]
    assert {"order": order} in heard(remote)


@pytest.mark.parametrize("cancelled", [True, False])
def test_who_closes_it_leaves_the_job_alone_unless_it_is_cancelled(
    remote: Path, cancelled: bool
) -> None:
    answers(remote, *lines(STEPS[0]), {"order": "cancel"}, DONE)
    (remote / "near.zip").write_bytes(b"x")
    wanted = "cancel" if cancelled else "resume"
    job = remote_events(of(remote), remote / "near.zip", lambda: wanted)  # type: ignore[arg-type]
    until(lambda: next(job) is not None)
    job.close()
    assert ({"order": "cancel"} in heard(remote)) == cancelled


@pytest.mark.parametrize("where", ["", "-oProxyCommand=x", "a b", "me@host\n-x"])
def test_what_is_no_host_is_refused(where: str) -> None:
    with pytest.raises(ValueError, match="a host is written as for ssh"):
        parted(where)


def test_a_host_may_name_the_program(remote: Path) -> None:
    for program, command in {
        "~/my env/napari-unet": "~/'my env/napari-unet' serve",
        "/opt/x;y/napari-unet": "'/opt/x;y/napari-unet' serve",
    }.items():
        answers(remote, DONE)
        trained(remote, where=f"light:{program}")
        given = json.loads((remote / FOLDER / "arguments").read_text())
        assert given[-2:] == ["light", command]
    assert parted("me@host") == ("me@host", "napari-unet")
    assert parted("host:/opt/my env/napari-unet") == ("host", "/opt/my env/napari-unet")


# the serving side


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAPARI_UNET_JOBS", str(tmp_path / "jobs"))
    monkeypatch.setattr(ServedJob, "begin", lambda self, *_: self.order("resume"))
    return tmp_path / "jobs"


def test_a_bundle_that_does_not_come_whole_begins_nothing(jobs: Path) -> None:
    with pytest.raises(EOFError):
        receive(Ask(job=JOB, size=100), io.BytesIO(b"short"))
    assert not list((jobs / JOB).iterdir())


def test_a_hostile_bundle_begins_nothing(jobs: Path) -> None:
    with pytest.raises(ValueError, match="damaged"):
        receive(Ask(job=JOB, size=6), io.BytesIO(b"no zip"))
    assert not list((jobs / JOB).iterdir())


@pytest.mark.parametrize("job", ["../../x", "", JOB + "0", "/etc/passwd"])
def test_the_name_of_a_job_leads_nowhere(job: str) -> None:
    with pytest.raises(ValueError, match="job"):
        Ask(job=job)


def test_a_job_that_is_not_there(jobs: Path) -> None:
    with pytest.raises(served_job.NoJobError, match="no such job"):
        receive(Ask(job=JOB), io.BytesIO())


def written(folder: Path, *records: Any) -> ServedJob:
    folder.mkdir(parents=True)
    content = b"".join(map(to_line, records)) + b'{"not": "whole"'
    (folder / "events.jsonl").write_bytes(content)
    return ServedJob(folder)


def test_following_reads_on_and_sends_the_latest_weights_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, late = (events.CheckpointWritten(k, Path("c")) for k in (1, 2))
    job = written(tmp_path / "job", *lines(STEPS[0], early, STEPS[1], late), DONE)
    monkeypatch.setattr(ServedJob, "_weights", lambda self: b"weights")
    found = list(job.follow(1, lambda: False))
    records = [record for record, _ in found]
    weights = ({"file": "preview", "size": 7, "image": 0}, b"weights")
    assert records == [*lines(early, STEPS[1], late), weights[0], DONE]
    assert found[3] == weights


def test_following_ends_when_nobody_listens(tmp_path: Path) -> None:
    job = written(tmp_path / "job", *lines(*STEPS))
    gone = iter([False, True])
    assert len(list(job.follow(0, lambda: next(gone)))) == 4


def test_a_process_that_was_killed_is_told(tmp_path: Path) -> None:
    job = written(tmp_path / "job", *lines(STEPS[0]))
    (job.folder / "log.txt").write_text("first\nKilled")
    *_, (end, _) = job.follow(0, lambda: False)
    assert end["ended"] == "failed"
    assert "ended unexpectedly. It said: first / Killed" in end["sentence"]


@needs_scripts
def test_a_queue_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin"
    program.mkdir()
    for name, does in (
        ("sbatch", "echo '77;cluster'"),
        ("squeue", "test -e left && exit; echo 77 R"),
        ("scancel", "touch left"),
    ):
        script = f"#!/bin/sh\ncd {tmp_path}\necho {name} $@ >> asked\n{does}\n"
        (program / name).write_text(script)
        (program / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{program}{os.pathsep}{os.environ['PATH']}")
    job = ServedJob(tmp_path / "job")
    job.folder.mkdir()
    job.asked = None
    job.begin(Ask(job=JOB, size=1, queue="slurm --gres=gpu:1 --time=60"))
    assert job.alive()
    job.order("cancel")
    assert not job.alive()
    first, *others = (tmp_path / "asked").read_text().splitlines()
    assert first.startswith("sbatch --parsable --job-name=napari-unet --output=")
    assert "--gres=gpu:1 --time=60 --wrap" in first
    assert f"{sys.executable} -m napari_unet train" in first
    assert "scancel 77" in others
    with pytest.raises(ValueError, match="the queue is slurm"):
        job.begin(Ask(job=JOB, queue="pbs"))


@needs_scripts
def test_a_queue_that_cannot_be_asked_has_its_jobs_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin"
    program.mkdir()
    monkeypatch.setenv("PATH", f"{program}{os.pathsep}{os.environ['PATH']}")
    job = ServedJob(tmp_path / "job")
    job.folder.mkdir()
    (job.folder / "process.json").write_text('{"slurm": 77}')
    for says, is_there in {
        "slurm_load_jobs error: Unable to contact slurm controller": True,
        "slurm_load_jobs error: Invalid job id specified": False,
    }.items():
        (program / "squeue").write_text(f"#!/bin/sh\necho '{says}' >&2\nexit 1\n")
        (program / "squeue").chmod(0o755)
        assert job.alive() == is_there
    job.asked = None
    with pytest.raises(ValueError, match="the queue is slurm"):
        job.begin(Ask(job=JOB, queue=" "))


def begun_on(job: ServedJob, host: str, age: float | None) -> None:
    """Write of a job on which computer it is, and when it gave a sign of life."""
    note = {"pid": os.getpid(), "began": 0.0, "host": host, "pulse": "pulse-1"}
    (job.folder / "process.json").write_text(json.dumps(note))
    if age is not None:
        pulse = job.folder / "pulse-1"
        pulse.touch()
        os.utime(pulse, (time() - age,) * 2)


@pytest.mark.parametrize(
    ("host", "age", "is_there"),
    [
        ("another", 30.0, True),
        ("another", 1000.0, False),
        ("another", None, False),
        (socket.gethostname(), 30.0, False),
    ],
)
def test_a_job_of_another_node_is_there_while_it_gives_signs_of_life(
    tmp_path: Path, host: str, age: float | None, is_there: bool
) -> None:
    job = ServedJob(tmp_path)
    begun_on(job, host, age)
    assert job.alive() == is_there
    assert {path.name for path in tmp_path.iterdir()} <= {"process.json", "pulse-1"}


def test_that_a_job_of_another_node_has_ended_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_job, "_ASK_QUEUE", 0.0)
    job = written(tmp_path / "job", *lines(STEPS[0]))
    begun_on(job, "another", 1000.0)
    *_, (end, _) = job.follow(0, lambda: False)
    assert end["error"] == "FarJobEnded"
    here = socket.gethostname()
    assert end["sentence"] == (
        f"The job on another has ended unexpectedly: {here} has seen no sign of life "
        "of it for 120 s."
    )


def test_a_job_of_a_dead_node_is_begun_again_and_who_still_runs_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_UNET_JOBS", str(tmp_path))
    job = written(tmp_path / JOB, *lines(*STEPS[:2]))
    job.bundle.touch()
    begun_on(job, "another", 1000.0)
    orders = job.folder / "orders"
    old = Reporter(job.folder / "events.jsonl", orders, job.folder / "pulse-1")
    begun: list[list[str]] = []
    run = subprocess.Popen

    def start(given: list[str], **how: Any) -> Any:
        begun.append(given)
        return run([sys.executable, "-c", ""], **how)

    monkeypatch.setattr(served_job.subprocess, "Popen", start)
    monkeypatch.setattr(ServedJob, "asked", None)
    with old.reported():
        assert old.order() == ""
        until(lambda: time() - (job.folder / "pulse-1").stat().st_mtime < 500)
        begun_on(job, "another", 1000.0)  # then nothing is heard of it
        again = receive(Ask(job=JOB), io.BytesIO())
        assert old.order() == "cancel"
        old.say(STEPS[2])
    until(lambda: not again.alive())
    (command,) = begun
    pulse = Path(command[command.index("--pulse") + 1])
    assert [p.name for p in job.folder.glob("pulse-*")] == [pulse.name] != ["pulse-1"]
    written_lines = (job.folder / "events.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in written_lines]
    assert told[:2] == lines(*STEPS[:2])
    (notice,) = told[2:]
    assert notice["event"] == "Notice"
    assert "no sign of life of it for 120 s. It is begun again on" in notice["sentence"]


def test_a_job_gives_signs_of_life_until_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "_PULSE_S", 0.01)
    pulse = tmp_path / "pulse-1"
    pulse.touch()
    os.utime(pulse, (0, 0))
    with Reporter(tmp_path / "events", tmp_path / "orders", pulse).reported():
        until(lambda: pulse.stat().st_mtime > 0)
        os.utime(pulse, (0, 0))
        until(lambda: pulse.stat().st_mtime > 0)
    assert not pulse.exists()


def test_what_connections_that_were_cut_left_of_bundles_goes(jobs: Path) -> None:
    old, new = (jobs / (2 * name) for name in ("0123456789abcdee", "0123456789abcdec"))
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / f".napari-unet-{'0' * 32}.part").write_bytes(b"half")
    for path in (old, *old.iterdir()):
        os.utime(path, (0, 0))
    with pytest.raises(EOFError):
        receive(Ask(job=JOB, size=100), io.BytesIO(b"short"))
    assert sorted(p.name for p in jobs.iterdir()) == sorted([JOB, new.name])
    assert list(new.iterdir())


def test_events_of_a_job_that_is_begun_again_are_counted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = {"ended": "failed", "error": "", "sentence": ""}
    job = written(tmp_path / "job", *lines(*STEPS[:2]), end)
    job.asked = None
    started = b"".join(map(to_line, [*lines(STEPS[2]), DONE]))

    def start(self: ServedJob, command: list[str]) -> dict[str, Any]:
        with (self.folder / "events.jsonl").open("ab") as file:
            file.write(started)
        return {}

    monkeypatch.setattr(ServedJob, "_start", start)
    job.begin(Ask(job=JOB))
    assert [record for record, _ in job.follow(2, lambda: False)] == [
        *lines(STEPS[2]),
        DONE,
    ]


def command(folder: Path, *more: str) -> int:
    """Train on the light end."""
    for number in range(2):
        image = np.arange(56 * 56, dtype=np.uint16).reshape(56, 56)
        tifffile.imwrite(folder / f"image-{number}.tif", image)
        tifffile.imwrite(folder / f"label-{number}.tif", (image % 3).astype(np.uint8))
    given = ["train", "image-*.tif", "label-*.tif", "--labels", "sparse"]
    return main([*given, "--output", "m.safetensors", "--on", "light", *more])


def test_nothing_of_ones_own_is_in_the_way_of_what_is_sent(
    remote: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(remote)
    for name in ("m.bundle.zip", "m.preview.safetensors"):
        Path(name).write_text("mine")
    # of a training before this one
    Path("m.far.json").write_text(
        RemoteRun(where="light", job="f" * 32).model_dump_json()
    )
    cut: dict[str, Any] = {"cut": 1, "then": []}
    for _ in remote_job._TRIES:
        cut = {"cut": 1, "then": [cut]}
    answers(remote, *lines(STEPS[0]), cut)
    before = {path.name for path in remote.iterdir()}
    assert command(remote) == 1
    assert "on light goes on: --resume shows it again" in capsys.readouterr().err
    assert (
        RemoteRun.model_validate_json(Path("m.far.json").read_text()).job
        == (heard(remote)[0]["job"])
    )
    new = {path.name for path in remote.iterdir()} - before
    assert {name for name in new if not name.endswith(".tif")} == set()
    for name in ("m.bundle.zip", "m.preview.safetensors"):
        assert Path(name).read_text() == "mine"


@pytest.mark.parametrize("has_begun", [True, False])
def test_after_ctrl_c_it_is_told_whether_anything_goes_on(
    remote: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    has_begun: bool,
) -> None:
    monkeypatch.chdir(remote)
    answers(remote, *lines(STEPS[0]), {"order": "cancel"})
    if not has_begun:
        monkeypatch.setattr(remote_job, "_begun", interrupt)
    else:
        monkeypatch.setattr(remote_job, "_events", interrupt)
    assert command(remote) == 130
    told = capsys.readouterr().err
    assert ("--resume shows it again" in told) == has_begun
    assert ("nothing goes on" in told) != has_begun
    assert Path("m.far.json").exists() == has_begun


def interrupt(*_: object) -> Iterator[None]:
    yield
    raise KeyboardInterrupt


@pytest.mark.parametrize("option", ["json", "events", "orders"])
def test_what_is_for_this_computer_is_refused(
    remote: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
) -> None:
    monkeypatch.chdir(remote)
    assert command(remote, f"--{option}", "x.json") == 1
    assert f"--{option} is for this computer: leave out --on" in capsys.readouterr().err


def test_a_training_is_watched_and_steered_through_files(tmp_path: Path) -> None:
    report, orders = tmp_path / "events", tmp_path / "orders"
    closed = []

    def job() -> Iterator[events.Event]:
        try:
            yield from STEPS
        finally:
            closed.append(True)

    reporter, found = Reporter(report, orders), []

    def watch() -> None:
        with reporter.reported():
            for event in reporter.watched(job()):
                found.append(event)
                orders.write_text("cancel" if len(found) == 2 else "resume")

    with pytest.raises(Stopped):
        watch()
    assert found == STEPS[:2]
    assert closed
    told = [json.loads(line) for line in report.read_text().splitlines()]
    assert told == [
        *lines(*STEPS[:3]),
        {"ended": "cancelled", "error": "", "sentence": ""},
    ]
    with pytest.raises(ValueError, match="no"), reporter.reported():
        raise ValueError("no images")
    last = json.loads(report.read_text().splitlines()[-1])
    assert last == {"ended": "failed", "error": "ValueError", "sentence": "no images"}
