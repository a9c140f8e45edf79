"""What is written to an annotation's file is there when it is opened again."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.session.project import annotation_file as module
from napari_unet.session.project.annotation_file import HIGHEST_ID, AnnotationFile
from napari_unet.session.project.places_log import read_places

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
    assert file.counts(1, 2) == {1: 1, 2: 1, 3: 1, 7: 1}
    assert file.counts(0, 0) == {}


def test_the_worker_reads_what_was_written(tmp_path: Path) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "yx", (4, 6))
    file.write(0, 0, BOX, VALUES)
    np.testing.assert_array_equal(file.stored.open()[BOX], VALUES)


def test_axes_may_be_in_any_order(tmp_path: Path) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "xzy", (6, 2, 4))
    file.write(0, 1, BOX, VALUES)
    np.testing.assert_array_equal(file.array[2:5, 1, 1:3], VALUES.T)
    np.testing.assert_array_equal(file.plane(0, 1)[BOX], VALUES)


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
    assert read_places(log) == ({(0, 3)}, 12)
    assert read_places(tmp_path / "none") is None


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
def test_a_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = AnnotationFile(tmp_path / "a.raw", "zyx", (3, 4, 6))
    asked = []

    def full(_: int, start: int, length: int) -> None:
        asked.append((start, length))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.os, "posix_fallocate", full)
    with pytest.raises(OSError, match="cannot be written, the disk is full"):
        file.write(0, 2, BOX, VALUES)
    assert not file.array.any()
    # rows 1 and 2 of plane 2, 6 pixels of 4 bytes each
    assert asked == [((2 * 24 + 6) * 4, 48)]
