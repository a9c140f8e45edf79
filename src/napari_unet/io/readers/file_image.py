"""What every reader returns: the images in a file, and how to open each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.images.image import whole_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from napari_unet.io.pixels import Pixels

    # Reads a part of the inner axes at an index along the outer ones: for each axis an
    # integer, or a slice within its length.
    Read = Callable[[tuple[int, ...], tuple[int | slice, ...]], Any]

# Smaller images are read at once: a map keeps the file open and locked on Windows.
MAPPED_FROM_BYTES = 64 * 2**20

NO_UNIT = "its pixel size has no unit, so it is not known."


@dataclass(frozen=True, slots=True, eq=False)
class FileImage:
    """One of the images in a file."""

    title: str  # its title in the file, for lists; may be empty
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pixels: Callable[[], Pixels]  # opens it


@dataclass(frozen=True, slots=True, eq=False)
class OnDisk:
    """An array in a file that is only open while a part is read.

    Outer axes are those along which the file is read one index at a time.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    outer: int
    opened: Callable[[], AbstractContextManager[Read]]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        index = [
            range(n)[k]
            for n, k in zip(self.shape, whole_key(key, len(self.shape)), strict=True)
        ]
        outer, inner = index[: self.outer], index[self.outer :]
        part = tuple(
            i if isinstance(i, int) else slice(i.start, i.stop, i.step) for i in inner
        )
        kept, each = (
            [len(i) for i in some if isinstance(i, range)] for some in (outer, inner)
        )
        found = np.empty((prod(kept), *each), self.dtype)
        where = product(*([i] if isinstance(i, int) else i for i in outer))
        with self.opened() as read:
            for number, at in enumerate(where):
                piece = np.asarray(read(at, part))
                if piece.shape != tuple(each):  # which numpy might broadcast
                    raise ValueError(f"a part of {each} has the shape {piece.shape}")
                found[number] = piece
        return found.reshape((*kept, *each))

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=bool(copy))


def in_memory_if_small(data: NDArray[Any]) -> NDArray[Any]:
    """Load a small memory map into memory."""
    return np.array(data) if data.nbytes < MAPPED_FROM_BYTES else data


def check_size(size: int, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    """Refuse a file, or a part of one, with fewer bytes than its pixels take.

    Raises
    ------
    ValueError
        It is truncated, or claims an invalid size.
    """
    if any(n < 1 for n in shape):
        raise ValueError(f"it tells of a shape of {tuple(map(int, shape))}")
    wanted = prod(map(int, shape)) * dtype.itemsize
    if wanted > size:
        raise ValueError(
            f"it is cut off: its pixels are {wanted} bytes, found {max(size, 0)}"
        )
