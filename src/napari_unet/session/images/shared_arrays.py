"""Pixels of layers where the worker can read them, copied only where they have to be.

What lies on disk already (a memory map, a local zarr array) is read from there. The
rest goes plane by plane into a raw scratch file, when a plane is needed and not before.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from napari_unet.core.images.array_reference import ArrayReference
from napari_unet.session.images.array_copier import ArrayCopier, Entry, Work, planes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_unet.core.images.image import ArrayLike
    from napari_unet.core.jobs import Place

    _Callbacks = tuple[Callable[[], None], Callable[[str], None] | None]

# Copying this much at once is not felt; more goes to a thread.
_AT_ONCE = 64 * 2**20


class Ready:
    """Whether the pixels that were asked for are where the worker can read them.

    Attributes
    ----------
    failed : str
        Why they could not be copied, in a sentence; empty unless they could not.
    """

    def __init__(self, post: Callable[[Callable[[], None]], None]) -> None:
        self.failed = ""
        self._post = post
        self._done = False
        self._callbacks: list[_Callbacks] = []

    @property
    def done(self) -> bool:
        """Whether all pixels are there."""
        return self._done and not self.failed

    def then(
        self, callback: Callable[[], None], failed: Callable[[str], None] | None = None
    ) -> None:
        """Call back soon after the pixels are there, at the earliest after this call.

        Parameters
        ----------
        callback : callable
            Called in the main thread, without arguments; not if copying fails.
        failed : callable, optional
            Called in its place with the sentence in `failed`.
        """
        self._callbacks.append((callback, failed))
        if self._done:
            self._post(self._call_back)

    def finish(self, failed: str = "") -> None:
        """Tell that copying has come to its end; called in the main thread."""
        self.failed, self._done = failed, True
        self._call_back()

    def _call_back(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback, on_failure in callbacks:
            if not self.failed:
                callback()
            elif on_failure is not None:
                on_failure(self.failed)


class SharedArrays:
    """Gives every array a place that other processes can read.

    Parameters
    ----------
    folder : Path
        For scratch files.
    post : callable
        Runs a function soon in the main thread; called from any thread.
    """

    def __init__(
        self, folder: Path, post: Callable[[Callable[[], None]], None]
    ) -> None:
        self._folder = folder
        self._post = post
        self._entries: dict[int, Entry] = {}
        self._copier = ArrayCopier()

    def share(self, array: ArrayLike) -> ArrayReference:
        """Return where an array lies, or will lie; no pixel is copied yet.

        Parameters
        ----------
        array : array-like
            Of numpy, dask, zarr or the like. It is told apart by its identity.

        Raises
        ------
        OSError
            If the scratch file cannot be made.
        """
        return self._entry(array).stored

    def ensure(
        self, array: ArrayLike, axes: str, places: Sequence[Place] | None = None
    ) -> Ready:
        """Copy the planes that are not in the scratch file yet.

        Parameters
        ----------
        array : array-like
        axes : str
            A letter for each of its axes.
        places : sequence of (t, z), optional
            Planes, or volumes where z is None; everything unless given.

        Returns
        -------
        Ready
            Done at once where nothing is to be copied, or little from memory.
        """
        ready = Ready(self._post)
        try:
            entry = self._entry(array)
        except OSError as error:
            ready.finish(_sentence(error))
            return ready
        if not entry.scratch:
            ready.finish()
            return ready
        work = Work(entry, array, axes, list(planes_of(array.shape, axes, places)))
        todo = [plane for plane in work.planes if plane not in entry.copied]
        small = len(todo) * work.plane_bytes <= _AT_ONCE
        if todo and not (small and isinstance(array, np.ndarray)):
            self._copier.add(work, lambda error: self._finish(ready, error))
            return ready
        try:
            for plane in todo:
                work.copy(plane)
        except OSError as error:
            ready.finish(_sentence(error))
        else:
            ready.finish()
        return ready

    def changed(self, array: ArrayLike) -> None:
        """Forget what was copied of an array: its pixels are others now."""
        entry = self._entries.get(id(array))
        if entry is not None:
            entry.forget()

    def close(self) -> None:
        """Stop copying and remove the scratch files."""
        self._copier.close()
        for entry in list(self._entries.values()):
            entry.remove()
        self._entries.clear()

    def _entry(self, array: ArrayLike) -> Entry:
        known = self._entries.get(id(array))
        if known is not None and known.holds(array):
            return known
        stored = _on_disk(array)
        scratch = stored is None
        if stored is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"pixels-{uuid4().hex}.raw"
            # Unlike its name, its text tells the byte order where that matters.
            stored = ArrayReference.create(path, tuple(array.shape), str(array.dtype))
        entry = Entry(stored, scratch)
        key = id(array)
        entry.hold(array, lambda: self._drop(key, entry))
        self._entries[key] = entry
        return entry

    def _drop(self, key: int, entry: Entry) -> None:
        """Remove the file of an array that nobody has any more."""
        if self._entries.get(key) is entry:
            del self._entries[key]
        entry.remove()

    def _finish(self, ready: Ready, error: Exception | None) -> None:
        """Tell that copying is over; called in the copying thread."""
        sentence = _sentence(error) if error is not None else ""
        self._post(lambda: ready.finish(sentence))


def _on_disk(array: Any) -> ArrayReference | None:
    """Return where an array lies on a local disk, None if it does not."""
    if isinstance(array, np.ndarray):
        return _mapped(array)
    # A zarr array says itself where it is; its library need not be loaded for others.
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
        why = error.strerror or str(error).rstrip(".")
        return f"The image could not be copied for the worker: {why}."
    return f"The image could not be read: {error}"
