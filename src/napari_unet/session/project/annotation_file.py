"""The annotation of one image on disk: a raw memory map that is its own journal.

What is written to the mapping belongs to the system at once, so nothing of it is lost
when napari is killed; `flush` carries it to the disk, against power cuts. Beside it
lies a log of the planes that have annotation.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from napari_unet.core.annotations import UNKNOWN
from napari_unet.core.image import Image
from napari_unet.core.stored import Stored
from napari_unet.session.project.places_log import PlacesLog, read_places

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

    from napari_unet.session.project.places_log import Plane

HIGHEST_ID = int(np.iinfo(np.int32).max)

# From this many pixels on, a write is recorded first, so that a kill cannot halve it.
_LARGE = 2**18


class AnnotationFile:
    """A raw int32 memory map of an annotation, sparse on disk; made if missing.

    Guarantee: after a kill at any moment, a write of less than 2^18 pixels is there
    whole, in part or not at all, and a larger one whole or not at all, plane by plane.
    After a power cut the same holds for what was written before the last `flush`.

    Parameters
    ----------
    path : Path
        Ends in .raw.
    axes : str
        A letter out of t, z, y, x for each axis, as the annotation's layer has them.
    shape : tuple of int

    Attributes
    ----------
    stored : Stored
        Where it lies, for the worker.
    array : memmap of int32
        The shadow of the layer: what of it is saved.
    retired : bool
        Another file took its place; nothing is written to it any more.
    touched : dict of (t, z) to ndarray of bool, or None
        Pixels of each plane that changed since tracking began; None: no tracking.
    followers : list of callable
        Each writes what its layer holds by now, see `catch_up`.

    Raises
    ------
    ValueError
        A file is there that is of another size, or the axes do not fit.
    OSError
        The file cannot be made or opened.
    """

    def __init__(self, path: Path, axes: str, shape: tuple[int, ...]) -> None:
        self.path = path
        self.axes = axes
        self.shape = shape
        # One of no bytes was being made when napari was killed.
        is_new = not path.exists() or not path.stat().st_size
        self.stored = _stored(path, shape, is_new)
        self.array = self.stored.open(writable=True)
        self._plain = np.asarray(self.array)  # slicing a memmap is slow
        self._image = Image(self._plain, axes, name=path.name)
        self.retired = False
        self.touched: dict[Plane, NDArray[np.bool_]] | None = None
        self.dirty = False
        self.followers: list[Callable[[], None]] = []
        self._doubtful: set[Plane] = set()
        self._data = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        self._log = PlacesLog(log_of(path), *_known(path, self, is_new))
        self._finish_pending()

    @property
    def places(self) -> tuple[Plane, ...]:
        """Planes (t, z) with any annotation, in order; z is 0 where there is no z."""
        self._settle()
        return tuple(sorted(self._log.places))

    @property
    def highest(self) -> int:
        """Largest id ever written."""
        return self._log.highest

    def has(self, t: int, z: int) -> bool:
        """Whether anything may be annotated in a plane; if not, it is all zero."""
        return (t, z) in self._log.places

    @property
    def planes(self) -> list[tuple[int, int]]:
        """All planes (t, z), annotated or not."""
        sizes = self._image.size("t"), self._image.size("z")
        return [(t, z) for t in range(sizes[0]) for z in range(sizes[1])]

    def plane(self, t: int, z: int) -> NDArray[np.int32]:
        """Return a view of a plane, (y, x); IndexError if there is none."""
        index, turned = plane_index(self.axes, t, z)
        if t < 0 or z < 0 or z >= self._image.size("z") or t >= self._image.size("t"):
            raise IndexError(f"{self.path.name}: there is no plane t={t}, z={z}.")
        view: NDArray[np.int32] = self._plain[index]
        return view.T if turned else view

    def write(
        self, t: int, z: int, box: tuple[slice, slice], values: NDArray[Any]
    ) -> None:
        """Write the values of a box of a plane.

        Parameters
        ----------
        t, z : int
        box : tuple of slice
            In y and x.
        values : ndarray of int, shape of the box
            0 not annotated, 1 background, 2 to 2^31 - 1 ids.

        Raises
        ------
        ValueError
            Values or shape do not fit; nothing is written.
        OSError
            The disk is full; nothing is written.
        RuntimeError
            The file is retired.
        """
        if self.retired:
            raise RuntimeError(f"{self.path.name}: is no longer the annotation.")
        target = self.plane(t, z)[box]
        _check(values, target.shape, self.path.name)
        if not values.size:
            return
        self._note(t, z, values)
        self._reserve(t, z, box)
        if self.touched is not None:
            changed = self.touched.setdefault(
                (t, z), np.zeros(self.plane(t, z).shape, bool)
            )
            changed[box] |= target != values
        self.dirty = True
        if values.size < _LARGE:
            target[...] = values
        else:
            self._write_large(t, z, box, values)

    def load(self, t: int, z: int, values: NDArray[Any]) -> None:
        """Write a whole plane of a file that is not in use yet: a kill may halve it."""
        _check(values, self.plane(t, z).shape, self.path.name)
        if values.any():
            self._note(t, z, values)
            self.plane(t, z)[...] = values
            self.dirty = True

    def catch_up(self) -> None:
        """Have all that is painted by now written, before the file is replaced."""
        for follow in list(self.followers):
            follow()

    def raise_highest(self, value: int) -> None:
        """Remember that ids up to this one have been in use."""
        self._log.raise_highest(value)

    def counts(self, t: int, z: int) -> dict[int, int]:
        """Return the number of pixels of each value in a plane, but for 0."""
        if not self.has(t, z):
            return {}
        plane = self.plane(t, z)
        values, numbers = np.unique(plane[plane != UNKNOWN], return_counts=True)
        return dict(zip(values.tolist(), numbers.tolist(), strict=True))

    def copy(self, dtype: DTypeLike = np.int32) -> NDArray[np.integer]:
        """Return it in memory; only annotated planes are read."""
        copied: NDArray[np.integer] = np.zeros(self.shape, dtype)
        for t, z in self._log.places:
            index, _ = plane_index(self.axes, t, z)
            copied[index] = self._plain[index]
        return copied

    def flush(self) -> None:
        """Carry what was written to the disk; may run in another thread.

        Raises
        ------
        OSError
            The disk did not take it; the file stays dirty.
        """
        self.dirty = False
        try:
            self._log.flush()
            # On Linux this writes what was changed through the mapping too, and unlike
            # the mapping's own flush it surely lets other threads run.
            if sys.platform != "linux":
                self.array.flush()
            os.fsync(self._data)
        except OSError:
            self.dirty = True
            raise

    def close(self) -> None:
        """Retire it and let go of the file; what was written stays."""
        if not self.retired:
            self._settle()
            self.retired = True
            os.close(self._data)
            self._log.close()

    def _note(self, t: int, z: int, values: NDArray[Any]) -> None:
        """Log a plane and its ids; to be called before they are written."""
        highest = int(values.max())
        if highest > UNKNOWN:
            self._log.add((t, z))
            self._log.raise_highest(highest)
        if self.has(t, z) and int(values.min()) == UNKNOWN:
            self._doubtful.add((t, z))

    def _settle(self) -> None:
        """Find the planes in which everything was erased."""
        for t, z in self._doubtful:
            if not self.plane(t, z).any():
                self._log.discard((t, z))
        self._doubtful.clear()

    def _reserve(self, t: int, z: int, box: tuple[slice, slice]) -> None:
        """Have the disk set aside the rows of a box.

        Where a sparse mapping meets a full disk, the system ends the process.
        """
        if not hasattr(os, "posix_fallocate") or not self.axes.endswith("yx"):
            return
        rows = range(*box[0].indices(self.shape[-2]))
        if not rows:
            return
        row = self._plain.strides[-2]
        address = self.plane(t, z).__array_interface__["data"][0]
        start = address - self._plain.__array_interface__["data"][0]
        try:
            os.posix_fallocate(self._data, start + rows[0] * row, len(rows) * row)
        except OSError as error:
            # Some disks cannot set aside; that alone is no reason not to write.
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OSError(
                    error.errno, f"{self.path}: cannot be written, the disk is full."
                ) from error

    def _write_large(
        self, t: int, z: int, box: tuple[slice, slice], values: NDArray[Any]
    ) -> None:
        start = [
            s.indices(n)[0] for s, n in zip(box, self.plane(t, z).shape, strict=True)
        ]
        name = f"{self.path.stem}.{t}-{z}-{start[0]}-{start[1]}"
        record = self.path.with_name(f"{name}.pending.npy")
        unfinished = self.path.with_name(f"{self.path.stem}.{uuid4().hex}.part.npy")
        try:
            np.save(unfinished, values.astype(np.int32, copy=False))
            os.replace(unfinished, record)
        finally:
            unfinished.unlink(missing_ok=True)
        self.plane(t, z)[box] = values
        record.unlink()

    def _finish_pending(self) -> None:
        """Finish the large writes that a kill interrupted."""
        for path in beside(self.path):
            if path.name.endswith(".pending.npy"):
                where = path.name.removesuffix(".pending.npy").rpartition(".")[2]
                t, z, y, x = (int(part) for part in where.split("-"))
                values = np.load(path)
                height, width = values.shape
                self._note(t, z, values)
                self.plane(t, z)[y : y + height, x : x + width] = values
                self.dirty = True
            if path.suffix == ".npy":
                path.unlink()


def plane_index(axes: str, t: int, z: int) -> tuple[tuple[int | slice, ...], bool]:
    """Return the index of a plane in an array, and whether it comes out as (x, y)."""
    place = {"t": t, "z": z}
    index = tuple(place.get(axis, slice(None)) for axis in axes)
    return index, axes.index("x") < axes.index("y")


def beside(path: Path) -> list[Path]:
    """List the files that belong to an annotation, and it itself."""
    return [f for f in path.parent.iterdir() if f.name.startswith(f"{path.stem}.")]


def log_of(path: Path) -> Path:
    """Return the name of the log of planes beside an annotation."""
    return path.with_suffix(".places")


def _stored(path: Path, shape: tuple[int, ...], is_new: bool) -> Stored:
    stored = Stored(str(path), shape, "int32")
    if is_new:
        # A log or record without its array is of one that was deleted.
        for stale in beside(path):
            stale.unlink()
        return Stored.create(path, shape, "int32")
    expected = int(np.prod(shape)) * 4
    if path.stat().st_size != expected:
        raise ValueError(
            f"{path}: an annotation of shape {shape} has {expected} bytes, "
            f"found {path.stat().st_size}."
        )
    return stored


def _known(path: Path, file: AnnotationFile, is_new: bool) -> tuple[set[Plane], int]:
    if is_new:
        return set(), 0
    logged = read_places(log_of(path))
    if logged is not None:
        return logged
    highest = {(t, z): int(file.plane(t, z).max()) for t, z in file.planes}
    return {place for place, top in highest.items() if top}, max(highest.values())


def _check(values: NDArray[Any], shape: tuple[int, ...], name: str) -> None:
    if values.shape != shape:
        raise ValueError(f"{name}: the box is {shape} pixels, found {values.shape}.")
    if values.dtype.kind not in "biu":
        raise ValueError(f"{name}: labels are whole numbers, found {values.dtype}.")
    if values.size and (values.min() < 0 or values.max() > HIGHEST_ID):
        raise ValueError(
            f"{name}: labels are 0 to {HIGHEST_ID}, "
            f"found {values.min()} to {values.max()}."
        )
