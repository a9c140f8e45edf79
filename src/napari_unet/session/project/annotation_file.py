"""The annotation of one image on disk: a raw memory map, safe against crashes.

What is written to the mapping is in the system's page cache at once, so nothing is lost
when napari is killed; `flush` writes it to the disk, against power cuts. Beside it is a
log of the planes that have annotation.
"""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from functools import lru_cache
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.annotation.annotations import UNKNOWN
from napari_unet.core.geometry.boxes import axis_sizes, field_index
from napari_unet.core.images.allocation import reserve
from napari_unet.core.images.array_reference import ArrayReference
from napari_unet.core.images.image import Image
from napari_unet.io.atomic import atomic, flush_file, remove_file
from napari_unet.io.records import inside
from napari_unet.session.project.places_log import HIGHEST_ID, PlacesLog, read_places

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

    from napari_unet.core.geometry.boxes import Box
    from napari_unet.session.project.places_log import PlaneIndex

# Writes of this many pixels or more are recorded first: a kill then cannot halve them.
_LARGE = 2**18

_PENDING = re.compile(r"\.(\d{1,9})-(\d{1,9})-(\d{1,9})-(\d{1,9})\.pending\.npy$")


class AnnotationFile:
    """A raw int32 memory map of an annotation, sparse on disk; made if missing.

    Guarantee: after a kill at any moment, a write of less than 2^18 pixels is there
    whole, in part or not at all, and a larger one whole or not at all, plane by plane.
    After a power cut the same holds for what was written before the last `flush`.

    Its name ends in .raw; `axes` has a letter out of t, z, y, x for each axis, as the
    annotation's layer has them. ValueError if a file is there that is of another size,
    or a link, or the axes do not fit; OSError if it cannot be made or opened.
    """

    def __init__(self, path: Path, axes: str, shape: tuple[int, ...]) -> None:
        self.path = path
        self.axes = axes
        self.shape = shape
        for name in (path.name, log_of(path).name):
            inside(path.parent, name)
        # An empty one was being made when napari was killed.
        is_new = not path.exists() or not path.stat().st_size
        # no pixels yet: checks whether the axes fit
        Image(np.broadcast_to(np.int32(0), shape), axes, name=path.name)
        self._sizes = axis_sizes(axes, shape)
        if is_new:
            # A log or record without its array is left of a deleted one.
            for stale in beside(path):
                remove_file(stale)
            ArrayReference.create(path, shape, "int32")
        self.reference = reference(path, shape)
        # what could not be recovered in opening it, each a sentence for people
        self.notes: tuple[str, ...] = ()
        # replaced by another file; nothing is written to it any more
        self.retired = False
        # pixels of each plane that changed since tracking began; None: no tracking
        self.touched: dict[PlaneIndex, NDArray[np.bool_]] | None = None
        self.dirty = False
        # of whole boxes, since it was opened
        self.writes = 0
        self._copied: NDArray[np.integer] | None = None
        # each writes the latest pixels of its layer, see `catch_up`
        self.followers: list[Callable[[], None]] = []
        self._owner = object()
        self._doubtful: set[PlaneIndex] = set()
        places, highest = (set(), 0) if is_new else known_places(path, axes, shape)
        self._log = PlacesLog(log_of(path), places, highest)
        self._finish_pending()

    @property
    def array(self) -> Any:
        """The saved copy of the layer, a memory map of int32.

        Not to be kept: its file stays open as long as it is referenced.
        """
        return _open_map(self._owner, self.reference)

    @property
    def places(self) -> tuple[PlaneIndex, ...]:
        """Planes (t, z) with any annotation, in order; z is 0 where there is no z."""
        self._settle()
        return tuple(sorted(self._log.places))

    @property
    def highest(self) -> int:
        """Largest id ever written."""
        return self._log.highest

    def has(self, t: int, z: int) -> bool:
        """Whether a plane may have annotation; if not, it is all zero."""
        return (t, z) in self._log.places

    @property
    def planes(self) -> list[PlaneIndex]:
        """All planes (t, z), annotated or not."""
        return list(product(range(self._sizes["t"]), range(self._sizes["z"])))

    def plane(self, t: int, z: int) -> NDArray[np.int32]:
        """Return a view of a plane, (y, x); IndexError if there is none."""
        if not (0 <= t < self._sizes["t"] and 0 <= z < self._sizes["z"]):
            raise IndexError(f"{self.path.name}: there is no plane t={t}, z={z}.")
        # indexing a memmap is slow
        plane: NDArray[np.int32] = plane_of(np.asarray(self.array), self.axes, t, z)
        return plane

    def write(self, t: int, z: int, box: Box, values: NDArray[Any]) -> None:
        """Write the values of a box of a plane.

        Parameters
        ----------
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
        plane = self.plane(t, z)
        target = plane[box]
        _check(values, target.shape, self.path.name)
        if not values.size:
            return
        self._prepare(t, z, box, values)
        if self.touched is not None:
            changed = self.touched.setdefault((t, z), np.zeros(plane.shape, bool))
            changed[box] |= target != values
        self.dirty = True
        self.writes += 1
        self._copied = None
        if values.size < _LARGE:
            target[...] = values
        else:
            self._write_large(t, z, box, values)

    def load(self, t: int, z: int, values: NDArray[Any]) -> None:
        """Write a whole plane of a file that is not in use yet; a kill may halve it.

        Raises as `write`.
        """
        _check(values, self.plane(t, z).shape, self.path.name)
        if values.any():
            self._prepare(t, z, (slice(None), slice(None)), values)
            self.plane(t, z)[...] = values
            self.dirty = True

    def catch_up(self) -> None:
        """Write all that has been painted, before the file is replaced."""
        for follow in list(self.followers):
            follow()

    def raise_highest(self, value: int) -> None:
        """Record that ids up to this one have been used."""
        self._log.raise_highest(value)

    def copy(self, dtype: DTypeLike = np.int32) -> NDArray[np.integer]:
        """Return a copy in memory; only annotated planes are read."""
        ahead, self._copied = self._copied, None
        if ahead is not None and ahead.dtype == dtype:
            return ahead
        copied: NDArray[np.integer] = np.zeros(self.shape, dtype)
        for t, z in self._log.places:
            index = field_index(self.axes, t, z)
            copied[index] = self.array[index]
        return copied

    def copy_ahead(self, dtype: DTypeLike) -> None:
        """Prepare the next `copy`; in the thread that made the file."""
        self._copied = self.copy(dtype)

    def flush(self) -> None:
        """Flush what was written to the disk; may run in another thread.

        If that is an OSError, the file stays dirty.
        """
        self.dirty = False
        try:
            self._log.flush()
            if sys.platform != "linux":
                self.array.flush()
            # On Linux this also writes what was changed through the mapping, and unlike
            # the mapping's own flush it always releases the GIL.
            flush_file(self.path)
        except OSError:
            self.dirty = True
            raise

    def close(self) -> None:
        """Retire it and close the file; what was written stays."""
        if not self.retired:
            self._settle()
            self.retired = True
            # also the maps of other files: they are opened again when needed
            _open_map.cache_clear()

    def _prepare(self, t: int, z: int, box: Box, values: NDArray[Any]) -> None:
        """Log a plane and its ids, and allocate its space, before it is written."""
        highest = int(values.max())
        if highest > UNKNOWN:
            self._log.add((t, z))
            self._log.raise_highest(highest)
        if self.has(t, z) and int(values.min()) == UNKNOWN:
            self._doubtful.add((t, z))
        reserve(self.array, field_index(self.axes, t, z, box))

    def _settle(self) -> None:
        """Find the planes in which everything was erased."""
        for t, z in tuple(self._doubtful):
            if not self.plane(t, z).any():
                try:
                    self._log.discard((t, z))
                except OSError:
                    continue  # reading must not fail: it is logged when there is room
            self._doubtful.discard((t, z))

    def _write_large(self, t: int, z: int, box: Box, values: NDArray[Any]) -> None:
        y, x = (s.start or 0 for s in box)
        record = self.path.with_name(f"{self.path.stem}.{t}-{z}-{y}-{x}.pending.npy")
        # its name makes it valid, so its bytes have to be on the disk before
        with atomic(record) as temporary, temporary.open("wb") as file:
            np.save(file, values.astype(np.int32, copy=False))
        self.plane(t, z)[box] = values
        # one that stayed would be written over what is painted later
        remove_file(record)

    def _finish_pending(self) -> None:
        """Finish the large writes that a kill interrupted."""
        records = [path for path in beside(self.path) if path.suffix == ".npy"]
        for record in records:
            if not record.name.endswith(".pending.npy"):
                continue
            try:
                t, z, box, values = self._read_pending(record)
            except Exception as error:  # whatever a power cut left there
                self.notes += (
                    f"{record}: the last large change cannot be read and was not "
                    f"taken into the annotation ({error}).",
                )
            else:
                self._prepare(t, z, box, values)
                self.plane(t, z)[box] = values
                self.dirty = True
        if self.dirty:
            self.flush()
        for record in records:
            remove_file(record)

    def _read_pending(self, record: Path) -> tuple[int, int, Box, NDArray[Any]]:
        """Return t, z, the box and the values of a large write."""
        inside(record.parent, record.name)
        numbers = _PENDING.search(record.name)
        if numbers is None:
            raise ValueError("its name says not where it belongs")
        t, z, y, x = (int(number) for number in numbers.groups())
        # a map takes no memory, whatever size the file claims
        values = np.lib.format.open_memmap(record, mode="r")
        height, width = values.shape
        box = (slice(y, y + height), slice(x, x + width))
        _check(values, self.plane(t, z)[box].shape, record.name)
        return t, z, box, np.array(values)


# Each map keeps a file open, and some systems allow a process 256 of them in all, fewer
# than a large project has images.
@lru_cache(maxsize=16)
def _open_map(owner: object, reference: ArrayReference) -> Any:
    """Map a file for writing: the same map again if its owner used it not long ago.

    A file that is remade under its name has another owner.
    """
    return reference.open(writable=True)


def plane_of(array: Any, axes: str, t: int, z: int, box: Box | None = None) -> Any:
    """Return a plane, or a box of it, as (y, x), whatever the order of the axes."""
    plane = array[field_index(axes, t, z, box)]
    return plane.T if axes.index("x") < axes.index("y") else plane


def beside(path: Path) -> list[Path]:
    """List an annotation's file and those that belong to it."""
    ours = re.compile(
        re.escape(path.stem) + r"\.(raw|places|[^.]+\.(pending|part)\.npy)"
    )
    return [file for file in path.parent.iterdir() if ours.fullmatch(file.name)]


def delete_annotation(path: Path) -> None:
    """Delete an annotation's file and those that belong to it, if that is possible."""
    # Windows refuses while a file is open: it is deleted another time.
    with suppress(OSError):
        for file in beside(path):
            file.unlink()


def reference(path: Path, shape: tuple[int, ...]) -> ArrayReference:
    """Return a reference to an annotation; ValueError if it is not of this shape."""
    expected, found = prod(shape) * 4, path.stat().st_size
    if found != expected:
        raise ValueError(
            f"{path}: an annotation of shape {shape} has {expected} bytes, "
            f"found {found}."
        )
    return ArrayReference(str(path), shape, "int32")


def known_places(
    path: Path, axes: str, shape: tuple[int, ...]
) -> tuple[set[PlaneIndex], int]:
    """Return the annotated planes of an annotation on disk, and the largest id.

    OSError or ValueError if there is none of this shape.
    """
    sizes = axis_sizes(axes, shape)
    logged = read_places(log_of(path), (sizes["t"], sizes["z"]))
    if logged is not None:
        return logged
    array = np.asarray(reference(path, shape).open())
    tops = {
        (t, z): int(array[field_index(axes, t, z)].max())
        for t, z in product(range(sizes["t"]), range(sizes["z"]))
    }
    return {plane for plane, top in tops.items() if top > 0}, max(0, *tops.values())


def log_of(path: Path) -> Path:
    """Return the name of the log of planes beside an annotation."""
    return path.with_suffix(".places")


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
