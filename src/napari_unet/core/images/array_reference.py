"""Arrays that several processes share: raw memory maps, or zarr arrays on disk.

Only where an array lies travels between napari and its worker, never its pixels.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import numpy as np

from napari_unet.core.annotation.annotations import Annotation, ClassInfo, FinishedPart
from napari_unet.core.images.allocation import AllocatedMap, full
from napari_unet.core.images.image import (
    ArrayLike,
    Field,
    Image,
    ImageFile,
    whole_key,
)

if TYPE_CHECKING:
    from io import BufferedWriter
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.core.geometry.boxes import Box

# A link is not followed: what it leads to is not ours.
_NEW = (
    os.O_RDWR
    | os.O_CREAT
    | os.O_TRUNC
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)
# No system knows larger files.
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ArrayReference:
    """Where an array lies."""

    path: str  # file of raw values in C order, or folder of a zarr array
    shape: tuple[int, ...]
    dtype: str  # as numpy writes it, such as "uint16"
    kind: Literal["raw", "zarr"] = "raw"
    offset: int = 0  # bytes before the first value, of a raw file

    @classmethod
    def create(cls, path: Path, shape: tuple[int, ...], dtype: str) -> ArrayReference:
        """Make a raw file of zeros, readable by this person only.

        On most disks it takes no space until it is written: `core.images.allocation`.
        An OSError says in a sentence that it cannot be made, or that the disk holds no
        file of this size.
        """
        size = max(prod(shape) * np.dtype(dtype).itemsize, 1)
        try:
            if size > _LARGEST:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            with os.fdopen(os.open(path, _NEW, 0o600), "wb") as file:
                _enlarge(file, size)
        except OSError as error:
            if path.is_file() and not path.is_symlink():
                path.unlink()
            raise full(error, path) from error
        return cls(str(path), shape, dtype)

    @classmethod
    def create_in(
        cls, folder: Path, name: str, shape: tuple[int, ...], dtype: str
    ) -> ArrayReference:
        """As `create`, under a name that no other has, in a folder made if missing."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls.create(folder / f"{name}-{uuid4().hex}.raw", shape, dtype)

    def remove(self) -> None:
        """Delete a raw file; where a mapped one cannot be, it goes with its folder."""
        with suppress(OSError):
            os.unlink(self.path)

    def open(self, *, writable: bool = False) -> Any:
        """Map the array into memory, or open it, without reading it.

        A raw file that is writable is an `AllocatedMap`: a full disk is an OSError. A
        FileNotFoundError says that it is no longer there.
        """
        if self.kind == "zarr":
            import zarr  # slow to import

            return zarr.open_array(self.path, mode="r+" if writable else "r")
        dtype = np.dtype(self.dtype)
        if writable:
            return AllocatedMap(self.path, dtype, "r+", self.offset, self.shape)
        return np.memmap(self.path, dtype, "r", self.offset, self.shape)


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image that several processes share."""

    # one array with all axes, or one for each channel, without the axis c
    channels: tuple[ArrayReference, ...]
    axes: str  # of each array
    spacing_um: tuple[float, ...] | None
    name: str
    # of the entries along c; the others are transparency or copies; all if None
    samples: int | None = None
    file: ImageFile | None = None  # where the pixels are from, if that is known

    def open(self) -> Image:
        """Open it for reading, block by block."""
        arrays = tuple(channel.open() for channel in self.channels)
        if len(arrays) == 1:
            data = arrays[0]
            if self.samples is not None:
                data = FirstChannels(data, self.axes.index("c"), self.samples)
            return self._image(data, self.axes)
        return self._image(Stacked(arrays), "c" + self.axes)

    def _image(self, data: ArrayLike, axes: str) -> Image:
        return Image(data, axes, self.spacing_um, self.name, file=self.file)


@dataclass(frozen=True, slots=True, eq=False)
class Stacked:
    """Arrays of one shape as one array with a new first axis, read block by block."""

    arrays: tuple[ArrayLike, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of arrays, and their shape."""
        return (len(self.arrays), *self.arrays[0].shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type that holds the values of all."""
        return np.result_type(*(a.dtype for a in self.arrays))

    def __getitem__(self, key: Any) -> NDArray[Any]:
        key = key if isinstance(key, tuple) else (key,)
        if isinstance(key[0], slice):
            chosen = self.arrays[key[0]]
            return np.stack([np.asarray(a[key[1:]]) for a in chosen]).astype(self.dtype)
        return np.asarray(self.arrays[key[0]][key[1:]]).astype(self.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class FirstChannels:
    """The first channels of an array, read block by block."""

    array: ArrayLike
    axis: int
    count: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the channels that are seen."""
        before, after = self.array.shape[: self.axis], self.array.shape[self.axis + 1 :]
        return (*before, self.count, *after)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        kind: np.dtype[Any] = np.dtype(self.array.dtype)
        return kind

    def __getitem__(self, key: Any) -> NDArray[Any]:
        keys = [*whole_key(key, len(self.shape))]
        chosen = keys[self.axis]
        if isinstance(chosen, slice):
            keys[self.axis] = slice(*chosen.indices(self.count))
        return np.asarray(self.array[tuple(keys)])


@dataclass(frozen=True, slots=True, eq=False)
class AnnotationReference:
    """An annotation that several processes share."""

    labels: ArrayReference  # whole numbers, see `core.annotation.annotations`
    axes: str  # those of the image without c
    classes: tuple[ClassInfo, ...]
    class_of: dict[int, int]  # class number of each object, 1 for those not in it
    finished: tuple[FinishedPart, ...] = ()

    def field(self, t: int, z: int | None, box: Box | None = None) -> Annotation:
        """Read what is known of one plane or volume, or of a box of it."""
        field = Field(Image(self.labels.open(), self.axes, name="annotation"), t, z)
        finished = None
        parts = [f for f in self.finished if f.t == t and z in (f.z, None)]
        if parts:
            finished = np.zeros(field.shape, bool)
            for part in parts:
                plane = finished[part.z] if z is None else finished
                plane[tuple(slice(*ends) for ends in part.box)] = True
            finished = finished[box] if box is not None else finished
        return Annotation(field.read(box)[0], self.classes, self.class_of, finished)


def _enlarge(file: BufferedWriter, size: int) -> None:
    """Make a file of zeros out of an empty one."""
    if sys.platform == "win32":
        # truncating would write the zeros, 4 KiB at a time; a map sets aside the space
        mmap.mmap(file.fileno(), size).close()
    else:
        file.truncate(size)
