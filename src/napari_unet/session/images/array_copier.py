"""Planes of arrays, copied into raw files at once or by a thread, last wish first."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.images.array_reference import ArrayReference
    from napari_unet.core.images.image import ArrayLike
    from napari_unet.core.jobs import Place

_log = logging.getLogger(__name__)

_EVERYTHING = (-1, -1)


@dataclass(eq=False)
class Entry:
    """Where one array lies, and which of its planes are there.

    Attributes
    ----------
    stored : ArrayReference
    scratch : bool
        Whether it is a scratch file, to be filled and at last removed.
    copied : set of (t, z)
    version : int
        Counts up whenever the pixels change.
    """

    stored: ArrayReference
    scratch: bool
    copied: set[tuple[int, int]] = field(default_factory=set)
    version: int = 0
    _array: Any = None

    def hold(self, array: ArrayLike, gone: Callable[[], None]) -> None:
        """Remember the array, call `gone` when nobody has it any more."""
        try:
            self._array = weakref.ref(array, lambda _: gone())
        except TypeError:
            self._array = lambda: array

    def holds(self, array: ArrayLike) -> bool:
        """Whether it is of this very array."""
        return self._array() is array

    def forget(self) -> None:
        """Take nothing as copied any more."""
        # A plane that is being copied right now may be of both versions.
        self.version += 1
        self.copied.clear()

    def remove(self) -> None:
        """Remove a scratch file."""
        if self.scratch:
            # Where a mapped file cannot be removed, it goes with the folder.
            with contextlib.suppress(OSError):
                Path(self.stored.path).unlink(missing_ok=True)


@dataclass(eq=False)
class Work:
    """Planes of an array to be copied, and the array itself until that is done.

    Attributes
    ----------
    entry : Entry
    array : array-like
    axes : str
        A letter for each of its axes.
    planes : list of (t, z)
    """

    entry: Entry
    array: ArrayLike
    axes: str
    planes: list[tuple[int, int]]

    @property
    def plane_bytes(self) -> int:
        """Bytes of one plane with all its channels."""
        size = np.dtype(self.array.dtype).itemsize * prod(self.array.shape)
        if not self.planes or self.planes == [_EVERYTHING]:
            return size
        sizes = zip(self.array.shape, self.axes, strict=True)
        return size // max(prod(n for n, a in sizes if a in "tz"), 1)

    def copy(self, plane: tuple[int, int]) -> None:
        """Copy one plane with all its channels, unless it is there."""
        if plane in self.entry.copied:
            return
        version = self.entry.version
        at = {} if plane == _EVERYTHING else dict(zip("tz", plane, strict=True))
        index = tuple(at.get(a, slice(None)) for a in self.axes)
        dtype = np.dtype(self.entry.stored.dtype)
        block = np.ascontiguousarray(self.array[index], dtype)
        # A write that finds the disk full is an error; through a map it is the end.
        with Path(self.entry.stored.path).open("r+b", buffering=0) as file:
            starts = _runs(self.array.shape, [at.get(a) for a in self.axes])
            for start, run in zip(starts, block.reshape(len(starts), -1), strict=True):
                file.seek(start * dtype.itemsize)
                _write_all(file, run.view(np.uint8))
        if self.entry.version == version:
            self.entry.copied.add(plane)


class ArrayCopier:
    """A thread that copies planes, those asked for last first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: list[tuple[Work, Callable[[Exception | None], None]]] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, work: Work, over: Callable[[Exception | None], None]) -> None:
        """Copy the planes of some work soon, then call `over` in the thread."""
        with self._lock:
            self._queue.append((work, over))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="napari-unet pixels", daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """Stop after the plane that is being copied."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None:
            thread.join(timeout=5)

    def _run(self) -> None:
        for work, over in self._latest():
            error = None
            try:
                if work.planes:
                    work.copy(work.planes[0])
            except Exception as problem:
                _log.exception("pixels could not be copied")
                error = problem
            del work.planes[:1]
            if error is not None or not work.planes:
                with self._lock:
                    self._queue.remove((work, over))
                over(error)

    def _latest(self) -> Iterator[tuple[Work, Callable[[Exception | None], None]]]:
        while True:
            with self._lock:
                if self._closed or not self._queue:
                    self._thread = None
                    return
                latest = self._queue[-1]
            yield latest


def planes_of(
    shape: tuple[int, ...], axes: str, places: Sequence[Place] | None
) -> Iterator[tuple[int, int]]:
    """Yield (t, z) of the planes of some places, each once."""
    count = {a: n for n, a in zip(shape, axes, strict=True) if a in "tz"}
    if max((axes.index(a) for a in count), default=-1) > min(map(axes.index, "yx")):
        # A plane would lie in the file in single pixels.
        yield _EVERYTHING
        return
    whole = [(t, None) for t in range(count.get("t", 1))]
    seen = set()
    for t, z in whole if places is None else places:
        for k in range(count.get("z", 1)) if z is None else (z,):
            # Axes the array lacks have place 0.
            plane = (t if "t" in count else 0, k if "z" in count else 0)
            if plane not in seen:
                seen.add(plane)
                yield plane


def _runs(shape: tuple[int, ...], at: Sequence[int | None]) -> list[int]:
    """Return where the parts of a plane begin that lie together in the file.

    Axes behind the last one with a place lie together; those before it are walked.
    """
    last = max((i + 1 for i, place in enumerate(at) if place is not None), default=0)
    steps = [range(n) if k is None else (k,) for n, k in zip(shape, at, strict=True)]
    strides = [prod(shape[i + 1 :]) for i in range(last)]
    return [
        sum(i * stride for i, stride in zip(place, strides, strict=True))
        for place in product(*steps[:last])
    ]


def _write_all(file: Any, values: NDArray[np.uint8]) -> None:
    """Write all values: an unbuffered file may take only a part of them at a time."""
    left = memoryview(values)  # type: ignore[arg-type]  # mypy knows no buffers
    while len(left):
        left = left[file.write(left) :]
