"""What is written to an annotation's file is there when it is opened again."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from mmap import PAGESIZE
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.session.project.annotation_file import AnnotationFile
from napari_unet.session.project.places_log import HIGHEST_ID, PlacesLog, read_places

if TYPE_CHECKING:
    from pathlib import Path

BOX = (slice(1, 3), slice(2, 5))
VALUES = np.array([[0, 2, 3], [1, 0, 7]], np.int32)


def reopened(file: AnnotationFile) -> AnnotationFile:
    file.close()
    return AnnotationFile(file.path, file.axes, file.shape)


def test_a_new_file_is_empty_and_takes_no_space(tmp_path: Path) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "zyx", (40, 512, 512))
    assert file.places == ()
    assert file.highest == 0
    assert file.array.shape == (40, 512, 512)
    assert file.array.dtype == np.int32
    assert not file.array.any()
    assert file.path.stat().st_blocks * 512 < file.path.stat().st_size / 10


def test_values_places_and_highest_id_are_there_again(tmp_path: Path) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "tzyx", (2, 3, 4, 6))
    file.write(1, 2, BOX, VALUES)
    file = reopened(file)
    expected = np.zeros((2, 3, 4, 6), np.int32)
    expected[1, 2, 1:3, 2:5] = VALUES
    np.testing.assert_array_equal(file.array, expected)
    np.testing.assert_array_equal(file.copy(), expected)
    assert file.places == ((1, 2),)
    assert file.highest == 7
    assert file.has(1, 2)
    assert not file.has(0, 0)


def test_the_worker_reads_what_was_written(tmp_path: Path) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "yx", (4, 6))
    file.write(0, 0, BOX, VALUES)
    np.testing.assert_array_equal(file.reference.open()[BOX], VALUES)


def test_axes_may_be_in_any_order(tmp_path: Path) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "xzy", (6, 2, 4))
    file.write(0, 1, BOX, VALUES)
    np.testing.assert_array_equal(file.array[2:5, 1, 1:3], VALUES.T)
    np.testing.assert_array_equal(file.plane(0, 1)[BOX], VALUES)


def test_on_a_full_disk_looking_at_the_planes_does_not_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "zyx", (3, 4, 6))
    file.write(0, 2, BOX, VALUES)
    file.write(0, 2, BOX, np.zeros_like(VALUES))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(PlacesLog, "_append", full)
        assert file.places == ((0, 2),)
    assert file.places == ()


def test_a_plane_in_which_all_was_erased_is_no_place(tmp_path: Path) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "zyx", (3, 4, 6))
    file.write(0, 0, BOX, VALUES)
    file.write(0, 2, BOX, VALUES)
    file.write(0, 0, BOX, np.zeros_like(VALUES))
    assert file.places == ((0, 2),)
    file.write(0, 2, (slice(1, 2), slice(2, 5)), np.zeros((1, 3), np.int32))
    file = reopened(file)
    assert file.places == ((0, 2),)
    assert file.highest == 7
    file.write(0, 0, BOX, VALUES)
    file = reopened(file)
    assert file.places == ((0, 0), (0, 2))


def test_opening_believes_the_log_and_does_not_scan(tmp_path: Path) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "zyx", (3, 4, 6))
    file.write(0, 0, BOX, VALUES)
    file.write(0, 0, BOX, np.zeros_like(VALUES))
    file.array[2] = 5  # past the log
    file = reopened(file)
    assert file.places == ()
    assert file.highest == 7  # of an id that is erased


def test_without_its_log_all_planes_are_looked_at(tmp_path: Path) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "zyx", (3, 4, 6))
    file.write(0, 1, BOX, VALUES)
    file.close()
    (tmp_path / "a.places").write_text("")
    file = AnnotationFile(file.path, file.axes, file.shape)
    assert (file.places, file.highest) == (((0, 1),), 7)


def test_a_torn_last_line_of_the_log_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "a.places"
    log.write_text("napari-unet places 1\n+ 0 1\n+ 0 3\n- 0 1\nh 12\n+ 0 1")
    assert read_places(log, (1, 4)) == ({(0, 3)}, 12)
    assert read_places(tmp_path / "none", (1, 4)) is None


@pytest.mark.parametrize(
    "lines",
    [
        "+ 0 99\nh 7\n",
        "+ 1 0\n",
        "+ 0 -1\nh -5\n",
        "h\n",
        "h 1099511627776\n",
        "+ 0 1\nh 7\nh+ 0 1\nh 9\n",
        "+ 0 1\n+ 0+ 0 2\n",
        "+ 0 1\n- 0 1h 8\n",
        "spam\n",
        "+\n",
        "\n",
        "+ 0 1e300\n",
        "+ 0 ٣\n",
        f"h {'9' * 5000}\n",
    ],
)
def test_a_log_that_cannot_be_true_is_none(lines: str, tmp_path: Path) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "zyx", (3, 4, 6))
    file.write(0, 1, BOX, VALUES)
    file.close()
    log = tmp_path / "a.places"
    log.write_text(f"napari-unet places 1\n{lines}", encoding="utf-8")
    assert read_places(log, (1, 3)) is None
    # what is annotated is looked for in the pixels
    file = AnnotationFile(file.path, file.axes, file.shape)
    assert (file.places, file.highest, file.notes) == (((0, 1),), 7, ())


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs limits of files")
def test_a_line_that_the_disk_takes_in_part_leaves_no_trace(tmp_path: Path) -> None:
    # the log may grow by three more bytes, the pixels are smaller than that
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from napari_unet.session.project.places_log import PlacesLog, read_places\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "log = PlacesLog(Path(sys.argv[1]), {(0, 1)}, 7)\n"
        "size = Path(sys.argv[1]).stat().st_size\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 3,) * 2)\n"
        "for change in (lambda: log.add((0, 2)), lambda: log.raise_highest(123)):\n"
        "    try:\n"
        "        change()\n"
        "    except OSError as error:\n"
        "        print(error)\n"
        "print(sorted(log.places), log.highest)\n"
        "print(read_places(Path(sys.argv[1]), (1, 3)))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.places")],
        capture_output=True,
        text=True,
    )
    told = f"{tmp_path}/a.places: cannot be written, the disk is full.\n"
    assert ran.stdout == f"{told}{told}[(0, 1)] 7\n({{(0, 1)}}, 7)\n", ran.stderr


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.full((2, 3), -1), "labels are 0 to 2147483647, found -1 to -1"),
        (np.full((2, 3), HIGHEST_ID + 1), "found 2147483648 to 2147483648"),
        (np.zeros((2, 3)), "labels are whole numbers, found float64"),
        (np.zeros((3, 2), int), r"the box is \(2, 3\) pixels, found \(3, 2\)"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, values: Any, sentence: str
) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "yx", (4, 6))
    with pytest.raises(ValueError, match=sentence):
        file.write(0, 0, BOX, values)
    assert not file.array.any()
    assert file.places == ()


def test_the_largest_id_is_kept_as_it_is(tmp_path: Path) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "yx", (4, 6))
    file.write(0, 0, BOX, np.full((2, 3), HIGHEST_ID, np.uint64))
    assert file.highest == HIGHEST_ID
    assert (file.array[BOX] == HIGHEST_ID).all()


def test_a_plane_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "zyx", (3, 4, 6))
    for place in [(0, 3), (1, 0), (0, -1), (-1, 0)]:
        with pytest.raises(IndexError, match=rf"no plane t={place[0]}, z={place[1]}"):
            file.plane(*place)


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    AnnotationFile(tmp_path / "a.raw", "yx", (4, 6)).close()
    with pytest.raises(ValueError, match=r"\(4, 7\) has 112 bytes, found 96"):
        AnnotationFile(tmp_path / "a.raw", "yx", (4, 7))


def test_a_retired_file_is_not_written_to(tmp_path: Path) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "yx", (4, 6))
    file.close()
    file.close()
    with pytest.raises(RuntimeError, match="no longer the annotation"):
        file.write(0, 0, BOX, VALUES)
    assert not file.array.any()


def test_flush_makes_it_clean_until_the_next_write(tmp_path: Path) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "yx", (4, 6))
    assert not file.dirty
    file.write(0, 0, BOX, VALUES)
    assert file.dirty
    file.flush()
    assert not file.dirty


def test_pixels_that_changed_are_tracked(tmp_path: Path) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "yx", (4, 6))
    file.write(0, 0, BOX, VALUES)
    file.touched = {}
    changed = VALUES.copy()
    changed[0, 1] = 9
    file.write(0, 0, BOX, changed)
    assert np.argwhere(file.touched[0, 0]).tolist() == [[1, 3]]


def test_a_large_write_cut_off_by_a_kill_is_finished_when_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (1024, 512)
    file = AnnotationFile(tmp_path / "a.raw", "yx", shape)
    values = np.arange(1024 * 510, dtype=np.int32).reshape(1024, 510)

    def kill(path: Path, missing_ok: bool = False) -> None:
        if path.name.endswith(".pending.npy"):
            raise KeyboardInterrupt

    monkeypatch.setattr(type(file.path), "unlink", kill)
    with pytest.raises(KeyboardInterrupt):
        file.write(0, 0, (slice(None), slice(2, 512)), values)
    monkeypatch.undo()
    file.array[500:] = 0  # half of it had not got through
    file.close()
    file = AnnotationFile(file.path, "yx", shape)
    np.testing.assert_array_equal(file.array[:, 2:], values)
    assert not file.array[:, :2].any()
    file.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.places", "a.raw"]


def test_a_large_write_leaves_no_record_behind(tmp_path: Path) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "yx", (1024, 512))
    file.write(0, 0, (slice(None), slice(None)), np.ones((1024, 512), np.int32))
    assert file.array.all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.places", "a.raw"]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no such call here")
@pytest.mark.parametrize("call", ["write", "load"])
def test_a_full_disk_is_told_before_anything_is_written(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "zyx", (3, 64, 256))
    asked = []

    def full(_: int, start: int, length: int) -> None:
        asked.append((start, length))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    calls = {
        "write": lambda: file.write(0, 2, BOX, VALUES),
        "load": lambda: file.load(0, 2, np.ones((64, 256), int)),
    }
    with pytest.raises(OSError, match="cannot be written, the disk is full"):
        calls[call]()
    assert not file.array.any()
    # of plane 2, all, or what row 1, column 2 to row 2, column 4 lie in: whole pages
    plane = 64 * 256 * 4
    assert asked == [(2 * plane, PAGESIZE if call == "write" else plane)]


def record(values: Any) -> bytes:
    """Return what a large write leaves on the disk."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


class TestPending:
    """Large writes that a kill, or the end of power, interrupted."""

    SHAPE = (2, 40, 50)
    BEFORE = (slice(0, 3), slice(0, 3))

    def opened(self, folder: Path, name: str, data: bytes) -> AnnotationFile:
        path = folder / "annotation-a.raw"
        file = AnnotationFile(path, "zyx", self.SHAPE)
        file.write(0, 1, self.BEFORE, np.full((3, 3), 3))
        file.close()
        (folder / f"annotation-a.{name}.npy").write_bytes(data)
        return AnnotationFile(path, "zyx", self.SHAPE)

    def only_before(self, file: AnnotationFile) -> None:
        expected = np.zeros(self.SHAPE, np.int32)
        expected[1, :3, :3] = 3
        np.testing.assert_array_equal(file.array, expected)
        file.write(0, 0, BOX, VALUES)
        file.close()
        names = sorted(path.name for path in file.path.parent.iterdir())
        assert names == ["annotation-a.places", "annotation-a.raw"]
        assert AnnotationFile(file.path, "zyx", self.SHAPE).notes == ()

    WHOLE = np.full((30, 40), 5, np.int32)

    @pytest.mark.parametrize("kept", [0, 1, 9, 60, 128, 1000, -1])
    def test_a_torn_record_is_discarded_with_a_word(
        self, kept: int, tmp_path: Path
    ) -> None:
        file = self.opened(tmp_path, "0-1-2-2.pending", record(self.WHOLE)[:kept])
        assert len(file.notes) == 1
        assert (
            "annotation-a.0-1-2-2.pending.npy: the last large change" in file.notes[0]
        )
        self.only_before(file)

    @pytest.mark.parametrize(
        "data",
        [
            bytes(5000),
            record(np.full((30, 40), 0.5)),
            record(np.full((30, 40), -1)),
            record(np.full((30, 40), 2**31)),
            record(np.zeros(7, int)),
            record(np.zeros((1, 2, 3), int)),
            record(np.array({}, object)),
            record(np.zeros((2, 2), int)).replace(b"(2, 2)", b"(2**9, 2)"),
            record(np.zeros((2, 2), int)).replace(b"(2, 2), ", b"(9999999,9999999), "),
            b"PK\x03\x04" + bytes(100),
        ],
    )
    def test_a_record_of_something_else_is_discarded(
        self, data: bytes, tmp_path: Path
    ) -> None:
        file = self.opened(tmp_path, "0-1-2-2.pending", data)
        assert len(file.notes) == 1
        self.only_before(file)

    @pytest.mark.parametrize(
        "where",
        [
            "0-1-900-900",
            "0-5-0-0",
            "7-0-0-0",
            "0-0-x-0",
            "0-0-0",
            "-1-0-0-0",
            "0-1-11-0",
            "0-1-0-11",
            "0-0-0-99999999999999999999",
        ],
    )
    def test_a_record_that_belongs_nowhere_is_discarded(
        self, where: str, tmp_path: Path
    ) -> None:
        file = self.opened(tmp_path, f"{where}.pending", record(self.WHOLE))
        assert len(file.notes) == 1
        self.only_before(file)

    def test_one_that_did_not_count_yet_is_none(self, tmp_path: Path) -> None:
        file = self.opened(tmp_path, "abcdef.part", record(self.WHOLE))
        assert file.notes == ()
        self.only_before(file)

    def test_a_whole_one_is_taken_and_on_the_disk_before_it_goes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order: list[str] = []
        real, fsync = type(tmp_path).unlink, os.fsync

        def unlink(path: Path, missing_ok: bool = False) -> None:
            order.append(path.name)
            real(path, missing_ok)

        def flushed(handle: int) -> None:
            order.append("flush")
            fsync(handle)

        data = record(self.WHOLE)
        monkeypatch.setattr(type(tmp_path), "unlink", unlink)
        monkeypatch.setattr(os, "fsync", flushed)
        file = self.opened(tmp_path, "0-1-2-2.pending", data)
        assert order[-2:] == ["flush", "annotation-a.0-1-2-2.pending.npy"]
        assert file.notes == ()
        assert (file.array[1, 2:32, 2:42] == 5).all()
        assert file.highest == 5

    def test_a_large_write_counts_when_its_bytes_are_on_the_disk(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = AnnotationFile(tmp_path / "a.raw", "yx", (1024, 512))
        flushed: list[int] = []
        fsync, real = os.fsync, os.replace

        def note(handle: int) -> None:
            flushed.append(os.fstat(handle).st_ino)
            fsync(handle)

        def replace(source: Path, target: Path) -> None:
            if str(target).endswith(".pending.npy"):
                assert os.stat(source).st_ino in flushed
                flushed.append(0)
            real(source, target)

        monkeypatch.setattr(os, "fsync", note)
        monkeypatch.setattr(os, "replace", replace)
        file.write(0, 0, (slice(None), slice(None)), np.ones((1024, 512), np.int32))
        assert 0 in flushed


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("name", ["a.raw", "a.places"])
@pytest.mark.parametrize("there", [True, False])
def test_links_are_not_followed(name: str, there: bool, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    if there:
        victim.write_bytes(bytes(96))
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / name).symlink_to(victim)
    with pytest.raises(ValueError, match=rf"{name}: is a link, and is not opened\.$"):
        AnnotationFile(folder / "a.raw", "yx", (4, 6))
    assert victim.exists() == there
    assert not there or victim.read_bytes() == bytes(96)


def test_only_what_belongs_to_an_annotation_goes_with_it(tmp_path: Path) -> None:
    others = ["a.txt", "a.raw.bak", "a.b.raw", "ab.raw", "a.json", "a.npy"]
    for name in (*others, "a.places", "a.0-0-0-0.pending.npy", "a.x.part.npy"):
        (tmp_path / name).write_bytes(b"x")
    AnnotationFile(tmp_path / "a.raw", "yx", (4, 6)).close()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*others, "a.raw", "a.places"}


@pytest.mark.skipif(sys.platform != "linux", reason="counts what /proc tells")
def test_many_annotations_keep_few_files_open(tmp_path: Path) -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = opened()
    files = [AnnotationFile(tmp_path / f"{k}.raw", "yx", (4, 6)) for k in range(80)]
    for number, file in enumerate(files, start=2):
        file.write(0, 0, BOX, np.full((2, 3), number))
    assert opened() - before <= 20
    for number, file in enumerate(files, start=2):
        assert int(file.array[1, 2]) == number
        file.flush()
    assert opened() - before <= 20
    for file in files:
        file.close()
    assert opened() <= before + 1


@pytest.mark.skipif(sys.platform == "win32", reason="has no such permissions")
def test_its_files_are_of_this_person_alone(tmp_path: Path) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "yx", (4, 6))
    file.write(0, 0, BOX, VALUES)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"a.raw": 0o600, "a.places": 0o600}
