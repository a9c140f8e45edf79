"""What the files of image layers say of axes and pixel size, read behind the scenes.

napari's own reader keeps the pixels only. The command line's reader is asked for the
rest: in a thread, as some files take seconds.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from psygnal import Signal

from napari_unet.io.images import SUFFIXES, find, read_image
from napari_unet.session.images import layers as roles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Layer

    from napari_unet.core.images.image import Image

    _Key = tuple[str, int, int]

_log = logging.getLogger(__name__)

# Files up to this size are read at once: it takes some milliseconds.
_AT_ONCE = 2**20
# A file is not read if its pixels would take more than this share of the free memory.
_MEMORY_SHARE = 0.5
# Compressed files have fewer bytes than pixels, others are mapped and not read.
_UNCOMPRESSED = 0.9


@dataclass(frozen=True, slots=True)
class Told:
    """What a file tells of its image.

    Attributes
    ----------
    axes : str
        As `core.images.image.Image` has them; empty where the file tells nothing.
    shape : tuple of int
    sizes_um : tuple of (str, float)
        Pixel size in micrometres of the spatial axes that have a known one.
    notes : tuple of str
        What was chosen in reading it, each a sentence.
    problem : str
        Why it tells nothing, a sentence.
    """

    axes: str = ""
    shape: tuple[int, ...] = ()
    sizes_um: tuple[tuple[str, float], ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""


NOTHING = Told()
"""What is told of a layer that is from no file."""


class SourceFiles:
    """Reads the files that layers are from, each once.

    Parameters
    ----------
    post : callable, optional
        Runs a function soon in the main thread; called from any thread. Without it,
        all files are read at once.
    """

    read = Signal()
    """A file that was asked for is read."""

    def __init__(
        self, post: Callable[[Callable[[], None]], None] | None = None
    ) -> None:
        self._post = post
        self._told: dict[_Key, Told] = {}
        self._waiting: dict[_Key, list[Callable[[], None]]] = {}
        self._closed = False

    def told(self, layer: Layer) -> Told | None:
        """Return what the file of a layer tells; None if it is not read yet.

        A small file is read at once, the reading of a large one begins.
        """
        key = _key(layer)
        if key is None:
            return NOTHING
        if key not in self._told:
            small = key[1] <= _AT_ONCE and not Path(key[0]).is_dir()
            if small or self._post is None:
                return self.now(layer)
            self._begin(key, roles.level_data(layer), self._post)
        return self._told.get(key)

    def now(self, layer: Layer) -> Told:
        """Return what the file of a layer tells; it is read if it is not yet."""
        key = _key(layer)
        if key is None:
            return NOTHING
        if key not in self._told:
            self._told[key] = _read(Path(key[0]), roles.level_data(layer))
        return self._told[key]

    def ask(self, layers: Sequence[Layer], then: Callable[[], None]) -> None:
        """Call back when the files of layers are read; at once if they are."""
        unknown = [layer for layer in layers if self.told(layer) is None]
        if not unknown:
            then()
            return
        key = _key(unknown[0])
        if key is not None:
            self._waiting[key].append(lambda: self.ask(unknown[1:], then))

    def close(self) -> None:
        """Call nobody back any more."""
        self._closed = True
        self._waiting.clear()

    def _begin(
        self, key: _Key, data: object, post: Callable[[Callable[[], None]], None]
    ) -> None:
        if key in self._waiting:
            return
        self._waiting[key] = []

        def work() -> None:
            told = _read(Path(key[0]), data)
            post(lambda: self._finish(key, told))

        thread = threading.Thread(target=work, name="napari-unet file", daemon=True)
        thread.start()

    def _finish(self, key: _Key, told: Told) -> None:
        if self._closed:
            return
        self._told.setdefault(key, told)
        for then in self._waiting.pop(key, []):
            then()
        self.read.emit()


def path_of(layer: Layer) -> str | None:
    """Return where a layer is from, absolute; None if it is not from a file."""
    path = layer.source.path
    if not path or "://" in str(path):
        return str(path) if path else None
    return str(Path(path).absolute())


def _key(layer: Layer) -> _Key | None:
    """Return a local path with its size and time; None if there is no such file."""
    path = path_of(layer)
    if path is None or "://" in path:
        return None
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return path, found.st_size, found.st_mtime_ns


def _read(path: Path, data: object) -> Told:
    """Read what a file tells; of a folder of files that are one stack, the first."""
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        return Told(problem=f"{path.suffix or 'such'} files are read by napari alone.")
    try:
        file = find([path])[0]
        if not _fits_into_memory(file, data):
            return Told(problem=f"{file.name} is too large to be read a second time.")
        image = _first_image(file)
    except (ValueError, OSError) as error:
        return Told(problem=str(error))
    except Exception as error:
        # whatever a reader stumbles over is no reason to refuse pixels that are there
        _log.exception("%s could not be read", path)
        return Told(problem=f"{path}: {error}")
    # of a stack, y and x may be known without z
    known = image.known_um or ()
    letters = image.spatial_axes[-len(known) :] if known else ""
    return Told(
        image.axes,
        tuple(int(n) for n in image.data.shape),
        tuple(zip(letters, map(float, known), strict=True)),
        tuple(image.notes),
    )


def _first_image(path: Path) -> Image:
    """Read the image that napari shows: of several in a file the first."""
    try:
        return read_image(path)
    except ValueError:
        try:
            image = read_image(f"{path}#1")
        except (ValueError, OSError):
            image = None
        if image is None:
            raise
        note = "The file holds several images: this is taken for the first."
        return replace(image, notes=(note, *image.notes))


def _fits_into_memory(path: Path, data: object) -> bool:
    """Whether there is room for the pixels of a file, if they have to be read."""
    pixels = int(getattr(data, "nbytes", 0))
    if path.is_dir() or path.stat().st_size >= _UNCOMPRESSED * pixels:
        return True
    return bool(pixels <= _MEMORY_SHARE * psutil.virtual_memory().available)
