"""Zip files that somebody else wrote, which may be damaged or hostile."""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from io import BytesIO
from lzma import LZMAError
from math import prod
from shutil import copyfileobj
from struct import Struct
from typing import TYPE_CHECKING, Any, BinaryIO
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np
import psutil

from napari_unet.core.text import reason, shown
from napari_unet.io.atomic import make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from zipfile import ZipInfo

    from numpy.typing import NDArray

# The header of an entry; the last two are lengths of what follows.
_HEAD = Struct("<4s22xHH")

DAMAGED = (
    BadZipFile,
    EOFError,
    LZMAError,
    RuntimeError,  # a password, or an unknown compression
    UnicodeDecodeError,
    zlib.error,
)
"""Exceptions when Python reads a damaged one."""


class OwnZip:
    """A zip that another napari-unet supposedly wrote.

    Entries are read by expected names, and no more bytes than expected: other entries,
    folders and links in it are ignored. Only what is expected is unpacked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._opened() as file:
            self._entries: dict[str, ZipInfo] = {}
            for info in file.infolist():
                if info.filename in self._entries:
                    raise ValueError(f"{path}: has two files {shown(info.filename)}.")
                self._entries[info.filename] = info

    def read(self, name: str, most: int | None = None) -> bytes:
        """Return the content of an entry.

        Raises
        ------
        ValueError
            It is missing, damaged, or has more bytes than expected.
        MemoryError
            It is larger than the memory.
        """
        info = self._entry(name)
        if most is not None and info.file_size > most:
            raise ValueError(
                f"{self._path}: its {name} has {info.file_size} bytes, expected are at "
                f"most {most}."
            )
        if info.file_size > psutil.virtual_memory().available:
            raise MemoryError(f"{self._path}: its {name} is larger than the memory.")
        with self._opened() as file, file.open(info) as entry:
            content = entry.read(info.file_size)
            if entry.read(1):
                raise ValueError(f"{self._path}: its {name} is longer than it says.")
        return content

    def array(self, name: str, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """Map an array of this shape and type in place in the zip.

        A ValueError says that it is missing, different, or damaged.
        """
        info, wanted = self._entry(name), np.dtype(dtype)
        what = f"{self._path}: its {name} is damaged"
        if wanted.kind not in "buif":
            raise ValueError(f"{what}, pixels are numbers, found {dtype}.")
        if info.compress_type != ZIP_STORED or info.file_size != info.compress_size:
            raise ValueError(f"{what}, pixels are not compressed in a bundle.")
        with self._path.open("rb") as file:
            file.seek(info.header_offset)
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size or not head.startswith(b"PK\3\4"):
                raise ValueError(f"{what}.")
            begin = info.header_offset + _HEAD.size + sum(_HEAD.unpack(head)[-2:])
            file.seek(begin)
            start = begin + _check_header(file, shape, wanted, what)
            stop = start + prod(shape) * wanted.itemsize
            if stop != begin + info.file_size or file.seek(0, 2) < stop:
                raise ValueError(f"{what}, it has not the size of its pixels.")
        return np.memmap(self._path, wanted, "r", start, shape)

    def labels(self, name: str, shape: tuple[int, ...]) -> NDArray[np.integer]:
        """Read whole numbers of this shape; errors as of `array`."""
        content = BytesIO(self.read(name, prod(shape) * 8 + 2**12))
        what = f"{self._path}: its {name} is damaged"
        try:
            labels = np.load(content, allow_pickle=False)
        except ValueError as error:
            raise ValueError(f"{what}: {reason(error)}.") from error
        if labels.shape != shape or labels.dtype.kind not in "bui":
            raise ValueError(
                f"{what}, it holds {labels.dtype} of shape {labels.shape}."
            )
        found: NDArray[np.integer] = labels
        return found

    def unpack(self, place: Callable[[str], Path]) -> None:
        """Write each entry to where `place` says, which refuses others by a ValueError.

        Compressed entries, or such that are together larger than the zip, are a
        ValueError, too.
        """
        stored = all(
            info.compress_type == ZIP_STORED and info.file_size == info.compress_size
            for info in self._entries.values()
        )
        total = sum(info.file_size for info in self._entries.values())
        if not stored or total > self._path.stat().st_size:
            raise ValueError(f"{self._path}: is damaged, its files are compressed.")
        for name, info in self._entries.items():
            target = place(name)
            make_folder(target.parent)
            with (
                self._opened() as file,
                file.open(info) as entry,
                target.open("xb") as to,
            ):
                copyfileobj(entry, to)

    def check(self) -> None:
        """Verify all checksums; a ValueError says that something was changed."""
        with self._opened() as file:
            if (name := file.testzip()) is not None:
                raise ValueError(f"{self._path}: its {shown(name)} is damaged.")

    def _entry(self, name: str) -> ZipInfo:
        if name not in self._entries:
            raise ValueError(f"{self._path}: is damaged, it has no {name}.")
        return self._entries[name]

    @contextmanager
    def _opened(self) -> Iterator[ZipFile]:
        try:
            with ZipFile(self._path) as file:
                yield file
        except (*DAMAGED, NotImplementedError) as error:
            raise ValueError(f"{self._path}: is damaged ({reason(error)}).") from error


def _check_header(
    file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any], what: str
) -> int:
    """Read the header of an array; return its length, or raise a ValueError."""
    begin = file.tell()
    try:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("of another version")
        found = np.lib.format.read_array_header_1_0(file)
    except ValueError as error:
        raise ValueError(f"{what} ({reason(error)}).") from error
    if found != (shape, False, dtype):
        raise ValueError(
            f"{what}, it holds {found[2]} of shape {found[0]}, expected are {dtype} of "
            f"{shape}."
        )
    return file.tell() - begin
