"""Reading images and label images: TIFF, PNG, JPEG, OME-Zarr, folders and globs.

Formats of microscopes and other programs are read if their library is installed:
`readers.catalogue`.

Pixels of large uncompressed TIFFs and of OME-Zarr stay on disk until they are needed.
An unreadable file is an error of one sentence with its name and the reason. If a file
has several images, one has to be named (``FILE#2``); none is chosen silently.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from glob import glob, has_magic
from mimetypes import MimeTypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.core.geometry.blocks import cut
from napari_unet.core.images.image import LARGEST, ImageFile, within_reach
from napari_unet.core.text import (
    counted,
    encodable,
    listed,
    printable,
    reason,
    unreadable,
)
from napari_unet.io import ome_sets, ome_zarr, pictures
from napari_unet.io.names import glob_pattern, image_name, split_number
from napari_unet.io.objects.catalogue import FORMATS
from napari_unet.io.pixels import SeveralImagesError
from napari_unet.io.readers import catalogue
from napari_unet.io.remote import is_in_folder, is_remote, url_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.core.images.image import Image
    from napari_unet.io.pixels import Pixels

TIFF = (".tif", ".tiff", ".btf", ".tf2", ".tf8", ".lsm")
JPEG = (".jpg", ".jpeg")
PICTURES = (".png", *JPEG, ".gif", ".bmp")
SUFFIXES = (*TIFF, *PICTURES, ".zarr", *catalogue.SUFFIXES)
_FORMATS = ", ".join(SUFFIXES)

# First bytes of formats whose files may have the suffix of another one.
_SIGNS = {
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), ".tif"),
}

_READ = {
    ".png": pictures.read_png,
    **dict.fromkeys(JPEG, pictures.read_jpeg),
    **dict.fromkeys((".gif", ".bmp"), pictures.read_gif_or_bmp),
}

# Endings of what may lie beside images, besides those that Python knows as texts,
# archives and the like. The names that it knows, and not also those of the system.
_NO_PICTURES = (
    *(end.lower() for one in FORMATS.values() for end in one.suffixes),
    *(".db", ".ini", ".log", ".md", ".safetensors", ".toml", ".yaml", ".yml"),
)
_TYPES = MimeTypes()

# Above this, floats do not hold all integers.
_EXACT = 2**53

# Part of a plane that is checked at a time.
_CHECKED = (1024, 4096)


def find(paths: Sequence[str | Path]) -> list[Path]:
    """Expand files, folders and globs to the images they name, each once.

    A folder stands for the images directly in it, in natural order (2 before 10); an
    OME-Zarr folder is one path, and so are the files of an OME-TIFF that has several.
    Hidden files are left out of folders.

    Parameters
    ----------
    paths : sequence of str or Path
        Files, folders, or patterns with ``*``, ``?``, ``[...]`` or ``**``. ``#2``
        behind one stands for the second image in each of its files, ``#*`` for all.

    Raises
    ------
    FileNotFoundError
        A path is not there, or a folder or pattern yields no image.
    OSError
        A folder may not be listed.
    ValueError
        A file is of a format that cannot be read.
    """
    found: dict[Path, None] = {}
    for path in paths:
        try:
            found.update(dict.fromkeys(_expand(path)))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise unreadable(path, error) from error
    if not found:
        raise FileNotFoundError("no image is named: the list of paths is empty.")
    return ome_sets.first_of_each_set(list(found))


def left_out(paths: Sequence[str | Path]) -> str:
    """Say which files of folders and patterns `find` passes over; empty if none.

    Texts, tables, models and objects are no pictures, and are not mentioned.
    """
    endings: Counter[str] = Counter()
    for given in paths:
        path = Path(re.sub(r"#(\*|\d+)$", "", str(given)))
        if _is_folder(path):
            there = list(path.iterdir())
        elif path.exists() or is_remote(path) or not has_magic(str(path)):
            continue
        else:
            there = [Path(match) for match in glob(glob_pattern(path), recursive=True)]
        images = set(filter(_is_image, there))
        images.update(f for image in images for f in catalogue.beside(image))
        endings.update(
            file.suffix.lower() or "without ending"
            for file in there
            if file not in images and _may_be_picture(file)
        )
    if not endings:
        return ""
    kinds = [f"{n} {ending}" for ending, n in endings.most_common()]
    are = counted(endings.total(), "file is", "files are")
    return f"{are} of no format that is read and left out: {listed(kinds, 5)}."


def read_image(path: str | Path, axes: str | None = None) -> Image:
    """Read an image with its axes and pixel size, as viewers show it.

    Colours become channels without alpha, and one channel where they are equal;
    booleans uint8; an axis of length one that is neither y nor x is dropped; an axis
    that the file does not explain is z.

    Parameters
    ----------
    path : str or Path
        A file of one of the `SUFFIXES`, or an OME-Zarr folder; with ``#2`` behind it
        the second image that is in it.
    axes : str, optional
        Letters out of t, c, z, y, x that overrule the file's; every value is kept then.

    Returns
    -------
    Image
        `spacing_um` is None where the file has no pixel size for one of its spatial
        axes, `yx_um` where it has none for y or x; `notes` say what was chosen.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        It may not be read.
    ValueError
        It is not an image, is damaged or empty, holds several images, or its axes are
        unclear.
    """
    pixels = _decode(Path(path))
    with _naming(path):
        image = pixels.image(encodable(image_name(path)), axes)
    where = url_of(path) if is_remote(path) else str(Path(path).absolute())
    return replace(image, file=ImageFile(where, axes))


def read_input(path: str | Path, axes: str | None = None) -> Image:
    """Read an image that is to be learnt from or predicted; else as `read_image`.

    A note says if chunks of it are missing, as of a copy that broke off.
    """
    image = read_image(path, axes)
    folder, number = split_number(Path(path))
    if is_remote(folder) or not folder.is_dir():
        return image  # of an object store each would be a request
    note = ome_zarr.note_of_missing(folder, number)
    return replace(image, notes=(*image.notes, note)) if note else image


def read_labels(path: str | Path, axes: str | None = None) -> Image:
    """Read a label image: one channel of integers, 0 and up.

    Files of real numbers are accepted where all of them are integers, files of several
    channels where all of them are equal (a mask saved as RGB). Of a palette with
    colours the numbers are read. Parameters and errors are those of `read_image`.

    Raises
    ------
    ValueError
        Also for a JPEG, or a TIFF compressed like one, which alters labels, for
        channels that differ, and for values that are negative or no integers.
    """
    path = Path(path)
    pixels = _decode(path)
    if pixels.altered:
        raise ValueError(
            f"{printable(path)}: JPEG compression alters labels; they are read from "
            "TIFF (with another compression), PNG and OME-Zarr."
        )
    with _naming(path):
        image = pixels.image(encodable(image_name(path)), axes, labels=True)
        if image.data.dtype.kind == "u" and "c" not in image.axes:
            return image  # nothing to check, so it may stay on disk
        labels = image.read()
        if "c" in image.axes:
            labels = _one_channel(labels, image)
        labels = _integers(labels, image.name)
    return replace(image, data=labels, axes=image.axes.replace("c", ""))


def check_finite(image: Image) -> None:
    """Read the whole image, in blocks, and refuse values that no network can take.

    Raises
    ------
    ValueError
        A value is NaN, infinite, or beyond `core.images.image.LARGEST`; the message
        has the position of the first.
    """
    if image.data.dtype.kind != "f":
        return
    for axes, start, block in _blocks(image):
        bad = ~within_reach(block)
        if bad.any():
            index = np.argwhere(bad)[0]
            value = block[tuple(index)]
            where = ", ".join(
                f"{a}={i + start.get(a, 0)}" for a, i in zip(axes, index, strict=True)
            )
            raise ValueError(
                f"{printable(image.name)}: pixels must be finite numbers up to "
                f"{LARGEST:g}, found {value} at {where}."
            )


def natural(path: Path) -> list[str | int]:
    """Return a key that sorts paths in natural order: 2 before 10."""
    # The split alternates text and digits, so equal positions have equal types.
    parts = re.split(r"(\d+)", str(path).lower())
    return [int(p) if i % 2 else p for i, p in enumerate(parts)]


def _expand(given: str | Path) -> list[Path]:
    path = Path(given)
    if is_remote(path):
        return [path]
    # A file whose own name has brackets or a mark takes precedence over the pattern.
    if _is_folder(path):
        images = sorted(filter(_is_image, path.iterdir()), key=natural)
        if not images:
            raise FileNotFoundError(
                f"{printable(path)}: no image is in the folder ({_FORMATS})."
            )
        return images
    if path.exists():
        _check_readable(path)
        return [path]
    marked = re.fullmatch(r"(.+)#(\*|\d+)", str(given), re.DOTALL)
    if marked is not None:
        found = _expand(marked[1])
        if marked[2] == "*":
            return [image for file in found for image in _all_of(file)]
        return [_numbered(file, int(marked[2])) for file in found]
    if not has_magic(str(given)):
        _check_readable(path)
        return [path]
    matches = [Path(match) for match in glob(glob_pattern(given), recursive=True)]
    images = sorted(filter(_is_image, matches), key=natural)
    if not images:
        # glob skips a folder that may not be listed
        folder = next(f for f in path.parents if not has_magic(str(f)) or f.exists())
        if folder.is_dir():
            next(folder.iterdir(), None)
        raise FileNotFoundError(f"{printable(given)}: no image matches ({_FORMATS}).")
    return images


def _may_be_picture(path: Path) -> bool:
    name = path.name.lower()
    if name.startswith(".") or name.endswith(_NO_PICTURES) or not path.is_file():
        return False
    kind, _ = _TYPES.guess_type(name)
    return kind is None or kind.startswith(("image/", "video/"))


def _numbered(path: Path, number: int) -> Path:
    """Name an image by its number, and by its own folder where it has one."""
    named = path.with_name(f"{path.name}#{number}")
    images = _all_of(path) if path.is_dir() else []
    if not 1 <= number <= len(images) or not images[number - 1].exists():
        return named
    return images[number - 1]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not ome_zarr.is_zarr(path)


def _all_of(path: Path) -> list[Path]:
    """Name all images of a file; the file itself where it is one."""
    marks: list[str] = []
    try:
        if path.is_dir():
            marks = ome_zarr.several(path)
        elif (kind := _kind(path)) in TIFF:
            from napari_unet.io import tiff

            marks = _numbers(tiff.count(path))
        elif kind not in PICTURES:
            marks = _numbers(catalogue.count(path))
    # Its problem is reported when it is read.
    except Exception:
        return [path]
    return [Path(f"{path}{mark}") for mark in marks] or [path]


def _numbers(count: int) -> list[str]:
    return [f"#{k}" for k in range(1, count + 1)] if count > 1 else []


def _kind(path: Path) -> str:
    """Return a file's suffix; TIFF and pictures are told apart by their content."""
    suffix = path.suffix.lower()
    if suffix not in (*TIFF, *PICTURES) or not path.is_file():
        return suffix
    with path.open("rb") as file:
        begin = file.read(4)
    found = (kind for sign, kind in _SIGNS.items() if begin.startswith(sign))
    return next(found, suffix)


def _is_image(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    # a broken link is a missing image, which is reported
    there = path.is_file() or (path.is_symlink() and not path.exists())
    return ome_zarr.is_zarr(path) or (there and path.name.lower().endswith(SUFFIXES))


def _check_readable(path: Path) -> None:
    shown = printable(path)
    if is_remote(path):
        return
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{shown}: there is no such file.") from None
    except OSError as error:
        raise unreadable(path, error) from error
    if _is_folder(path):
        raise ValueError(f"{shown}: is a folder and no OME-Zarr image.")
    if not (path.is_file() or path.is_dir()):  # reading a pipe would block
        raise ValueError(f"{shown}: is no file that could be an image.")
    if path.is_file() and path.suffix.lower() == ".zarr":
        raise ValueError(f"{shown}: is a file, and an OME-Zarr is a folder.")
    known = path.name.lower().endswith(SUFFIXES) or catalogue.has_bioio()
    if path.is_file() and not known:
        raise ValueError(
            f"{shown}: images are read from {_FORMATS}, found {path.suffix!r}."
        )


def _decode(given: Path) -> Pixels:
    shown = printable(given)
    try:
        path, number = split_number(given)
    except OSError as error:
        raise unreadable(given, error) from error
    _check_readable(path)
    try:
        before = _state(path)
        if is_in_folder(path):
            pixels = ome_zarr.read(path, number)
        elif (kind := _kind(path)) in TIFF:
            from napari_unet.io import tiff

            pixels = tiff.read(path, number)
        elif kind not in PICTURES:
            pixels = catalogue.read(path, number)
        elif number not in {None, 1}:
            raise SeveralImagesError(f"there is no image #{number}, it holds one")
        else:
            pixels = _READ[kind](path)
        if _state(path) != before:
            raise ValueError("it changed while it was read")
        return pixels
    except SeveralImagesError as error:
        raise SeveralImagesError(f"{shown}: {error}.", error.titles) from error
    except OSError as error:
        raise unreadable(given, error) from error
    # A damaged file may raise anything in its decoder.
    except Exception as error:
        raise ValueError(
            f"{shown}: cannot be read as an image: {reason(error)}."
        ) from error


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Name the file in an error about its image: many have the same name."""
    try:
        yield
    except (ValueError, OSError) as error:
        rest = str(error).removeprefix(f"{printable(image_name(path))}: ")
        raise type(error)(f"{printable(path)}: {rest}") from error


def _state(path: Path) -> tuple[int, int] | None:
    """Return values that change when a file is written to."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if not file.read(1):
            raise ValueError("it is empty, it has 0 bytes")
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _one_channel(labels: NDArray[Any], image: Image) -> NDArray[Any]:
    channels = np.moveaxis(labels, image.axes.index("c"), 0)
    if not all(np.array_equal(channels[0], other) for other in channels[1:]):
        raise ValueError(
            f"{printable(image.name)}: labels have one channel, found {len(channels)} "
            f"that differ (axes {image.axes}); where they are slices or times, name "
            f"the axes, as in --axes {image.axes.replace('c', 'z')}."
        )
    return np.ascontiguousarray(channels[0])


def _integers(labels: NDArray[Any], name: str) -> NDArray[Any]:
    name = printable(name)
    wrong = labels < 0
    real = labels.dtype.kind == "f"
    if real:
        wrong = ~(np.isfinite(labels) & (labels >= 0) & (labels == np.floor(labels)))
    if wrong.any():
        value = labels[tuple(np.argwhere(wrong)[0])]
        raise ValueError(f"{name}: labels must be integers from 0 on, found {value}.")
    if not real:
        return labels
    most = float(labels.max())
    if most > _EXACT:
        raise ValueError(
            f"{name}: real numbers above 2^53 are no exact labels, found {most:g}."
        )
    return labels.astype(np.uint32 if most < 2**32 else np.uint64)


def _blocks(image: Image) -> Iterator[tuple[str, dict[str, int], NDArray[Any]]]:
    """Yield parts of planes with their axes and where they start."""
    for field in image.fields(2):
        for block in cut(field.shape, _CHECKED, unit=512):
            part = field.read(block.core)
            y, x = (side.start for side in block.core)
            start = {"t": field.t, "z": field.z or 0, "y": y, "x": x}
            # t and z have length one in the block, so that messages can name them.
            axes = "".join(a for a in "tz" if a in image.axes) + "cyx"
            yield axes, start, part.reshape((1,) * (len(axes) - 3) + part.shape)
