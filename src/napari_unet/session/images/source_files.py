"""Axes and pixel size from the files of image layers, read in the background.

napari's own reader keeps only the pixels. The command line's reader provides the rest,
in a thread, as some files take seconds.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from psygnal import Signal

from napari_unet.io.images import SUFFIXES, find, read_image
from napari_unet.io.readers.catalogue import SUFFIXES as LAZY
from napari_unet.session.images import layers as roles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Layer

    from napari_unet.core.images.image import Image
    from napari_unet.session.future import Post

    _Key = tuple[str, int, int]

_log = logging.getLogger(__name__)

# Files up to this size, in bytes, are read at once: it takes some milliseconds.
_AT_ONCE = 2**20
# A file is not read if its pixels would take more than this share of the free memory.
_MEMORY_SHARE = 0.5
# Compressed files are smaller than their pixels, others are mapped and not read.
_UNCOMPRESSED = 0.9
# So many images of a file of a microscope are compared: those of a slide are hundreds.
_COMPARED = 50


@dataclass(frozen=True, slots=True)
class FileMetadata:
    """Metadata of the image in a file."""

    # as `core.images.image.Image` has them; empty where the file says nothing
    axes: str = ""
    shape: tuple[int, ...] = ()
    # pixel size in micrometres of the spatial axes that have a known one
    sizes_um: tuple[tuple[str, float], ...] = ()
    notes: tuple[str, ...] = ()  # choices made in reading it, each a sentence
    problem: str = ""  # why there are none, a sentence


_NO_FILE = FileMetadata()


class SourceFiles:
    """Reads the files of layers, each once.

    `post` runs a function soon in the main thread, called from any thread; without it,
    all files are read at once.
    """

    read = Signal()
    """A requested file has been read."""

    def __init__(self, post: Post | None = None) -> None:
        self._post = post
        self._known: dict[_Key, FileMetadata] = {}
        self._reading: set[_Key] = set()
        self._waiting: list[tuple[Sequence[Layer], Callable[[], None]]] = []
        self._closed = False

    def metadata(self, layer: Layer) -> FileMetadata | None:
        """Return the metadata of a layer's file; None if it is not read yet.

        A small file is read at once, the reading of a large one begins.
        """
        key = _key(layer)
        if key is None or key in self._known:
            return self.read_now(layer)
        small = key[1] <= _AT_ONCE and not Path(key[0]).is_dir()
        if small or self._post is None:
            return self.read_now(layer)
        if key not in self._reading:
            self._reading.add(key)
            arguments = (key, roles.level_data(layer), self._post)
            threading.Thread(
                target=self._read, args=arguments, name="napari-unet file", daemon=True
            ).start()
        return None

    def read_now(self, layer: Layer) -> FileMetadata:
        """Return the metadata of a layer's file; it is read if it is not yet."""
        key = _key(layer)
        if key is None:
            return _NO_FILE
        if key not in self._known:
            self._known[key] = _read(Path(key[0]), roles.level_data(layer))
        return self._known[key]

    def when_read(self, layers: Sequence[Layer], then: Callable[[], None]) -> None:
        """Call back when the files of layers are read; at once if they are."""
        unread = [layer for layer in layers if self.metadata(layer) is None]
        if unread:
            self._waiting.append((unread, then))
        else:
            then()

    def close(self) -> None:
        """Make no more callbacks."""
        self._closed = True
        self._waiting.clear()

    def _read(self, key: _Key, data: object, post: Post) -> None:
        metadata = _read(Path(key[0]), data)
        post(lambda: self._finish(key, metadata))

    def _finish(self, key: _Key, metadata: FileMetadata) -> None:
        if self._closed:
            return
        self._reading.discard(key)
        self._known.setdefault(key, metadata)
        waiting, self._waiting = self._waiting, []
        for layers, then in waiting:
            self.when_read(layers, then)
        self.read.emit()


def path_of(layer: Layer) -> str | None:
    """Return where a layer is from, absolute; None if it is not from a file."""
    path = layer.source.path or roles.noted(layer).get("path")
    if not path or "://" in str(path):
        return str(path) if path else None
    return str(Path(path).absolute())


def _key(layer: Layer) -> _Key | None:
    """Return a local path with its size and time; None if there is no such file.

    A file that was rewritten meanwhile has another key.
    """
    path = path_of(layer)
    if path is None or "://" in path:
        return None
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return path, found.st_size, found.st_mtime_ns


def _read(path: Path, data: object) -> FileMetadata:
    """Read the metadata of a file; of a folder that is one stack, of its first file."""
    if path.is_file() and not path.name.lower().endswith(SUFFIXES):
        return FileMetadata(
            problem=f"{path.suffix or 'such'} files are read by napari alone."
        )
    try:
        file = find([path])[0]
        if not _fits_into_memory(file, data):
            return FileMetadata(
                problem=f"{file.name} is too large to be read a second time."
            )
        image = _first_image(file)
    except (ValueError, OSError) as error:
        return FileMetadata(problem=str(error))
    except Exception as error:
        # pixels that are there already are not refused because a reader fails
        _log.exception("%s could not be read", path)
        return FileMetadata(problem=f"{path}: {error}")
    return FileMetadata(
        image.axes,
        tuple(int(n) for n in image.data.shape),
        tuple(image.um_by_axis.items()),
        tuple(image.notes),
    )


def _first_image(path: Path) -> Image:
    """Read the image that napari shows: of several in a file the first."""
    try:
        return read_image(path)
    except ValueError:
        image = None
        with suppress(ValueError, OSError):
            image = read_image(f"{path}#1")
        if image is None:
            raise
    if not path.name.lower().endswith(LAZY):
        if len(find([f"{path}#*"])) < 2:
            return image  # the only one, such as labels without an image
        note = "The file holds several images: this is taken for the first."
        return replace(image, notes=(note, *image.notes))
    every = find([f"{path}#*"])
    others = [read_image(one) for one in every[1:_COMPARED]]
    if all(other.known_um == image.known_um for other in others):
        looked = f" as far as the first {_COMPARED} tell" * (len(every) > _COMPARED)
        note = f"The file holds several images, of one pixel size{looked}."
        return replace(image, notes=(note, *image.notes))
    note = "The file holds images of several pixel sizes: which this has is not known."
    return replace(image, spacing_um=None, yx_um=None, notes=(note, *image.notes))


def _fits_into_memory(path: Path, data: object) -> bool:
    """Whether there is room for the pixels of a file, if they have to be read."""
    pixels = int(getattr(data, "nbytes", 0))
    if path.is_dir() or path.stat().st_size >= _UNCOMPRESSED * pixels:
        return True
    return bool(pixels <= _MEMORY_SHARE * psutil.virtual_memory().available)
