"""Reading TIFF: ImageJ hyperstacks, OME-TIFF, LSM, and plain TIFF of any origin.

Axes come from the metadata through tifffile. A file may have several images, numbered
from 1: one has to be chosen, and none is left out silently.
"""

from __future__ import annotations

import logging
import struct
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_unet.core.text import counted, reason
from napari_unet.io import ome_sets
from napari_unet.io.pictures import ORIENTATION, TURNED
from napari_unet.io.pixel_size import sizes_um
from napari_unet.io.pixels import Pixels, chosen
from napari_unet.io.readers.file_image import MAPPED_FROM_BYTES, OnDisk
from napari_unet.io.tiff_colours import PLAIN, with_meaning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.core.images.image import ArrayLike
    from napari_unet.io.readers.file_image import Read

# Pages of smaller compressed images are decoded once, larger ones where they are read.
DECODED_TO_BYTES = 2**31

# What tifffile logs, without raising an error, for a truncated file.
_BROKEN_CHAIN = "invalid page offset"
_TOO_SHORT = "ImageJ series metadata invalid or corrupted"
_LOST_TEXT = "TiffTag 270 "
_TOO_FEW_PAGES = "shaped series failed to reshape"
_NO_PAGE = "invalid offset to first page"
_ERRORS = (_BROKEN_CHAIN, _TOO_SHORT, _LOST_TEXT, _TOO_FEW_PAGES, _NO_PAGE)

# Compressions that alter values whatever their settings.
_LOSSY = {"OJPEG", "JPEG", "ALT_JPEG", "JPEG_2000_LOSSY"}

_AS_THEY_COME = "pages are read as they come, without pixel size."
_LOST = f"its description cannot be understood: {_AS_THEY_COME}"
_TOO_FEW = f"its description tells of other pages than there are: {_AS_THEY_COME}"
_DESCRIBED = {"ome", "imagej", "shaped"}


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """An image of a file: one series of tifffile, or pages that were appended."""

    series: tuple[Any, ...]
    number: int

    @property
    def first(self) -> Any:
        return self.series[0]

    @property
    def shape(self) -> tuple[int, ...]:
        pages = (len(self.series),) if len(self.series) > 1 else ()
        return (*pages, *self.first.shape)

    @property
    def axes(self) -> str:
        return "i" * (len(self.series) > 1) + str(self.first.axes.lower())


def count(path: Path) -> int:
    """Return the number of images in a TIFF file."""
    with _collected_errors(), _opened(path) as (file, _):
        return len(_entries(file)[0])


def rois(path: Path) -> list[bytes]:
    """Return the ROIs that ImageJ keeps in a TIFF: those of the overlay, else selected.

    None of a damaged file, of which that is said where it is read.
    """
    try:
        with _collected_errors(), tifffile.TiffFile(path) as file:
            kept = file.imagej_metadata or {}
    # damaged metadata may raise anything in their parser
    except Exception:
        return []
    found = kept.get("Overlays") or kept.get("ROI") or []
    each = found if isinstance(found, list) else [found]
    return [one for one in each if isinstance(one, bytes)]


def read(path: Path, number: int | None = None) -> Pixels:
    """Read an image of a TIFF file, at full resolution.

    Uncompressed images from 64 MiB on are memory-mapped, and pages of compressed ones
    above 2 GiB are decoded when they are read. The number, from 1, is needed
    where there are several images.

    Raises
    ------
    ValueError
        There is no image of the number, several and none is named, or it is cut off.
    """
    with _collected_errors() as errors, _opened(path) as (file, misread):
        notes = misread
        if file.is_ome:
            notes += _set_of(path, file)
        entries, left_out = _entries(file)
        if not entries:
            raise ValueError("it holds no image")
        notes += left_out
        notes += _check_complete(file, errors)
        images = [(e.first.name or "", e.shape, e.first.dtype) for e in entries]
        entry = entries[chosen(images, number, path.name)]
        for series in entry.series:
            notes += _check_pages(file, series)
        if entry.first.keyframe.tags.valueof(ORIENTATION, 1) > 1:
            notes += (TURNED,)
        sizes = {} if misread else _sizes(file, entry)
        altered = entry.first.keyframe.compression.name in _LOSSY
        data = _data(file, entry)
        pixels = Pixels(data, entry.axes, sizes, notes, altered=altered)
        return with_meaning(pixels, entry.first)


def _set_of(path: Path, file: Any) -> tuple[str, ...]:
    try:
        return ome_sets.check_whole(path, file.pages.first.description)
    except SyntaxError:  # of the XML: reported by the reading of the pages without it
        return ()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Open a file; without its description, and with a note, if that is unusable."""
    with ExitStack() as stack:
        file = stack.enter_context(tifffile.TiffFile(path))
        _check_chain(file)
        try:
            kinds = {series.kind for series in file.series}
            lost = bool(kinds & PLAIN) and (file.is_ome or _is_cut_ome(file))
            ignored = not lost and bool(kinds & _DESCRIBED) and _undescribed(file) > 0
        # Damaged metadata may raise anything in their parser.
        except Exception:
            lost = ignored = True
        if ignored:
            flags = {"is_ome": False, "is_imagej": False, "is_shaped": False}
            file = stack.enter_context(tifffile.TiffFile(path, **flags))
        yield file, (_LOST,) if lost else (_TOO_FEW,) if ignored else ()


def _check_chain(file: Any) -> None:
    """Refuse pages that lead back to one before, which tifffile reads without end."""
    form, handle, seen = file.tiff, file.filehandle, set[int]()
    offset = file.pages.first.offset
    while 0 < offset < handle.size:
        if offset in seen:
            raise ValueError(f"page {len(seen)} of it leads back to one before")
        seen.add(offset)
        handle.seek(offset)
        try:
            (tags,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
            handle.seek(tags * form.tagsize, 1)
            (offset,) = struct.unpack(form.offsetformat, handle.read(form.offsetsize))
        except struct.error:
            return  # the end is missing, as tifffile will log


def _is_cut_ome(file: Any) -> bool:
    """Whether a description begins like OME's, but lacks its end."""
    begin = file.pages.first.description[:1000].lstrip()
    return begin.startswith("<") and "<OME" in begin


def _undescribed(file: Any) -> int:
    """Count the pages of a file that are in no series."""
    known = {
        page.index if isinstance(page.index, int) else page.index[0]
        for series in file.series
        for level in series.levels
        # ImageJ's one series lists all pages, also those beyond its shape
        for page in level.pages[: level.size // level.keyframe.size]
        if page is not None and page.parent is file
    }
    return len(file.pages) - len(known)


def _entries(file: Any) -> tuple[list[_Entry], tuple[str, ...]]:
    """List the images of a file, with a note on what is not an image."""
    series = list(enumerate(file.series))
    images = [(k, s) for k, s in series if not (_is_small(s) or s.keyframe.is_mask)]
    images = images or series
    groups: list[_Entry] = []
    for number, one in images:
        before = groups[-1] if groups else None
        if before is not None and _continues(before.first, one):
            groups[-1] = _Entry((*before.series, one), before.number)
        else:
            groups.append(_Entry((one,), number))
    notes = []
    if len(images) < len(series):
        left = len(series) - len(images)
        images_are = counted(left, "image in it is", "images in it are")
        notes.append(f"{images_are} marked as reduced or as a mask and left out.")
    return groups, tuple(notes)


def _is_small(series: Any) -> bool:
    """Whether a series is a smaller version; scanners mark their label images alike."""
    if series.kind in {*PLAIN, "lsm"} or not series.name:
        return bool(series.keyframe.is_reduced)
    return bool(series.name.lower() == "thumbnail")


def _continues(before: Any, series: Any) -> bool:
    """Whether a plane was appended to those before it."""
    page = series.keyframe
    return bool(
        before.kind == series.kind
        and series.kind in PLAIN
        and before.shape == series.shape == page.shape
        and before.dtype == series.dtype
        and before.axes == series.axes
        and len(before.levels) == len(series.levels) == 1
        and before.keyframe.photometric == page.photometric
    )


def _check_complete(file: Any, errors: set[str]) -> tuple[str, ...]:
    """Refuse a file from which tifffile would read fewer images than were written."""
    if _TOO_SHORT in errors:
        images = file.imagej_metadata.get("images")
        raise ValueError(f"it is too short for the {images} images it tells of")
    if _LOST_TEXT in errors:
        raise ValueError("it is cut off before its description")
    # Other kinds of files have their number of pages; here there is only the chain of
    # pages, and a broken chain is a truncated stack.
    pages = len(file.pages)
    lost = _undescribed(file) if file.series[0].kind == "generic" else 0
    if lost > 0:
        raise ValueError(f"{lost} of its {pages} pages cannot be read")
    if _BROKEN_CHAIN not in errors:
        return ()
    chained = file.series[0].kind in {"generic", "uniform"} or len(file.series) > 1
    if chained and (pages > 1 or _TOO_FEW_PAGES in errors):
        raise ValueError(f"it is cut off after page {pages}")
    # Some programs write invalid data after the only page.
    return ("what follows its first page cannot be found: pages may be missing.",)


def _check_pages(file: Any, series: Any) -> tuple[str, ...]:
    """Refuse pages that would be read as black, or only in part.

    Empty parts of pages may be intended; a note mentions them.
    """
    pages = series.pages
    lost = sum(page is None for page in pages)
    if lost:
        raise ValueError(
            f"{lost} of the {len(pages)} planes that it tells of are not in it"
        )
    if series.dataoffset is not None:
        return ()  # contiguous: reading it fails if anything is missing
    empty = 0
    for page in pages:
        if page.parent is not file:
            continue  # of another file of the set
        ends = map(sum, zip(page.dataoffsets, page.databytecounts, strict=False))
        if max(ends, default=0) > file.filehandle.size:
            raise ValueError(f"it is cut off in page {page.index + 1}")
        empty += sum(size == 0 for size in page.databytecounts)
    if not empty:
        return ()
    parts = counted(empty, "strip or tile of it is", "strips or tiles of it are")
    return (f"{parts} empty, as after writing that broke off: 0 is read there.",)


@contextmanager
def _collected_errors() -> Iterator[set[str]]:
    """Collect these errors from tifffile's log, as it does not raise them."""
    errors: set[str] = set()
    thread = get_ident()

    def note(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True  # about another file
        message = record.getMessage()
        known = {e for e in _ERRORS if e in message}
        errors.update(known)
        # OME's description is checked here, and its problems become a sentence.
        return not known and " OME series " not in message and _LOUD.is_wanted(record)

    log = logging.getLogger("tifffile")
    log.addFilter(note)
    try:
        with _LOUD.kept():
            yield errors
    finally:
        log.removeFilter(note)


class _Loud:
    """Makes tifffile log its errors even if a program has silenced it, as many do."""

    def __init__(self) -> None:
        self._log = logging.getLogger("tifffile")
        self._lock, self._readers = Lock(), 0
        self._before = 0, 0, False

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Log errors meanwhile; several threads may request it."""
        log = self._log
        with self._lock:
            if not self._readers:
                self._before = log.level, log.manager.disable, log.disabled
                log.setLevel(min(log.getEffectiveLevel(), logging.ERROR))
                logging.disable(min(log.manager.disable, logging.ERROR - 1))
                log.disabled = False
            self._readers += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                if not self._readers:
                    level, silent, log.disabled = self._before
                    log.setLevel(level)
                    logging.disable(silent)

    def is_wanted(self, record: logging.LogRecord) -> bool:
        """Whether a record would be logged without this."""
        level, silent, disabled = self._before
        return not disabled and record.levelno > silent and record.levelno >= level


_LOUD = _Loud()


def _data(file: Any, entry: _Entry) -> ArrayLike:
    if len(entry.series) > 1:
        return np.stack([series.asarray() for series in entry.series])
    series = entry.first
    if any(page.parent is not file for page in series.pages):
        # tifffile would look in this file for what is contiguous in another
        with ExitStack() as stack:
            for other in {page.parent for page in series.pages} - {file}:
                other.filehandle.open()
                stack.callback(other.filehandle.close)
            pages = [page.asarray() for page in series.pages]
        return np.stack(pages).reshape(series.shape)
    mappable = series.dataoffset is not None and series.keyframe.is_memmappable
    if not mappable and series.nbytes > DECODED_TO_BYTES and _in_pages(series):
        outer = series.shape[: series.ndim - len(series.keyframe.shape)]
        decoded = _Pages(series.pages, outer)
        return OnDisk(tuple(series.shape), series.dtype, len(outer), decoded.opened)
    if mappable and series.nbytes >= MAPPED_FROM_BYTES:
        parent = series.keyframe.parent
        mapped: ArrayLike = np.memmap(
            parent.filehandle.path,
            parent.byteorder + series.dtype.char,
            "r",
            series.dataoffset,
            series.shape,
        )
        return mapped
    loaded: ArrayLike = series.asarray()
    return loaded


def _in_pages(series: Any) -> bool:
    """Whether an array consists of whole pages along its first axes."""
    inner = len(series.keyframe.shape)
    outer = series.shape[: series.ndim - inner]
    same = series.shape[series.ndim - inner :] == series.keyframe.shape
    return bool(same and prod(outer) == len(series.pages))


class _Pages:
    """Pages that are decoded when they are read; the last is cached.

    The file is only open meanwhile.
    """

    def __init__(self, pages: Any, outer: tuple[int, ...]) -> None:
        self._pages, self._outer = pages, outer
        self._last: tuple[int, NDArray[Any]] | None = None
        # windows are read ahead in another thread
        self._lock = Lock()

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """As `OnDisk` requires."""
        yield lambda at, part: self._page(self._number(at))[part]

    def _number(self, at: tuple[int, ...]) -> int:
        return int(np.ravel_multi_index(at, self._outer)) if at else 0

    def _page(self, number: int) -> NDArray[Any]:
        with self._lock:
            if self._last is not None and self._last[0] == number:
                return self._last[1]
            self._last = None  # there would be two in memory
            file = self._pages[0].parent.filehandle
            file.open()
            try:
                pixels: NDArray[Any] = self._pages[number].asarray()
            finally:
                file.close()
            self._last = number, pixels
            return pixels


def _sizes(file: Any, entry: _Entry) -> dict[str, float]:
    # Unreadable metadata are no reason to refuse the pixels.
    try:
        return dict(sizes_um(file, entry.number))
    except Exception as error:
        logging.getLogger(__name__).debug("no pixel size: %s", reason(error))
        return {}
