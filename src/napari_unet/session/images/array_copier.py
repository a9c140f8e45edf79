"""Planes of arrays, copied into raw files."""

from __future__ import annotations

import logging
import threading
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.geometry.boxes import axis_sizes, field_index

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_unet.core.images.array_reference import ArrayReference
    from napari_unet.core.images.image import ArrayLike
    from napari_unet.core.jobs import Place

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class SharedFile:
    """The file of one array, and which of its planes it has."""

    reference: ArrayReference
    scratch: bool  # whether it is a scratch file, to be filled and finally removed
    copied: set[tuple[int, int]] = field(default_factory=set)
    version: int = 0  # increases whenever the pixels change
    _array: Any = None

    def hold(self, array: ArrayLike, gone: Callable[[], None]) -> None:
        """Remember the array; `gone` is called when it is garbage-collected."""
        try:
            self._array = weakref.ref(array, lambda _: gone())
        except TypeError:
            self._array = lambda: array

    def holds(self, array: ArrayLike) -> bool:
        """Whether it is of this array object."""
        return self._array() is array

    def forget(self) -> None:
        """Count no plane as copied."""
        # A plane that is being copied may have pixels of both versions.
        self.version += 1
        self.copied.clear()

    def copy(self, array: ArrayLike, axes: str, plane: tuple[int, int]) -> None:
        """Copy one plane with all its channels, unless it is there."""
        if plane in self.copied:
            return
        version = self.version
        index = field_index(axes, *plane)
        # an `AllocatedMap`: writing to it on a full disk is an OSError
        self.reference.open(writable=True)[index] = np.asarray(array[index])
        if self.version == version:
            self.copied.add(plane)

    def remove(self) -> None:
        """Remove a scratch file."""
        if self.scratch:
            self.reference.remove()


@dataclass(eq=False)
class CopyTask:
    """Planes to be copied; it keeps the array until then."""

    file: SharedFile
    array: ArrayLike
    axes: str
    planes: list[tuple[int, int]]  # what is left to do
    # called in the copying thread, with what went wrong or None
    ended: Callable[[Exception | None], None]


class ArrayCopier:
    """A thread that copies planes, the latest request first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: list[CopyTask] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, task: CopyTask) -> None:
        """Add a task in front of all others."""
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
            # the latest request is for what is in view
            return self._tasks[-1]


def planes_of(
    shape: tuple[int, ...], axes: str, places: Sequence[Place] | None
) -> list[tuple[int, int]]:
    """Return (t, z) of the planes of some places, or of all, each once.

    They are 0 for axes that the array lacks.
    """
    sizes = axis_sizes(axes, shape)
    if places is None:
        places = [(t, None) for t in range(sizes["t"])]
    planes = (
        (t if "t" in axes else 0, k if "z" in axes else 0)
        for t, z in places
        for k in (range(sizes["z"]) if z is None else (z,))
    )
    return list(dict.fromkeys(planes))
