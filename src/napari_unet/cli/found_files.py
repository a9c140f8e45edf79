"""Files that were named, or found, with what tells them apart."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from glob import has_magic
from os.path import commonpath
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

from napari_unet.core.text import printable
from napari_unet.io.images import find
from napari_unet.io.label_files import find_labels, name_within, stem_of_format
from napari_unet.io.names import image_name, split_number
from napari_unet.io.ome_zarr import is_zarr

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file with what tells it apart from others."""

    path: Path  # as named or found; of an image in a file, or in a plate, of the image
    file: Path  # the file, or the plate
    folders: tuple[str, ...]  # those that differ below what was given
    name: str
    rest: str | None
    """What the name has beyond that of a file which was named itself; None where it was
    found in a folder or by a pattern."""
    shown: str  # for people


def found_files(
    given: Sequence[str | Path], *, labels: bool = False, movies: bool = False
) -> list[FoundFile]:
    """Expand what was given, each file once; of labels also files of objects.

    `movies` is as of `label_files.find_labels`.
    """
    named = [_file_of(Path(g)) for g in given if _first_open(g) is None and _is_file(g)]
    above = _around([file.absolute().parent for file in named])
    found: dict[Path, FoundFile] = {}
    for one in given:
        for path in find_labels([one], movies=movies) if labels else find([one]):
            file = _described(one, path, above)
            found.setdefault(path, _of_image(file, one) if labels else file)
    # those in two folders that were given look alike below these
    times = Counter(file.shown for file in found.values())
    return [
        replace(file, shown=str(file.path)) if times[file.shown] > 1 else file
        for file in found.values()
    ]


def _of_image(file: FoundFile, given: str | Path) -> FoundFile:
    """Call objects as their image, where that is not the name of the file."""
    name = name_within(file.path)
    if name is None:
        stem = stem_of_format(file.path)
        return file if stem is None else replace(file, name=normalize("NFC", stem))
    named = replace(file, name=normalize("NFC", name))
    if file.path == Path(given):
        return named if file.path != file.file else replace(named, rest="")
    if file.path != file.file:
        shown = f"{file.shown} ({printable(name)})"
        return replace(named, folders=(), rest=None, shown=shown)
    # of 01_GT/TRA the name is in the folder above
    above = () if file.path.name.startswith(name) else (file.path.parent.name,)
    folders = tuple(f for f in file.folders if f not in above)
    return replace(named, folders=folders, rest=None)


def _described(given: str | Path, path: Path, above: Path) -> FoundFile:
    """Describe one of the paths that what was given yielded.

    `above` is the folder that all files are in which were named themselves.
    """
    file = _file_of(path)
    name = normalize("NFC", image_name(_image_around(path)))
    folders: tuple[str, ...] = ()
    rest: str | None = name[len(normalize("NFC", image_name(file))) :]
    if (fixed := _first_open(given)) is not None:
        parts = Path(given).parts
        # where any depth is meant, the last part is the file's
        end = None if parts[-1] == "**" else -1
        depth = end if "**" in parts else len(file.parts) - 1
        folders = _matched(parts[fixed:depth], file.parts[fixed:-1])
        if has_magic("".join(parts[-1:] if "**" in parts else parts[depth:])):
            rest = None
    elif _is_file(given):
        folders = file.absolute().parent.parts[len(above.parts) :]
    else:
        rest = None
    shown = "/".join((*folders, *path.parts[len(file.parts) - 1 :]))
    # two ways to write é, by systems that files went through, are one
    folders = tuple(normalize("NFC", folder) for folder in folders)
    return FoundFile(path, file, folders, name, rest, shown)


def _around(folders: list[Path]) -> Path:
    """Return the folder that all are in; an empty path where there is none."""
    try:
        return Path(commonpath(folders))
    except ValueError:  # there are no folders, or several drives of Windows
        return Path()


def _file_of(path: Path) -> Path:
    """Return the file that an image is in, or the outermost OME-Zarr."""
    file, _ = split_number(path)
    return [file, *(folder for folder in file.parents if is_zarr(folder))][-1]


def _image_around(path: Path) -> Path:
    """Return the OME-Zarr image that labels are in, or the path itself."""
    image = path.parent.parent
    return image if path.parent.name == "labels" and is_zarr(image) else path


def _first_open(given: str | Path) -> int | None:
    """Return which part of a path is the first that stands for any name; None if none.

    What is there stands for itself, see `names.glob_pattern`.
    """
    parts = Path(given).parts
    if _unmarked(given).exists():
        return None
    there = (k for k in range(len(parts), 0, -1) if Path(*parts[:k]).is_dir())
    begin = next(there, 0)
    return next((k for k in range(begin, len(parts)) if has_magic(parts[k])), None)


def _is_file(given: str | Path) -> bool:
    path = _unmarked(given)
    return is_zarr(path) or not path.is_dir()


def _unmarked(given: str | Path) -> Path:
    """Return a path without the number, or the star, of images in it."""
    path = Path(given)
    return path if path.exists() else Path(re.sub(r"#(\*|\d+)$", "", str(given)))


def _matched(pattern: tuple[str, ...], folders: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of the folders below a pattern's fixed part that it leaves open."""
    if "**" not in pattern:
        both = zip(pattern, folders, strict=True)
        return tuple(folder for part, folder in both if has_magic(part))
    head = pattern.index("**")
    tail = len(pattern) - 1 - pattern[::-1].index("**")
    end = len(folders) - (len(pattern) - 1 - tail)
    return (
        *_matched(pattern[:head], folders[:head]),
        *folders[head:end],
        *_matched(pattern[tail + 1 :], folders[end:]),
    )
