"""Names of images, also of one of several in a file."""

from __future__ import annotations

import re
from glob import escape
from pathlib import Path, PurePath, PureWindowsPath

from napari_unet.io.ome_zarr import is_zarr
from napari_unet.io.records import is_file_name

# Characters that some system does not allow in names.
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')

# Windows reserves these for devices, also before a suffix.
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)

_TWO = ".nii.gz"  # double suffixes

# With a drive, or on a server.
_OF_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def split_number(path: str | Path) -> tuple[Path, int | None]:
    """Split ``FILE#2`` into the file and the number of the image in it, from 1.

    The number is None where the path names none, or is the name of a file as it stands.
    """
    path = Path(path)
    found = re.fullmatch(r"(.+)#(\d+)", path.name, re.DOTALL)
    if found is None or path.exists():
        return path, None
    return path.with_name(found[1]), int(found[2])


def glob_pattern(path: str | Path) -> str:
    """Return a pattern for `glob` in which names of existing folders are literal.

    Those in `a[1]/*.tif` are in the folder `a[1]`, if there is one.
    """
    parts = Path(path).parts
    for number in reversed(range(1, len(parts))):
        if (folder := Path(*parts[:number])).is_dir():
            return str(Path(escape(str(folder)), *parts[number:]))
    return str(path)


def image_name(path: str | Path) -> str:
    """Return the name of an image, the same in messages, pairs and results.

    The name of its file without suffix (``.ome.tif``, ``.ome.zarr`` and ``.nii.gz`` are
    one), with the number of the image if the file holds several (``scan#2``); a field
    of a plate has the path to it in its name (``plate_A_1_0``).
    """
    file, number = split_number(path)
    below: tuple[str, ...] = ()
    if around := [folder for folder in file.parents if is_zarr(folder)]:
        below = file.relative_to(around[-1]).parts
        file = around[-1]
    # only suffixes of formats: a name may contain dots
    stem = file.name[: -len(_TWO)] if file.name.lower().endswith(_TWO) else file.stem
    name = re.sub(r"\.ome$", "", stem, flags=re.IGNORECASE)
    mark = "" if number is None else f"#{number}"
    return "_".join([name, *below]) + mark


def is_of_windows(path: str) -> bool:
    """Whether a path that was noted is a whole one of Windows."""
    return _OF_WINDOWS.match(path) is not None


def noted_name(path: str) -> str:
    """Return the name of a file whose path was noted, perhaps on another system."""
    return (PureWindowsPath if is_of_windows(path) else PurePath)(path).name


def noted_parts(path: str) -> tuple[str, ...]:
    """Return the folders and the name of a noted path, without drive or root."""
    noted = (PureWindowsPath if is_of_windows(path) else PurePath)(path)
    return noted.relative_to(noted.anchor).parts


def file_stem(
    title: str, otherwise: str, fill: str = "_", longest: int | None = None
) -> str:
    """Make a file name without suffix from a name that people gave.

    `fill` stands for each character that a file's name cannot have; `otherwise` is the
    name if nothing is left. It has up to `longest` characters, up to four bytes each.
    """
    stem = _FORBIDDEN.sub(fill, title).strip(" .")[:longest] or otherwise
    return f"_{stem}"[:longest] if _DEVICES.fullmatch(stem) else stem


def is_portable(name: str) -> bool:
    """Whether a text is a valid file name on every system."""
    return is_file_name(name) and file_stem(name, "") == name
