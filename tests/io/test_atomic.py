from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path

import pytest

from napari_unet.core.text import unreadable
from napari_unet.io.atomic import atomic, check_separate, remove_strays


def test_the_file_appears_only_when_the_block_is_done(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    with atomic(target) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == tmp_path
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with atomic(target) as temporary:
        temporary.write_bytes(b"new")
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failing_block_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def fail() -> None:
        with atomic(target) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_with_content_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.zarr"
    target.mkdir()
    (target / "old").write_bytes(b"old")
    with atomic(target) as temporary:
        (temporary / "deep").mkdir(parents=True)
        (temporary / "deep" / "new").write_bytes(b"new")
        assert (target / "old").exists()
    assert [p.name for p in tmp_path.rglob("*")] == ["a.zarr", "deep", "new"]


def test_a_failing_block_leaves_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "a.zarr"
    target.mkdir()
    (target / "old").write_bytes(b"old")

    def fail() -> None:
        with atomic(target) as temporary:
            temporary.mkdir()
            (temporary / "new").write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [p.name for p in tmp_path.rglob("*")] == ["a.zarr", "old"]


def _write(target: Path) -> None:
    with atomic(target) as temporary:
        temporary.write_bytes(b"new")


@pytest.mark.skipif(sys.platform == "win32", reason="other error numbers")
def test_each_cause_is_told_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(
        OSError, match=r"x\.tif: cannot be written, its folder is a file"
    ):
        _write(file / "x.tif")
    with pytest.raises(OSError, match="its folder does not exist") as caught:
        _write(tmp_path / "none" / "x.tif")
    assert caught.value.errno == errno.ENOENT
    assert (
        str(caught.value).count(".") == 2
    )  # the suffix and the end: no traceback text
    with pytest.raises(OSError, match="a folder of this name exists"):
        _write(tmp_path / "folder.tif")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.tif"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_folder_that_takes_no_files_gives_one_sentence_even_to_root() -> None:
    with pytest.raises(OSError, match=r"/proc/self/x\.tif: cannot be written, .+\.$"):
        _write(Path("/proc/self/x.tif"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        with atomic(tmp_path / "a.bin") as temporary:
            temporary.symlink_to("/dev/full")
            temporary.write_bytes(b"x" * 100_000)

    with pytest.raises(OSError, match="cannot be written, the disk is full") as caught:
        fill()
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_a_short_write_without_a_number_is_a_sentence(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic(tmp_path / "a.bin"):
            raise OSError("12 requested and 0 written")  # what numpy's tofile raises

    with pytest.raises(OSError, match="the system tells no reason"):
        fail()


def test_a_block_that_cannot_read_something_else_is_not_blamed_on_the_target(
    tmp_path: Path,
) -> None:
    def fail() -> None:
        with atomic(tmp_path / "a.bin"):
            (tmp_path / "input").read_bytes()

    with pytest.raises(FileNotFoundError, match="input"):
        fail()


@pytest.mark.parametrize(
    "error",
    [
        unreadable("a.tif", PermissionError(errno.EACCES, "Permission denied")),
        OSError("a.tif: a part of it cannot be read, Input/output error."),
    ],
)
def test_a_sentence_about_what_is_read_stays_as_it_is(
    tmp_path: Path, error: OSError
) -> None:
    def fail() -> None:
        with atomic(tmp_path / "b.zip"):
            raise error

    with pytest.raises(OSError, match=r"^a\.tif: .*cannot be read") as caught:
        fail()
    assert caught.value is error


@pytest.mark.skipif(sys.platform == "win32", reason="other error numbers")
def test_what_is_in_the_way_inside_is_told_of_the_whole(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic(tmp_path / "a.run") as folder:
            folder.mkdir()
            (folder / "run.json").mkdir()
            _write(folder / "run.json")

    with pytest.raises(OSError, match=r"a\.run: cannot be written, a folder of this"):
        fail()


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.zarr"
    target.mkdir()
    (target / "old").write_bytes(b"old")
    replace = os.replace

    def refuse_new(source: Path, destination: Path) -> None:
        if source.suffix == ".part":
            raise PermissionError(errno.EACCES, "no", str(source))
        replace(source, destination)

    monkeypatch.setattr(os, "replace", refuse_new)

    def write() -> None:
        with atomic(target) as temporary:
            temporary.mkdir()
            (temporary / "new").write_bytes(b"new")

    with pytest.raises(OSError, match="writing there is not permitted"):
        write()
    assert [p.name for p in tmp_path.rglob("*")] == ["a.zarr", "old"]


def test_an_output_is_kept_apart_from_what_is_read(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    file = images / "a.tif"
    file.touch()
    same = [file, images / ".." / "images" / "a.tif", images]
    if sys.platform != "win32":  # links need rights there
        same.append(tmp_path / "link.tif")
        same[-1].symlink_to(file)
    for output in same:
        with pytest.raises(ValueError, match="would be replaced"):
            check_separate(output, [file])
    with pytest.raises(ValueError, match="lies in what is read"):
        check_separate(images / "new", [images])
    check_separate(tmp_path / "images2", [images, file])
    check_separate(images / "b.tif", [file])


DAY = 86_400


def stray(folder: Path, letter: str, kind: str, age: float) -> Path:
    """Make what a killed writer leaves, changed so many seconds ago."""
    path = folder / f".napari-unet-{letter * 32}.{kind}"
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_what_killed_writers_left_is_removed_a_day_later(tmp_path: Path) -> None:
    gone = [stray(tmp_path, "a", "part", 2 * DAY), stray(tmp_path, "b", "try", 2 * DAY)]
    kept = [stray(tmp_path, "c", "part", DAY / 2), stray(tmp_path, "d", "old", 0)]
    for name in ("mine.part", ".napari-unet-x.part", ".napari-unet.part"):
        (tmp_path / name).write_bytes(b"mine")
        os.utime(tmp_path / name, (0, 0))
        kept.append(tmp_path / name)
    remove_strays(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert not any(path.exists() for path in gone)
    remove_strays(tmp_path, age_s=0)
    assert sorted(tmp_path.iterdir()) == sorted(kept[2:])
    remove_strays(tmp_path / "none")


def test_a_folder_is_a_stray_when_nothing_in_it_changes(tmp_path: Path) -> None:
    for letter, age in (("a", 2 * DAY), ("b", 0)):
        folder = tmp_path / f".napari-unet-{letter * 32}.part"
        (folder / "c").mkdir(parents=True)
        (folder / "c" / "0").write_bytes(b"chunk")
        for path in (folder / "c" / "0", folder / "c", folder):
            os.utime(path, (time.time() - (age if path.is_file() else 3 * DAY),) * 2)
    remove_strays(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [
        f".napari-unet-{'b' * 32}.part"
    ]


def test_the_last_whole_copy_of_a_folder_stays(tmp_path: Path) -> None:
    # killed between the two renames: the name is nobody's
    pair = [stray(tmp_path, "a", kind, 9 * DAY) for kind in ("old", "part")]
    # killed while what was replaced was being removed
    replaced = stray(tmp_path, "b", "old", 9 * DAY)
    remove_strays(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(pair)
    assert not replaced.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_stray_link_goes_without_what_it_leads_to(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "notes").write_bytes(b"precious")
    link = tmp_path / f".napari-unet-{'a' * 32}.part"
    link.symlink_to(victim)
    remove_strays(tmp_path, age_s=0)
    assert list(tmp_path.iterdir()) == [victim]
    assert (victim / "notes").read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["none/x.tif", "./none/x.tif", "a/../none/x.tif"])
@pytest.mark.skipif(sys.platform == "win32", reason="other error numbers")
def test_a_library_that_opens_the_whole_path_is_told_apart_no_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(
            OSError, match=r"x\.tif: cannot be written, its folder does not exist"
        ) as caught,
        atomic(name) as temporary,
    ):
        Path(os.path.abspath(temporary)).write_bytes(b"new")
    assert ".part" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="other"), atomic("b.tif"):
        Path("other").read_bytes()  # not from writing
