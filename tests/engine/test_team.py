from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

import team_runs
from napari_unet import __version__
from napari_unet.cli.main import main
from napari_unet.core.torchrun import this_member
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.device import DEVICE
from napari_unet.engine.training import stopwatch
from napari_unet.engine.training import team as teams
from napari_unet.engine.training.sampling import Sampler
from napari_unet.engine.training.team import ALONE, Team, _own_device, joined
from napari_unet.io.model_file import load_model
from napari_unet.io.pretrained import pretrained_model
from napari_unet.io.trained_run import read_run
from waiting import DEADLINE


class Both:
    """What came of the same runs in two processes, and in this one alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with pytest.MonkeyPatch.context() as patch:
            self._run(folder, patch)
        self.second = json.loads((folder / "second.json").read_text())

    def _run(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        now = [0.0]
        draw = Sampler.draw

        def slow(sampler: Sampler, step: int, size: int) -> Any:
            now[0] += 2.0
            return draw(sampler, step, size)

        patch.setattr(Sampler, "draw", slow)
        patch.setattr(stopwatch, "perf_counter", stopwatch.perf_counter)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        where |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        team_runs.stops(folder / "of-one.safetensors", ALONE)
        second = subprocess.Popen(
            [sys.executable, team_runs.__file__, str(folder)],
            env={**os.environ, **where, "RANK": "1", "LOCAL_RANK": "1"},
        )
        try:
            for name, value in {**where, "RANK": "0", "LOCAL_RANK": "0"}.items():
                patch.setenv(name, value)
            with joined(this_member(), "cpu") as (team, self.device):
                self.found = team_runs.together(team, folder, lambda: now[0])
            assert second.wait(DEADLINE) == 0
        finally:
            second.kill()
            second.wait()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Both(tmp_path_factory.mktemp("team"))
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", team_runs.EXACT)
def test_two_processes_learn_what_one_learns(both: Both, name: str) -> None:
    alone = team_runs.exactly(team_runs.EXACT[name], ALONE)
    assert {n: w.shape for n, w in alone.items()} == {
        n: w.shape for n, w in both.found[name].items()
    }
    for weight, own in alone.items():
        # in a bias that a batch norm takes away again there is nothing but noise
        atol = 1e-7 if weight.endswith("bias") else 1e-9
        np.testing.assert_allclose(
            both.found[name][weight], own, rtol=1e-8, atol=atol, err_msg=weight
        )


def test_a_budget_in_minutes_ends_for_all_when_the_first_says_so(both: Both) -> None:
    steps, finished = both.found["minutes"]
    assert 20 < steps < 32  # of 2 s each, in a minute
    assert both.second["minutes"] == steps
    assert finished.model.card.score is not None
    assert finished.log.timetables[0].validated
    assert not both.second["result"]


def test_a_training_that_goes_wrong_ends_for_all(both: Both) -> None:
    steps, finished = both.found["diverged"]
    assert finished.problem
    assert both.second["diverged"] == steps < 200


@pytest.mark.parametrize("first", ["one", "two"])
def test_a_checkpoint_goes_on_with_another_number_of_processes(
    both: Both, first: str
) -> None:
    whole = team_runs.goes_on(None, ALONE)
    if first == "one":
        resumed = both.found["resumed"]
    else:
        resumed = team_runs.goes_on(both.folder / "of-two.safetensors", ALONE)
    assert resumed.steps == whole.steps == 8
    for name, weight in whole.model.weights.items():
        np.testing.assert_allclose(
            resumed.model.weights[name], weight, rtol=1e-3, atol=1e-5
        )


def test_no_thread_of_the_group_is_left_to_abort_the_process_at_its_end(
    both: Both,
) -> None:
    assert both.second["threads"] == []


def test_processes_that_begin_with_something_else_are_refused(both: Both) -> None:
    for told in (both.found["other"], both.second["other"]):
        assert told.startswith("process 1 of 2 has other images, labels, settings")


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch) -> Team:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "x"}.items():
        monkeypatch.setenv(name, value)
    member = this_member()
    assert member is not None
    return Team(member)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"folds": 3, "validation": 0.2}, "--folds 3 trains several networks"),
        ({"batch": 1}, "a batch of 1 cannot be shared out among 2 processes"),
    ],
)
def test_what_cannot_be_shared_is_refused(
    team: Team, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        team.check(Training.quick().replace(**changes))


@pytest.mark.parametrize(
    ("wanted", "there", "found"),
    [
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda:1"),
        ("cuda", 4, "cuda:1"),
        ("cpu", 2, "cpu"),
    ],
)
def test_each_process_has_a_device_of_its_own(
    team: Team,
    monkeypatch: pytest.MonkeyPatch,
    wanted: str,
    there: int,
    found: str,
) -> None:
    monkeypatch.delenv(DEVICE, raising=False)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    member = this_member()
    assert member is not None
    assert _own_device(member, wanted) == found
    for refused in ("mps", "cuda:0"):
        with pytest.raises(ValueError, match="process"):
            _own_device(member, refused)


def test_that_a_process_does_not_come_is_told_before_long(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams, "_MEETING", timedelta(seconds=1))
    for rank in (0, 1):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        for name, value in {"RANK": str(rank), "MASTER_PORT": port}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        with (
            pytest.raises(ConnectionError, match="the 2 processes do not all come to"),
            joined(this_member(), "cpu"),
        ):
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_torchrun_goes_on_after_a_process_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = team_runs.data((56, 56))
    for number, (image, known) in enumerate(zip(images, labels, strict=True)):
        for kind, pixels in (("image", image), ("label", known)):
            tifffile.imwrite(tmp_path / f"{kind}-{number}.tif", pixels)
    monkeypatch.chdir(tmp_path)
    # of a training before this one
    shutil.copy(pretrained_model("nuclei"), "two.checkpoint.safetensors")
    os.utime("two.checkpoint.safetensors", (0, 0))
    command = ["train", "image-*.tif", "label-*.tif", "--labels", "sparse"]
    command += ["--steps", "6", "--width", "4", "--depth", "1", "--patch", "36"]
    command += ["--batch", "3", "--device", "cpu", "--precision", "fp32"]
    command += ["--validation", "none", "--optimiser", "sgd", "--output"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    torchrun += ["--nproc-per-node", "2", "--max-restarts", "1", "--monitor-interval"]
    torchrun += ["0.1", str(Path(team_runs.__file__).with_name("killed_member.py"))]
    done = subprocess.run(
        [*torchrun, *command, "two.safetensors"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("two.safetensors: 6 steps") == 1
    assert "go on with --resume" in done.stderr
    two = load_model(Path("two.safetensors"))
    assert main([*command, "one.safetensors"]) == 0
    for name, weight in load_model(Path("one.safetensors")).weights.items():
        np.testing.assert_allclose(two.weights[name], weight, rtol=1e-3, atol=1e-5)
    assert read_run(Path("two.run")).problem is None


def test_python_m_is_the_command_line() -> None:
    command = [sys.executable, "-m", "napari_unet", "--version"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=DEADLINE, check=True
    )
    assert done.stdout.strip() == __version__


def test_only_training_is_for_several_processes(
    team: Team, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info"]) == 1
    told = "process 1 of 2: info is done by one process, 2 were started"
    assert told in capsys.readouterr().err
