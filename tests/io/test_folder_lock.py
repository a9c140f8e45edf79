from __future__ import annotations

import os
import subprocess
import sys

import pytest

from napari_unet.io.folder_lock import BusyError, Claim, locked, temporary_folder

A, B = {"threshold": 0.5}, {"threshold": 0.7}


def test_a_lock_is_held_by_one_and_leaves_nothing(tmp_path):
    file = tmp_path / "unfinished" / "a.lock"
    with locked(file):
        with pytest.raises(BusyError, match="another process"), locked(file):
            pass
        with locked(file.with_name("b.lock")):
            pass
    with locked(file):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_of_somebody_else_stays(tmp_path):
    folder = tmp_path / "unfinished"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with Claim(folder, A), locked(folder / "a.lock"):
        pass
    assert [p.name for p in folder.iterdir()] == ["notes.txt"]


def test_runs_of_one_kind_work_side_by_side_and_others_wait(tmp_path):
    folder = tmp_path / "out" / "unfinished"
    with Claim(folder, A), Claim(folder, A):
        with pytest.raises(
            BusyError, match="another run is at work in this folder now"
        ):
            Claim(folder, B).__enter__()
        with Claim(folder, A):
            pass
    with Claim(folder, B):
        pass
    assert not list((tmp_path / "out").iterdir())


KILLED = """
import os, sys
from pathlib import Path
from napari_unet.io.folder_lock import Claim, locked
folder = Path(sys.argv[1])
claim, lock = Claim(folder, {"threshold": 0.5}), locked(folder / "a.lock")
claim.__enter__()
lock.__enter__()
os._exit(9)
"""


def test_what_a_killed_run_held_is_free(tmp_path):
    folder = tmp_path / "unfinished"
    subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    left = sorted(p.suffix for p in folder.iterdir())
    assert left == [".json", ".lock", ".lock"]
    with Claim(folder, B), locked(folder / "a.lock"):
        pass
    assert not list(tmp_path.iterdir())


KILLED_IN_A_FOLDER = """
import os, sys
from pathlib import Path
from napari_unet.io.folder_lock import temporary_folder
held = temporary_folder(Path(sys.argv[1]))
folder = held.__enter__()
(folder / "bundle.zip").write_bytes(b"pixels")
os._exit(9)
"""


def aged(folder):
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (0, 0))


def test_a_temporary_folder_goes_at_its_end(tmp_path):
    with temporary_folder(tmp_path) as folder:
        (folder / "bundle.zip").write_bytes(b"pixels")
        assert [p.name for p in tmp_path.iterdir()] == [folder.name]
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_of_one_goes_later(tmp_path):
    command = [sys.executable, "-c", KILLED_IN_A_FOLDER, str(tmp_path)]
    subprocess.run(command, check=False)
    (left,) = tmp_path.iterdir()
    empty = tmp_path / "napari-unet-far-empty"
    empty.mkdir()
    with temporary_folder(tmp_path):
        assert left.exists()
    aged(left)
    aged(empty)
    with temporary_folder(tmp_path) as folder:
        assert [p.name for p in tmp_path.iterdir()] == [folder.name]


def test_one_in_use_and_one_of_somebody_else_stay(tmp_path):
    mine = tmp_path / "napari-unet-far-mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    aged(mine)
    with temporary_folder(tmp_path) as first:
        aged(first)
        with temporary_folder(tmp_path):
            assert first.exists()
    assert [p.name for p in tmp_path.iterdir()] == [mine.name]
    assert (mine / "notes.txt").exists()
