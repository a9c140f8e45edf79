"""Pixels of layers in files for the worker, copied only if they have to be.

What is on disk already (a memory map, a local zarr array) is read from there. The rest
is copied plane by plane into a raw scratch file, each when it is needed.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.geometry.boxes import axis_sizes
from napari_unet.core.images.array_reference import ArrayReference
from napari_unet.session.future import Future
from napari_unet.session.images.array_copier import (
    ArrayCopier,
    CopyTask,
    SharedFile,
    planes_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.core.images.image import ArrayLike
    from napari_unet.core.jobs import Place
    from napari_unet.session.future import Post

# Copying this many bytes takes some 5 ms, 64 MiB would take 100; more is done in a
# thread.
_AT_ONCE = 4 * 2**20


class SharedArrays:
    """Gives every array a file on disk that other processes can read.

    Arrays (of numpy, dask, zarr or the like) are distinguished by their identity.

    Scratch files are in `folder`; `post` is as of `Future`.
    """

    def __init__(self, folder: Path, post: Post) -> None:
        self._folder = folder
        self.post = post
        self._files: dict[int, SharedFile] = {}
        self._copier = ArrayCopier()

    def share(self, array: ArrayLike) -> ArrayReference:
        """Return where an array is or will be; no pixel is copied yet.

        OSError if the scratch file cannot be made.
        """
        return self._file(array).reference

    def ensure(
        self, array: ArrayLike, axes: str, places: Sequence[Place] | None = None
    ) -> Future:
        """Copy the planes that are not in the scratch file yet.

        `axes` has a letter for each axis of the array; `places` are planes, or volumes
        where z is None, everything unless given.

        Returns
        -------
        Future
            Done at once if nothing has to be copied, or little from memory. It fails if
            the array cannot be read, or the disk is full.
        """
        future = Future(self.post)
        try:
            file = self._file(array)
            planes = planes_of(array.shape, axes, places) if file.scratch else []
            todo = [plane for plane in planes if plane not in file.copied]
            if todo and not _copied_fast(array, axes, todo):

                def ended(error: Exception | None) -> None:
                    sentence = "" if error is None else _sentence(error)
                    self.post(lambda: future.finish(sentence))

                self._copier.add(CopyTask(file, array, axes, planes, ended))
                return future
            for plane in todo:
                file.copy(array, axes, plane)
        except OSError as error:
            future.finish(_sentence(error))
        else:
            future.finish()
        return future

    def changed(self, array: ArrayLike) -> None:
        """Forget what was copied of an array, as its pixels have changed."""
        file = self._files.get(id(array))
        if file is not None:
            file.forget()

    def close(self) -> None:
        """Stop copying and remove the scratch files."""
        self._copier.close()
        for file in list(self._files.values()):
            file.remove()
        self._files.clear()

    def _file(self, array: ArrayLike) -> SharedFile:
        key = id(array)
        known = self._files.get(key)
        if known is not None and known.holds(array):
            return known
        reference = _on_disk(array)
        scratch = reference is None
        if reference is None:
            # Unlike its name, its string has the byte order where that matters.
            dtype, shape = str(array.dtype), tuple(array.shape)
            reference = ArrayReference.create_in(self._folder, "pixels", shape, dtype)
        file = self._files[key] = SharedFile(reference, scratch)

        def gone() -> None:
            # another array may have the same id by now
            if self._files.get(key) is file:
                del self._files[key]
            file.remove()

        file.hold(array, gone)
        return file


def _copied_fast(array: ArrayLike, axes: str, planes: list[tuple[int, int]]) -> bool:
    """Whether copying is fast: the planes are few and in memory."""
    if not isinstance(array, np.ndarray):
        return False  # reading it may compute, or wait for a network
    sizes = axis_sizes(axes, array.shape)
    return len(planes) * array.nbytes <= _AT_ONCE * sizes["t"] * sizes["z"]


def _on_disk(array: Any) -> ArrayReference | None:
    """Return where an array is on a local disk, None if it is not."""
    if isinstance(array, np.ndarray):
        return _mapped(array)
    # A zarr array knows its path; the library need not be loaded for others.
    root = getattr(getattr(array, "store", None), "root", None)
    inner = getattr(array, "path", None)
    if not isinstance(root, Path) or not isinstance(inner, str):
        return None
    path = root / inner
    if not path.is_dir() or not hasattr(array, "chunks"):
        return None
    return ArrayReference(str(path), tuple(array.shape), str(array.dtype), "zarr")


def _mapped(array: np.ndarray[Any, Any]) -> ArrayReference | None:
    """Return the part of a file that an array is a map of."""
    owner: Any = array
    while owner is not None and not isinstance(getattr(owner, "base", None), mmap.mmap):
        owner = getattr(owner, "base", None)
    if not (
        isinstance(owner, np.memmap)
        and array.flags.c_contiguous
        and owner.mode != "c"  # its changes never reach the file
        and owner.filename is not None
    ):
        return None
    path = Path(owner.filename)
    offset = owner.offset + array.ctypes.data - owner.ctypes.data
    if not path.is_file() or path.stat().st_size < offset + array.nbytes:
        return None
    return ArrayReference(str(path), array.shape, str(array.dtype), offset=int(offset))


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError):
        why = os.strerror(error.errno) if error.errno else str(error).rstrip(".")
        return f"The image could not be copied for the worker: {why}."
    return f"The image could not be read: {error}"
