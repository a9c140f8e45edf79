"""A full disk is an error also where files are written through memory maps."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from mmap import PAGESIZE
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet.core.images.allocation import AllocatedMap, reserve
from napari_unet.core.images.array_reference import ArrayReference

if TYPE_CHECKING:
    from pathlib import Path

needs_blocks = pytest.mark.skipif(
    not hasattr(os, "posix_fallocate"), reason="no such call here"
)
SHAPE = (2, 3, 64, 2048)  # planes of 512 KiB


def used(path: Path) -> int:
    return path.stat().st_blocks * 512


@needs_blocks
@pytest.mark.parametrize(
    ("key", "planes"),
    [
        ((1, 2), {(1, 2)}),
        ((slice(None), 1, slice(3, 9), slice(5, 7)), {(0, 1), (1, 1)}),
        ((1, 0, 5, 9), {(1, 0)}),
        ((np.array([0, 0]), np.array([1, 2]), np.array([3, 4])), {(0, 1), (0, 2)}),
        ((0, -1), {(0, 2)}),
        (..., {(t, z) for t in range(2) for z in range(3)}),
    ],
)
def test_what_is_written_has_its_space_and_nothing_else(
    key: Any, planes: set[tuple[int, int]], tmp_path: Path
) -> None:
    stored = ArrayReference.create(tmp_path / "a.raw", SHAPE, "int32")
    array = stored.open(writable=True)
    asked: set[int] = set()
    real = os.posix_fallocate

    def note(handle: int, start: int, length: int) -> None:
        plane = 64 * 2048 * 4
        asked.update(range(start // plane, (start + length - 1) // plane + 1))
        real(handle, start, length)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "posix_fallocate", note)
        array[key] = 7
    assert asked == {t * 3 + z for t, z in planes}
    expected = np.zeros(SHAPE, np.int32)
    expected[key] = 7
    np.testing.assert_array_equal(stored.open(), expected)


@needs_blocks
def test_views_know_where_they_lie(tmp_path: Path) -> None:
    stored = ArrayReference.create(tmp_path / "a.raw", SHAPE, "int32")
    asked: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "posix_fallocate", lambda _, *span: asked.append(span))
        stored.open(writable=True)[1][:, 3].T[5, 1:2] = 1
    # time 1, slice 1, row 3, column 5, in whole pages
    place = (((1 * 3 + 1) * 64 + 3) * 2048 + 5) * 4
    assert asked == [(place // PAGESIZE * PAGESIZE, PAGESIZE)]


@needs_blocks
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_full_disk_is_told_before_anything_is_written(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = ArrayReference.create(tmp_path / "a.raw", (8, 8), "uint8").open(
        writable=True
    )

    def refuse(*_: Any) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(OSError, match=r"a\.raw: cannot be written, the .+\.$") as told:
        array[2:4] = 1
    assert told.value.errno == error
    assert not array.any()


@needs_blocks
@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV])
def test_disks_that_cannot_set_aside_get_what_is_there_once_more(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.raw"
    array = ArrayReference.create(path, (3, 512, 512), "int32").open(writable=True)
    array[0] = 3

    def cannot(*_: Any) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "posix_fallocate", cannot)
    before = used(path)
    reserve(array, slice(0, 2))
    assert used(path) >= before + 2**20
    assert (array[0] == 3).all()
    assert not array[1:].any()


def test_a_file_that_was_deleted_is_still_written(tmp_path: Path) -> None:
    array = ArrayReference.create(tmp_path / "a.raw", (8, 8), "uint8").open(
        writable=True
    )
    (tmp_path / "a.raw").unlink()
    array[2] = 1
    assert array[2].all()


def test_reading_needs_no_space(tmp_path: Path) -> None:
    stored = ArrayReference.create(tmp_path / "a.raw", SHAPE, "int32")
    assert not isinstance(stored.open(), AllocatedMap)
    assert int(stored.open(writable=True)[1].sum()) == 0
    copied = stored.open(writable=True)[0].copy()
    copied[:] = 1  # in memory: nothing of the file
    assert not stored.open().any()


@pytest.mark.parametrize(
    ("shape", "dtype"), [((10**6,) * 3, "uint8"), ((2**62, 4), "int32")]
)
def test_a_file_that_no_disk_holds_is_refused(
    shape: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="cannot be written, the file is larger than"):
        ArrayReference.create(tmp_path / "a.raw", shape, dtype)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_in_place_of_a_new_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "a.raw").symlink_to(victim)
    with pytest.raises(OSError, match=r"a\.raw: cannot be written"):
        ArrayReference.create(tmp_path / "a.raw", (3,), "uint8")
    assert victim.read_text() == "precious"


@pytest.mark.skipif(sys.platform != "linux", reason="needs a small disk of its own")
def test_a_disk_that_is_really_full_ends_no_process(tmp_path: Path) -> None:
    # a file system of 1 MiB, seen by this process alone, where that is permitted
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from napari_unet.core.images.array_reference import ArrayReference\n"
        "path, size = Path(sys.argv[1]) / 'a.raw', (64, 65536)\n"
        "array = ArrayReference.create(path, size, 'uint8').open(writable=True)\n"
        "try:\n"
        "    for row in range(64):\n"
        "        array[row] = 1\n"
        "except OSError as error:\n"
        "    print(row, error)\n"
    )
    mount = f'mount -t tmpfs -o size=1m none {tmp_path} && exec "$0" -c "$1" {tmp_path}'
    ran = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, sys.executable, code],
        capture_output=True,
        text=True,
    )
    if "unshare" in ran.stderr or "mount" in ran.stderr:
        pytest.skip("no small file system can be made here")
    assert (ran.returncode, ran.stderr) == (0, "")
    row, told = ran.stdout.split(" ", 1)
    assert 4 <= int(row) <= 16
    assert told == f"{tmp_path}/a.raw: cannot be written, the disk is full.\n"
