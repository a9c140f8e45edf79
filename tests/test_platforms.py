"""What differs between systems, where it is ours, on a platform that is feigned."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_unet.io import atomic as atomic_module
from napari_unet.io.atomic import atomic
from napari_unet.io.names import file_stem, is_portable
from napari_unet.io.prediction_folder import distinct_files


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(atomic_module, "_PAUSE_S", 0)


class Scanner:
    """Has a file open for a while, as virus scanners do: Windows refuses to rename."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self.left = times
        self._replace = os.replace
        monkeypatch.setattr(os, "replace", self)

    def __call__(self, source: Path, target: Path) -> None:
        if self.left:
            self.left -= 1
            raise PermissionError(13, "Access is denied", str(source))
        self._replace(source, target)


@pytest.mark.usefixtures("windows")
def test_a_file_that_is_read_just_then_is_replaced_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cells.json"
    path.write_text("old")
    scanner = Scanner(monkeypatch, 3)
    with atomic(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert scanner.left == 0


@pytest.mark.usefixtures("windows")
def test_a_file_that_stays_open_is_told_and_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cells.json"
    path.write_text("old")
    Scanner(monkeypatch, 10**6)
    with pytest.raises(OSError, match="not permitted"), atomic(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_elsewhere_nothing_is_tried_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanner = Scanner(monkeypatch, 5)
    with pytest.raises(OSError, match="not permitted"), atomic(tmp_path / "a") as new:
        new.write_text("new")
    assert scanner.left == 4


@pytest.mark.usefixtures("windows")
def test_a_path_too_long_for_windows_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows says that such a file does not exist."""
    path = tmp_path / ("x" * 200) / ("y" * 100)

    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(Path, "mkdir", missing)
    with pytest.raises(OSError, match=r"has \d+ characters and Windows takes 259"):
        atomic_module.make_folder(path)


@pytest.mark.parametrize(
    ("title", "stem"),
    [
        ("con", "_con"),
        ("NUL.tif", "_NUL.tif"),
        ("com1", "_com1"),
        ("console", "console"),
        ("a<b>:c", "a_b__c"),
        ("ends. ", "ends"),
    ],
)
def test_names_that_no_windows_takes(title: str, stem: str) -> None:
    assert file_stem(title, "image") == stem
    assert is_portable(f"{stem}.tif")
    assert is_portable(title) is (title == stem)


@pytest.mark.parametrize("name", ["", ".", "a/b", "a\\b", ".hidden", "what?.tif"])
def test_names_that_lead_elsewhere_or_not_everywhere(name: str) -> None:
    assert not is_portable(name)


@pytest.mark.parametrize(
    ("platform", "refused"), [("win32", True), ("darwin", True), ("linux", False)]
)
def test_images_whose_names_differ_in_capitals(
    platform: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their results would be one file on the disks of Windows and macOS."""
    files = [tmp_path / "1" / "Cells.tif", tmp_path / "2" / "cells.tif"]
    monkeypatch.setattr(sys, "platform", platform)
    if refused:
        with pytest.raises(ValueError, match="overwrite each other"):
            distinct_files(files)
    else:
        assert distinct_files(files) == files


def test_output_that_knows_no_sign_for_it_gets_a_question_mark() -> None:
    """A pipe of Windows has the signs of its country only."""
    code = "import sys; from napari_unet.cli.main import main; main(['info', 'nuclei'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=True,
    )
    assert b"92 ? 92 pixels" in done.stdout
    assert done.stderr == b""


def test_apples_gpus_may_leave_operations_to_the_cpu() -> None:
    code = (
        "import os; os.environ.pop('PYTORCH_ENABLE_MPS_FALLBACK', None)\n"
        "import napari_unet.engine.device, sys\n"
        "assert 'torch' in sys.modules\n"
        "print(os.environ['PYTORCH_ENABLE_MPS_FALLBACK'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"
