"""Whose a scratch folder is: of a living process, wherever it runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from napari_unet.session.scratch import Scratch

HOLDER = """
import sys
from pathlib import Path
from napari_unet.session.scratch import Scratch
scratch = Scratch(Path(sys.argv[1]))
(scratch.folder / "pixels.raw").write_bytes(b"pixels")
print(scratch.folder, flush=True)
sys.stdin.readline()
"""


def hold(around: Path, *before: str) -> tuple[subprocess.Popen[str], Path]:
    """Have another process hold a folder."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", HOLDER, str(around)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line and before:
        process.communicate()
        pytest.skip("no process can be put into a namespace of its own here")
    return process, Path(line.strip())


@pytest.mark.parametrize("where", [(), ("unshare", "-rpf", "--mount-proc")])
@pytest.mark.skipif(sys.platform != "linux", reason="has no namespaces")
def test_a_folder_lives_as_long_as_its_process(
    where: tuple[str, ...], tmp_path: Path
) -> None:
    # in a namespace of its own it has the number 1, or one of somebody else here
    process, folder = hold(tmp_path / "scratch", *where)
    with process:
        for _ in range(2):
            Scratch(tmp_path / "scratch").close()
            assert (folder / "pixels.raw").read_bytes() == b"pixels"
        assert process.stdin is not None
        process.stdin.close()  # it ends without removing anything
        process.wait()
    assert folder.is_dir()
    own = Scratch(tmp_path / "scratch")
    assert not folder.exists()
    own.close()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_two_of_one_process_are_two(tmp_path: Path) -> None:
    one, two = Scratch(tmp_path), Scratch(tmp_path)
    assert one.folder != two.folder
    one.close()
    assert two.folder.is_dir()
    one.close()
    two.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["4194303-0", "1-0", "abc"])
def test_folders_without_a_lock_go_when_nobody_can_use_them_any_more(
    name: str, tmp_path: Path
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "pixels.raw").write_bytes(b"pixels")
    Scratch(tmp_path).close()
    assert folder.is_dir()
    for path in (folder / "pixels.raw", folder):
        os.utime(path, (time.time() - 8 * 86_400,) * 2)
    Scratch(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_left_alone(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "notes").write_text("precious")
    os.utime(victim, (0, 0))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "1-0").symlink_to(victim)
    (scratch / "2-0").mkdir()
    (scratch / "2-0.lock").symlink_to(victim / "notes")
    Scratch(scratch).close()
    assert (victim / "notes").read_text() == "precious"


@pytest.mark.skipif(sys.platform == "win32", reason="has no such permissions")
def test_nobody_else_can_look_into_it(tmp_path: Path) -> None:
    own = Scratch(tmp_path / "home" / "scratch")
    for folder in (own.folder, own.folder.parent, tmp_path / "home"):
        assert folder.stat().st_mode & 0o777 == 0o700
