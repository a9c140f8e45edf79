"""What differs between systems, where it is ours, on a platform that is feigned."""

from __future__ import annotations

import mmap
import ntpath
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unicodedata import normalize

import numpy as np
import pytest
import tifffile

from napari_unet.cli import found_files
from napari_unet.core.images.array_reference import ArrayReference
from napari_unet.io import atomic as atomic_module
from napari_unet.io.atomic import atomic
from napari_unet.io.learnt_data import find_file
from napari_unet.io.names import file_stem, is_portable, noted_name
from napari_unet.io.prediction_folder import distinct_files
from napari_unet.session.annotating import shortcuts
from napari_unet.session.project.annotation_file import AnnotationFile
from napari_unet.session.worker.worker_process import End


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


def test_the_record_of_a_large_change_goes_although_it_is_read_just_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """One that stayed would replace later strokes when the project is opened again."""
    file = AnnotationFile(tmp_path / "a.raw", "yx", (600, 600))
    request.getfixturevalue("windows")
    scanned = [3]
    unlink = Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".npy" and scanned[0]:
            scanned[0] -= 1
            raise PermissionError(13, "Access is denied", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    values = np.full((600, 600), 2)
    file.write(0, 0, (slice(0, 600), slice(0, 600)), values)
    assert scanned == [0]
    assert not list(tmp_path.glob("*.npy"))
    assert (file.array == 2).all()
    file.close()


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
    with pytest.raises(OSError, match=r"would have \d+ characters and Windows takes"):
        atomic_module.make_folder(path)


@pytest.mark.usefixtures("windows")
def test_a_path_whose_temporary_file_is_too_long_for_windows_is_told_so(
    tmp_path: Path,
) -> None:
    folder = tmp_path / ("x" * (225 - len(str(tmp_path))))
    with (
        pytest.raises(OSError, match=r"a\.tif: cannot be written, a path"),
        atomic(folder / "a.tif") as temporary,
    ):
        raise FileNotFoundError(2, "No such file or directory", str(temporary))


@pytest.mark.usefixtures("windows")
def test_a_folder_too_long_for_windows_is_told_by_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_long(*_: object, **__: object) -> None:
        error = FileNotFoundError(2, "The filename or extension is too long")
        error.winerror = 206  # type: ignore[attr-defined]
        raise error

    monkeypatch.setattr(Path, "mkdir", too_long)
    with pytest.raises(OSError, match="of a folder 247, unless long paths"):
        atomic_module.make_folder(tmp_path)


def test_windows_sets_space_aside_by_a_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truncating would write gigabytes of zeros before a prediction begins."""
    asked: list[int] = []
    real = mmap.mmap

    def enlarging(handle: int, length: int) -> mmap.mmap:
        asked.append(length)
        os.truncate(handle, length)  # as a map does there
        return real(handle, length)

    with monkeypatch.context() as patched:
        patched.setattr(sys, "platform", "win32")
        patched.setattr(mmap, "mmap", enlarging)
        stored = ArrayReference.create(tmp_path / "a.raw", (3, 5, 7), "int32")
    assert asked == [3 * 5 * 7 * 4]
    array = stored.open(writable=True)
    assert array.shape == (3, 5, 7)
    assert not array.any()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0xC0000005, "ended unexpectedly (status 0xC0000005)."),
        (1, "ended unexpectedly (status 1)."),
        (128 + 15, "was ended from outside (signal 15)."),
        (-9, "was ended from outside (signal 9)."),
    ],
)
def test_how_a_worker_ended_is_told_of_each_system(code: int, words: str) -> None:
    assert End(code, True, False, "").sentence == f"The worker process {words}"


def test_on_a_mac_the_command_key_is_what_ctrl_is_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from app_model.types import KeyCode, KeyMod, OperatingSystem, _constants
    from napari.layers import Labels
    from napari.utils.key_bindings import coerce_keybinding

    layer = Labels(np.zeros((4, 4), int))
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(_constants, "_CURRENT", OperatingSystem.MACOS)
    mac = SimpleNamespace(**runpy.run_path(shortcuts.__file__))
    keys = [mac.Shortcut("Control-Z", "Undo the last edit", "undo")]
    mac.bind(layer, SimpleNamespace(undo=lambda: None), print, keys)
    # where napari has its own undo
    assert list(layer.keymap) == [coerce_keybinding(KeyMod.CtrlCmd | KeyCode.KeyZ)]
    mac.unbind(layer, keys)
    assert not layer.keymap
    assert mac.readable("Control-Z") == "Cmd+Z"


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


@pytest.mark.parametrize(("platform", "refused"), [("darwin", True), ("linux", False)])
@pytest.mark.parametrize("name", ["Größe", "Å", "é" * 3])
def test_images_whose_names_differ_in_how_letters_are_written(
    platform: str,
    refused: bool,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their results would be one file on the disks of macOS."""
    both = [normalize(form, name) for form in ("NFC", "NFD")]
    files = [tmp_path / str(k) / f"{one}.tif" for k, one in enumerate(both)]
    monkeypatch.setattr(sys, "platform", platform)
    if refused:
        with pytest.raises(ValueError, match="overwrite each other"):
            distinct_files(files)
    else:
        assert distinct_files(files) == files


@pytest.mark.parametrize(
    "path",
    [r"Z:\data\a.tif", "Z:/data/a.tif", r"\\lab\data\a.tif", "/data/a.tif", "./a.tif"],
)
def test_a_path_that_was_noted_on_another_system_names_its_file(
    path: str, tmp_path: Path
) -> None:
    assert noted_name(path) == "a.tif"
    here = tmp_path / "a.tif"
    here.touch()
    assert find_file(path, tmp_path) == here


@pytest.mark.parametrize("root", ["Z:\\data\\", "\\\\lab\\data\\", "/data/", "./", ""])
def test_files_of_one_name_are_found_again_in_their_folders(
    root: str, tmp_path: Path
) -> None:
    slash = "\\" if "\\" in root else "/"
    for day in ("1", "2"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "a.tif").touch()
        found = find_file(f"{root}{day}{slash}a.tif", tmp_path)
        assert found == tmp_path / day / "a.tif"
    (tmp_path / "a.tif").touch()
    assert find_file(f"{root}3{slash}a.tif", tmp_path) == tmp_path / "a.tif"
    # no name leads out of the folder
    inner = tmp_path / "inner"
    inner.mkdir()
    with pytest.raises(
        FileNotFoundError, match=f"nor is it in {re.escape(str(inner))}"
    ):
        find_file(f"{root}..{slash}a.tif", inner)


def test_files_of_several_drives_are_told_apart_by_their_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / "c" / "a.tif", tmp_path / "d" / "a.tif"]
    for file in files:
        file.parent.mkdir()
        tifffile.imwrite(file, np.zeros((8, 8), np.uint8))

    def other_drives(paths: list[Path]) -> str:
        drives = [f"{path.name}:\\{path.name}" for path in paths]
        return ntpath.commonpath(drives)

    monkeypatch.setattr(found_files, "commonpath", other_drives)
    found = found_files.found_files(files)
    assert [file.folders for file in found] == [file.parent.parts for file in files]


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
