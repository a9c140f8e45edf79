"""Space on the disk, set aside before it is written through a memory map.

Files that are mapped are sparse: they take no space until they are written. Where such
a write meets a full disk the system ends the process without a word, so the space is
asked for first, and a full disk is an OSError as everywhere else.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than the disk allows",
    errno.EIO: "the disk fails",
}
# What disks answer that cannot set space aside.
_CANNOT = {errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENODEV, errno.ENOSYS}
# Bytes written at a time where they have to be written to be set aside.
_AT_ONCE = 2**22


class AllocatedMap(np.memmap[Any, Any]):
    """A memory map in which setting values sets aside the space for them first.

    Only what is written by ``array[...] = values`` is safe, not what goes through
    another view of the memory, such as the ``out`` of a function.
    """

    def __setitem__(self, key: Any, value: Any) -> None:
        reserve(self, key)
        super().__setitem__(key, value)


def reserve(array: np.memmap[Any, Any], key: Any = ...) -> None:
    """Set aside the space of a part of a memory map (or a view of one), plane by plane.

    `key` is what will be written; with arrays in it, the box around them. An OSError
    says in a sentence with the file that the disk is full; nothing is changed then.
    """
    whole: Any = getattr(array, "_mmap", None)
    # Windows sets aside the space of a file when it is made.
    if whole is None or array.filename is None or sys.platform == "win32":
        return
    target = np.ndarray.__getitem__(array, _box(key))
    if not target.size:
        return
    # numpy maps from the last page that begins before the offset
    first = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
    origin = np.frombuffer(whole, np.uint8).ctypes.data - first
    try:
        handle = os.open(array.filename, os.O_RDWR)
    except FileNotFoundError:
        return  # deleted meanwhile: there is nothing to be kept
    try:
        for start, stop in _spans(target):
            _allocate(handle, start - origin, stop - origin)
    except OSError as error:
        raise full(error, array.filename) from error
    finally:
        os.close(handle)


def full(error: OSError, path: Path | str) -> OSError:
    """Return an error that says in a sentence why a file cannot be written."""
    why = _FULL.get(error.errno or 0, error.strerror or str(error))
    failure = OSError(f"{path}: cannot be written, {why}.")
    failure.errno = error.errno
    return failure


def _box(key: Any) -> Any:
    """Replace numbers and arrays in an index by slices, so that it gives a view."""
    keys = key if isinstance(key, tuple) else (key,)
    arrays = [np.asarray(k) for k in keys if isinstance(k, np.ndarray | list)]
    if any(a.dtype.kind not in "iu" for a in arrays):
        return ...
    return tuple(
        k if k is None or k is ... or isinstance(k, slice) else _slice(k) for k in keys
    )


def _slice(index: Any) -> slice:
    found = np.asarray(index)
    if not found.size or found.min() < 0 <= found.max():
        return slice(None)
    return slice(int(found.min()), int(found.max()) + 1 or None)


def _spans(view: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Yield first and last address of each plane of a view."""
    if view.ndim > 2:
        for part in view:
            yield from _spans(part)
        return
    start = view.__array_interface__["data"][0]
    last = sum((n - 1) * s for n, s in zip(view.shape, view.strides, strict=True))
    low, high = min(last, 0), max(last, 0)
    yield start + low, start + high + view.itemsize


def _allocate(handle: int, start: int, stop: int) -> None:
    # A map is written in whole pages, of which one may be several blocks of the disk.
    page = mmap.PAGESIZE
    start = start // page * page
    stop = min(-(-stop // page) * page, os.fstat(handle).st_size)
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, start, stop - start)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
        else:
            return
    # what is there is written once more
    while start < stop:
        size = min(_AT_ONCE, stop - start)
        start += os.pwrite(handle, os.pread(handle, size, start), start)
