"""Planes of arrays, copied into raw files: at once, or by a thread."""

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

from napari_unet.core.geometry.boxes import axis_sizes, field_index

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.images.array_reference import ArrayReference
    from napari_unet.core.images.image import ArrayLike
    from napari_unet.core.jobs import Place

_log = logging.getLogger(__name__)

EVERYTHING = (-1, -1)
"""In place of a plane: all of an array that cannot be copied plane by plane."""


@dataclass(eq=False)
class SharedFile:
    """Where one array lies, and which of its planes are there.

    Attributes
    ----------
    reference : ArrayReference
    scratch : bool
        Whether it is a scratch file, to be filled and at last removed.
    copied : set of (t, z)
    version : int
        Counts up whenever the pixels change.
    """

    reference: ArrayReference
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
        """Count nothing as copied any more."""
        # A plane that is being copied right now may be of both versions.
        self.version += 1
        self.copied.clear()

    def copy(self, array: ArrayLike, axes: str, plane: tuple[int, int]) -> None:
        """Copy one plane with all its channels, unless it is there."""
        if plane in self.copied:
            return
        version = self.version
        whole = (slice(None),) * len(axes)
        index = whole if plane == EVERYTHING else field_index(axes, *plane)
        dtype = np.dtype(self.reference.dtype)
        block = np.ascontiguousarray(array[index], dtype)
        # A write that finds the disk full is an error; through a map it is the end.
        with Path(self.reference.path).open("r+b", buffering=0) as file:
            starts = _run_starts(array.shape, index)
            for start, run in zip(starts, block.reshape(len(starts), -1), strict=True):
                file.seek(start * dtype.itemsize)
                _write_all(file, run.view(np.uint8))
        if self.version == version:
            self.copied.add(plane)

    def remove(self) -> None:
        """Remove a scratch file."""
        if self.scratch:
            # Where a mapped file cannot be removed, it goes with the folder.
            with contextlib.suppress(OSError):
                Path(self.reference.path).unlink(missing_ok=True)


@dataclass(eq=False)
class CopyTask:
    """Planes to be copied; it holds the array until that is done.

    Attributes
    ----------
    planes : list of (t, z)
        What is left to do.
    ended : callable
        Called in the copying thread, with what went wrong or None.
    """

    file: SharedFile
    array: ArrayLike
    axes: str
    planes: list[tuple[int, int]]
    ended: Callable[[Exception | None], None]


class ArrayCopier:
    """A thread that copies planes, those asked for last first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: list[CopyTask] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, task: CopyTask) -> None:
        """Begin before all other tasks."""
        with self._lock:
            self._tasks.append(task)
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
        while (task := self._latest()) is not None:
            error = None
            try:
                task.file.copy(task.array, task.axes, task.planes.pop(0))
            except Exception as problem:
                _log.exception("pixels could not be copied")
                error = problem
            if error is not None or not task.planes:
                with self._lock:
                    self._tasks.remove(task)
                task.ended(error)

    def _latest(self) -> CopyTask | None:
        with self._lock:
            if self._closed or not self._tasks:
                self._thread = None
                return None
            return self._tasks[-1]


def planes_of(
    shape: tuple[int, ...], axes: str, places: Sequence[Place] | None
) -> list[tuple[int, int]]:
    """Return (t, z) of the planes of some places, or of all, each once.

    They are 0 for axes that the array lacks.
    """
    if max(map(axes.find, "tz")) > min(map(axes.index, "yx")):
        # A plane would lie in the file in single pixels.
        return [EVERYTHING]
    sizes = axis_sizes(axes, shape)
    if places is None:
        places = [(t, None) for t in range(sizes["t"])]
    planes = (
        (t if "t" in axes else 0, k if "z" in axes else 0)
        for t, z in places
        for k in (range(sizes["z"]) if z is None else (z,))
    )
    return list(dict.fromkeys(planes))


def _run_starts(shape: tuple[int, ...], index: Sequence[int | slice]) -> list[int]:
    """Return where the parts of a plane begin that lie together in the file.

    Axes after the last one with a number lie together; those before it are walked.
    """
    last = max((i + 1 for i, k in enumerate(index) if isinstance(k, int)), default=0)
    steps = [
        (k,) if isinstance(k, int) else range(n)
        for n, k in zip(shape[:last], index[:last], strict=True)
    ]
    strides = [prod(shape[i + 1 :]) for i in range(last)]
    return [
        sum(i * stride for i, stride in zip(position, strides, strict=True))
        for position in product(*steps)
    ]


def _write_all(file: Any, values: NDArray[np.uint8]) -> None:
    """Write all values: an unbuffered file may take only a part of them at a time."""
    left = memoryview(values)  # type: ignore[arg-type]  # mypy knows no buffers
    while len(left):
        left = left[file.write(left) :]
